package scriptpkg_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/npmtest"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
)

func pack(t *testing.T, name, version string, tarball []byte, limits scriptpkg.Limits) ([]byte, error) {
	t.Helper()
	return scriptpkg.Pack(name, version, bytes.NewReader(tarball), limits)
}

// list reads an archive: names with a slash for directories, and their contents.
func list(t *testing.T, blob []byte) (names []string, contents map[string]string) {
	t.Helper()
	unzipped, err := gzip.NewReader(bytes.NewReader(blob))
	if err != nil {
		t.Fatal(err)
	}
	contents = map[string]string{}
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return names, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
		contents[header.Name] = string(data)
	}
}

func TestM83_PackKeepsTheScope(t *testing.T) {
	t.Parallel()
	blob, err := pack(t, "@sindresorhus/slugify", "1.1.2", npmtest.Tarball(t, "@sindresorhus/slugify@1.1.2"), scriptpkg.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	names, contents := list(t, blob)
	const top = "@sindresorhus/slugify@1.1.2@@@1/"
	want := []string{top, top + "index.d.ts", top + "index.js", top + "license", top + "overridable-replacements.js", top + "package.json", top + "readme.md"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if !strings.Contains(contents[top+"package.json"], `"version": "1.1.2"`) {
		t.Errorf("package.json is %q", contents[top+"package.json"])
	}
}

func TestPackMakesTheSameBytes(t *testing.T) {
	t.Parallel()
	files := map[string]string{"package.json": "{}", "a/b/c.js": "1", "a/d.js": "2", "z.js": "3"}
	first, err := pack(t, "a", "1.0.0", npmtest.Pack(t, files), scriptpkg.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	// The order of files in the tarball is a map's, so it changes.
	for range 20 {
		again, err := pack(t, "a", "1.0.0", npmtest.Pack(t, files), scriptpkg.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, again) {
			t.Fatal("the same content gave another blob")
		}
	}
	names, _ := list(t, first)
	want := []string{
		"a@1.0.0@@@1/", "a@1.0.0@@@1/a/", "a@1.0.0@@@1/a/b/",
		"a@1.0.0@@@1/a/b/c.js", "a@1.0.0@@@1/a/d.js", "a@1.0.0@@@1/package.json", "a@1.0.0@@@1/z.js",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

type entry struct {
	tar.Header
	data string
}

func archive(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var data bytes.Buffer
	zipped := gzip.NewWriter(&data)
	writer := tar.NewWriter(zipped)
	for _, e := range entries {
		e.Size = int64(len(e.data))
		if err := writer.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(writer, e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(writer.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	return data.Bytes()
}

func regular(name, data string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, data}
}

func TestPackLeavesLinksOut(t *testing.T) {
	t.Parallel()
	blob, err := pack(t, "a", "1.0.0", archive(t,
		regular("package/package.json", "{}"),
		entry{tar.Header{Typeflag: tar.TypeSymlink, Name: "package/link", Linkname: "/etc/passwd"}, ""},
		entry{tar.Header{Typeflag: tar.TypeLink, Name: "package/hard", Linkname: "package/package.json"}, ""},
	), scriptpkg.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	names, _ := list(t, blob)
	if diff := cmp.Diff([]string{"a@1.0.0@@@1/", "a@1.0.0@@@1/package.json"}, names); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestL248_PackRefusesHostileTarballs(t *testing.T) {
	t.Parallel()
	manifest := regular("package/package.json", "{}")
	good := archive(t, manifest, regular("package/a.js", "12345"))
	for name, c := range map[string]struct {
		tarball []byte
		limits  scriptpkg.Limits
		says    string
	}{
		"parent":            {archive(t, manifest, regular("package/../../x", "")), scriptpkg.Limits{}, "leads outside"},
		"inner parent":      {archive(t, manifest, regular("package/a/../b", "")), scriptpkg.Limits{}, "leads outside"},
		"absolute":          {archive(t, manifest, regular("/etc/passwd", "")), scriptpkg.Limits{}, "leads outside"},
		"backslash":         {archive(t, manifest, regular(`package/..\..\x`, "")), scriptpkg.Limits{}, "leads outside"},
		"device":            {archive(t, manifest, entry{tar.Header{Typeflag: tar.TypeChar, Name: "package/null"}, ""}), scriptpkg.Limits{}, "not a plain file"},
		"file as directory": {archive(t, manifest, regular("package/a", ""), regular("package/a/b", "")), scriptpkg.Limits{}, "a file and a directory"},
		"no manifest":       {archive(t, regular("package/a.js", "")), scriptpkg.Limits{}, "no package.json"},
		"long path":         {archive(t, manifest, regular("package/"+strings.Repeat("a/", 600)+"b", "")), scriptpkg.Limits{}, "longer than 1024"},
		"too many":          {good, scriptpkg.Limits{Files: 1}, "more than 1 files"},
		"too large":         {good, scriptpkg.Limits{Bytes: 6}, "larger than 6 bytes"},
		"cut":               {good[:len(good)-20], scriptpkg.Limits{}, "unexpected EOF"},
		"not an archive":    {[]byte("hello"), scriptpkg.Limits{}, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := pack(t, "a", "1.0.0", c.tarball, c.limits)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want an error that says %q", err, c.says)
			}
		})
	}
}

func FuzzPack(f *testing.F) {
	f.Add(npmtest.Tarball(f, "is-odd@3.0.1"))
	f.Fuzz(func(t *testing.T, tarball []byte) {
		limits := scriptpkg.Limits{Files: 100, Bytes: 1 << 20}
		blob, err := pack(t, "a", "1.0.0", tarball, limits)
		if err != nil {
			return
		}
		names, _ := list(t, blob)
		for _, name := range names {
			if !strings.HasPrefix(name, "a@1.0.0@@@1/") || strings.Contains(name, "/../") {
				t.Errorf("%q is in the blob", name)
			}
		}
	})
}
