package conformance_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/conformance"
)

const stubIntegrity = "sha512-c3R1Yg=="

// stubTree is the hash of what the stub's one package makes.
func stubTree() string { return stubHash("left-pad\x001.3.0\x00" + stubIntegrity + "\n") }

func stubHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// archive is a gzip tar of files, each with the text that it has.
func archive(headers ...tar.Header) []byte {
	var blob bytes.Buffer
	zipped := gzip.NewWriter(&blob)
	files := tar.NewWriter(zipped)
	for _, h := range headers {
		text := h.Uname // a place to keep it
		h.Uname, h.Mode = "", 0o644
		h.Size = int64(len(text))
		_ = files.WriteHeader(&h) // into memory
		_, _ = files.Write([]byte(text))
	}
	_ = files.Close()
	_ = zipped.Close()
	return blob.Bytes()
}

func plain(name, text string) tar.Header {
	return tar.Header{Name: name, Uname: text, Typeflag: tar.TypeReg}
}

const leftPad = `{"name":"left-pad","version":"1.3.0"}`

func stubBlob(dir string) []byte {
	return archive(tar.Header{Name: dir + "/", Typeflag: tar.TypeDir}, plain(dir+"/package.json", leftPad), plain(dir+"/lib/index.js", "module.exports = 1\n"))
}

// tree is the lockfile hash as authenticated has it.
func (s *stub) tree() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.installed || s.defect == "L39_hash" {
		return "null"
	}
	return fmt.Sprintf("%q", stubTree())
}

// manifest is the answer to a request for one; "" is none.
func (s *stub) manifest(hash any) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case hash == stubHash(""):
		return "[]"
	case s.installed && hash == stubTree() && s.entries != "":
		return s.entries
	case s.installed && hash == stubTree():
		sum := sha256.Sum256(s.bytes())
		entry := fmt.Sprintf(`{"name":"left-pad","version":"1.3.0","integrity":%q,"blobSha256":"%x"}`, stubIntegrity, sum)
		if s.defect == "L43_manifest" {
			entry += fmt.Sprintf(`,{"name":"right-pad","version":"1.0.1","integrity":%q}`, stubIntegrity)
		}
		return "[" + entry + "]"
	case s.defect == "M82_unknown_manifest":
		return "[]"
	}
	return ""
}

// blob is the answer to a request for one, as JSON.
func (s *stub) blob(integrity any) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.installed && integrity == stubIntegrity:
		return fmt.Sprintf("%q", base64.StdEncoding.EncodeToString(s.bytes()))
	case s.defect == "L44_blob":
		return `""`
	}
	return "null"
}

func (s *stub) bytes() []byte {
	switch {
	case s.data != nil:
		return s.data
	case s.defect == "L44_package":
		return stubBlob("package") // as registries have it
	}
	return stubBlob("left-pad@1.3.0@@@1")
}

// noted keeps what a satellite said of its packages.
func (s *stub) noted(id string, m map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.defect == "L42_sync_state" {
		id = fmt.Sprint(m["satelliteId"])
	}
	if sat := s.satellites[id]; sat != nil {
		sat.packages = conformance.PackageState{LockfileHash: fmt.Sprint(m["lockfileHash"]), Status: fmt.Sprint(m["status"])}
	}
}

func (s *stub) InstallPackage(context.Context) (conformance.Package, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.defect == "no packages" {
		return conformance.Package{}, conformance.NotChecked("there is no registry")
	}
	if !s.installed {
		s.installed = true
		told := 0
		for _, sat := range s.satellites {
			if sat.session == nil || s.defect == "L41_refresh" && told > 0 {
				continue
			}
			_ = sat.session.Write(fmt.Appendf(nil, `{"type":"refresh_script_packages","lockfileHash":%q}`, stubTree()))
			told++
		}
	}
	return conformance.Package{Name: "left-pad", Version: "1.3.0", LockfileHash: stubTree()}, nil
}

func (s *stub) RemovePackage(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.installed = false
	for _, sat := range s.satellites {
		if sat.session == nil || s.defect == "L77_removed" {
			continue
		}
		_ = sat.session.Write([]byte(cmp.Or(s.farewell, `{"type":"config_updated","assignments":`+s.wire(sat.given)+`,"scriptPackagesLockfileHash":null}`)))
	}
	return nil
}

func (s *stub) PackageState(_ context.Context, id string) (state conformance.PackageState, err error) {
	err = s.with(id, func(sat *stubSatellite) { state = sat.packages })
	return state, err
}

// against runs one case against the stub, and says what it found.
func against(t *testing.T, stub *stub, name string) string {
	t.Helper()
	core := httptest.NewServer(stub)
	defer core.Close()
	all := conformance.Core(t.Context(), conformance.Target{
		URL: core.URL, ID: "sat", Token: "good", Administrator: stub, Patience: 30 * time.Second, Quiet: 20 * time.Millisecond,
		Only: func(n string) bool { return n == name },
	}, nil)
	if len(all) != 1 || all[0].NotChecked {
		t.Fatalf("got %+v, want %s, and that it was asked", all, name)
	}
	return all[0].Detail
}

// Every form that an original agent would choke on is told apart (N.2).
func TestL44_WhatABlobMayNotBe(t *testing.T) {
	t.Parallel()
	const dir = "left-pad@1.3.0@@@1"
	whole := plain(dir+"/package.json", leftPad)
	for _, test := range []struct {
		name string
		data []byte
		want string // "" is nothing
	}{
		{"as it should be", archive(whole), ""},
		{"another layout of the cache", stubBlob("left-pad@1.3.0@@@2"), ""},
		{"not compressed", []byte("text"), "not compressed with gzip"},
		{"not an archive", gzipped("text"), "not an archive"},
		{"cut off", stubBlob(dir)[:60], "unexpected EOF"},
		{"a link", archive(whole, tar.Header{Name: dir + "/a", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}), "neither a file nor a directory"},
		{"out of its directory", archive(whole, plain(dir+"/../a", "x")), "is not below"},
		{"absolute", archive(whole, plain("/"+dir+"/a", "x")), "is not below"},
		{"beside it", archive(whole, plain("a", "x")), "is not below"},
		{"two directories", archive(whole, plain("left-pad@1.3.0@@@2/a", "x")), "2 directories"},
		{"nothing", archive(), "0 directories"},
		{"another version", archive(plain(dir+"/package.json", `{"name":"left-pad","version":"1.2.0"}`)), "package.json is not that of left-pad@1.3.0"},
		{"no package.json", archive(plain(dir+"/index.js", "x")), "package.json is not that of left-pad@1.3.0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			stub := newStub("")
			stub.data = test.data
			if got := against(t, stub, "L44_package"); (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func gzipped(text string) []byte {
	var b bytes.Buffer
	zipped := gzip.NewWriter(&b)
	_, _ = zipped.Write([]byte(text)) // into memory
	_ = zipped.Close()
	return b.Bytes()
}

func TestL43_WhatAManifestMayNotBe(t *testing.T) {
	t.Parallel()
	entry := fmt.Sprintf(`{"name":"left-pad","version":"1.3.0","integrity":%q}`, stubIntegrity)
	for entries, want := range map[string]string{
		"[" + entry + "]": "",
		"null":            "a list of entries",
		"[]":              "not among the entries",
		strings.Replace("["+entry+"]", `"version":"1.3.0"`, `"version":null`, 1): "want a name, a version and an integrity",
		strings.Replace("["+entry+"]", stubIntegrity, "c3R1Yg==", 1):             "want a name, a version and an integrity",
		strings.Replace("["+entry+"]", "{", `{"blobSha256":"ABC",`, 1):           "64 digits",
		strings.Replace("["+entry+"]", stubIntegrity, "sha512-AAAA", 1):          "hash to",
		"[" + entry + "," + strings.Replace(entry, "left-pad", "a-pad", 1) + "]": "hash to",
	} {
		stub := newStub("")
		stub.entries = entries
		if got := against(t, stub, "L43_manifest"); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", entries, got, want)
		}
	}
	stub := newStub("")
	stub.entries = strings.Replace("["+entry+"]", "{", `{"blobSha256":"`+strings.Repeat("a", 64)+`",`, 1)
	if got := against(t, stub, "L44_package"); !strings.Contains(got, "the blob's sha256 is") {
		t.Errorf("a blob of another digest: got %q", got)
	}
}

// An original core makes a tree of no packages, and has a hash for it.
func TestL77_NoPackagesAreNullOrATreeWithoutAny(t *testing.T) {
	t.Parallel()
	for farewell, want := range map[string]string{
		fmt.Sprintf(`{"type":"refresh_script_packages","lockfileHash":%q}`, stubHash("")): "",
		`{"type":"refresh_script_packages","lockfileHash":null}`:                          "has the lockfile hash <nil>",
		`{"type":"config_updated","assignments":[],"scriptPackagesLockfileHash":null}`:    "the assignments are [], want 1",
	} {
		stub := newStub("")
		stub.farewell = farewell
		if got := against(t, stub, "L77_removed"); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", farewell, got, want)
		}
	}
}

// That there can be no packages is said, and is no failure.
func TestAPackageThatCannotBeHadIsNotChecked(t *testing.T) {
	t.Parallel()
	stub := newStub("no packages")
	core := httptest.NewServer(stub)
	defer core.Close()
	var got []string
	conformance.Core(t.Context(), conformance.Target{
		URL: core.URL, ID: "sat", Token: "good", Administrator: stub, Patience: 4 * time.Second, Quiet: 20 * time.Millisecond,
		Only: func(n string) bool { return slices.Contains(needPackage, n) },
	}, func(o conformance.Outcome) {
		if !o.Pass || !o.NotChecked || o.Detail != "not checked: there is no registry" {
			t.Errorf("%+v", o)
		}
		got = append(got, o.Name)
	})
	if !slices.Equal(needPackage, got) {
		t.Errorf("got %v, want %v", got, needPackage)
	}
}

// needPackage are the cases that need one that is installed.
var needPackage = []string{"L39_hash", "L41_refresh", "L43_manifest", "L44_package", "L77_removed"}
