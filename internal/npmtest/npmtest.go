// Package npmtest is an npm registry on loopback for tests: a dozen small packages
// as they are published, all under the MIT licence, among them scoped ones, ones
// with dependencies of dependencies, and two that need one package in two versions.
//
// It answers abbreviated documents and tarballs as registries do. What a test does
// to it (Forge, Break, Require) holds for that registry only.
package npmtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"
)

//go:embed tarballs/*.tgz
var tarballs embed.FS

// Manifest is what a registry says of one version, as in its package.json.
type Manifest struct {
	Name                 string                    `json:"name"`
	Version              string                    `json:"version"`
	License              string                    `json:"license,omitempty"`
	Deprecated           string                    `json:"deprecated,omitempty"`
	Dependencies         map[string]string         `json:"dependencies,omitempty"`
	OptionalDependencies map[string]string         `json:"optionalDependencies,omitempty"`
	PeerDependencies     map[string]string         `json:"peerDependencies,omitempty"`
	PeerDependenciesMeta map[string]map[string]any `json:"peerDependenciesMeta,omitempty"`
	BundleDependencies   []string                  `json:"bundleDependencies,omitempty"`
	OS                   []string                  `json:"os,omitempty"`
	CPU                  []string                  `json:"cpu,omitempty"`
	Dist                 Dist                      `json:"dist"`
}

// Dist is where a version's tarball is, and what it hashes to.
type Dist struct {
	Integrity    string `json:"integrity,omitempty"`
	Shasum       string `json:"shasum,omitempty"`
	Tarball      string `json:"tarball,omitempty"`
	UnpackedSize int64  `json:"unpackedSize,omitempty"`
}

// Registry is one registry.
type Registry struct {
	// URL is its address, without a slash at the end.
	URL string

	mu       sync.Mutex
	packages map[string]map[string]*published // guarded by mu: by name and version
	token    string                           // guarded by mu: what requests must bear
	requests map[string]int                   // guarded by mu: by path
}

type published struct {
	manifest Manifest
	tarball  []byte
}

// New starts a registry with the packages of this directory; it ends with the test.
func New(tb testing.TB) *Registry {
	tb.Helper()
	r := &Registry{packages: map[string]map[string]*published{}, requests: map[string]int{}}
	server := httptest.NewServer(r)
	tb.Cleanup(server.Close)
	r.URL = server.URL
	entries, err := tarballs.ReadDir("tarballs")
	if err != nil {
		tb.Fatal(err)
	}
	for _, entry := range entries {
		data, err := tarballs.ReadFile(path.Join("tarballs", entry.Name()))
		if err != nil {
			tb.Fatal(err)
		}
		if err := r.publish(data); err != nil {
			tb.Fatal(err)
		}
	}
	return r
}

// Tarball is the tarball of a package of this directory, such as "is-odd@3.0.1".
func Tarball(tb testing.TB, spec string) []byte {
	tb.Helper()
	name := strings.NewReplacer("@", "-", "/", "-").Replace(strings.TrimPrefix(spec, "@"))
	data, err := tarballs.ReadFile("tarballs/" + name + ".tgz")
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// Pack makes a tarball of files, below "package/" as npm does.
func Pack(tb testing.TB, files map[string]string) []byte {
	tb.Helper()
	var data bytes.Buffer
	zipped := gzip.NewWriter(&data)
	archive := tar.NewWriter(zipped)
	for name, text := range files {
		if err := archive.WriteHeader(&tar.Header{Name: "package/" + name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(archive, text); err != nil {
			tb.Fatal(err)
		}
	}
	if err := errors.Join(archive.Close(), zipped.Close()); err != nil {
		tb.Fatal(err)
	}
	return data.Bytes()
}

// Publish makes a package of a manifest, with an index.js that exports its name and version.
func (r *Registry) Publish(tb testing.TB, m Manifest) {
	tb.Helper()
	text, err := json.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	r.PublishFiles(tb, map[string]string{
		"package.json": string(text),
		"index.js":     fmt.Sprintf("module.exports = %q\n", m.Name+"@"+m.Version),
	})
}

// PublishFiles makes a package of its files, package.json among them.
func (r *Registry) PublishFiles(tb testing.TB, files map[string]string) {
	tb.Helper()
	if err := r.publish(Pack(tb, files)); err != nil {
		tb.Fatal(err)
	}
}

// Change edits what the registry says of a version.
func (r *Registry) Change(tb testing.TB, name, version string, change func(m *Manifest)) {
	tb.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.packages[name][version]
	if p == nil {
		tb.Fatalf("%s@%s is not published", name, version)
	}
	change(&p.manifest)
}

// Forge puts other bytes in the place of a version's tarball, and leaves the
// integrity as it was.
func (r *Registry) Forge(tb testing.TB, name, version string, tarball []byte) {
	tb.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.packages[name][version]
	if p == nil {
		tb.Fatalf("%s@%s is not published", name, version)
	}
	p.tarball = tarball
}

// Unpublish takes a version away.
func (r *Registry) Unpublish(name, version string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.packages[name], version)
}

// Require refuses requests without the bearer token.
func (r *Registry) Require(token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.token = token
}

// Requests is how often each path was asked for.
func (r *Registry) Requests() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string]int{}
	for place, n := range r.requests {
		all[place] = n
	}
	return all
}

func (r *Registry) publish(tarball []byte) error {
	var m Manifest
	text, err := packageJSON(tarball)
	if err != nil {
		return err
	}
	// The rest of a package.json is as people write it.
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("reading package.json: %w", err)
	}
	sum := sha512.Sum512(tarball)
	m.Dist.Integrity = "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
	m.Dist.Tarball = r.URL + tarballPath(m.Name, m.Version)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.packages[m.Name] == nil {
		r.packages[m.Name] = map[string]*published{}
	}
	r.packages[m.Name][m.Version] = &published{manifest: m, tarball: tarball}
	return nil
}

func packageJSON(tarball []byte) ([]byte, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(tarball))
	if err != nil {
		return nil, err
	}
	archive := tar.NewReader(unzipped)
	for {
		header, err := archive.Next()
		if err != nil {
			return nil, fmt.Errorf("looking for package.json: %w", err)
		}
		if strings.Count(header.Name, "/") == 1 && path.Base(header.Name) == "package.json" {
			return io.ReadAll(archive)
		}
	}
}

func tarballPath(name, version string) string {
	return fmt.Sprintf("/%s/-/%s-%s.tgz", name, path.Base(name), version)
}

// ServeHTTP answers /<name> and /<name>/-/<file>.tgz.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests[req.URL.Path]++
	if r.token != "" && req.Header.Get("Authorization") != "Bearer "+r.token {
		http.Error(w, `{"error":"authentication required"}`, http.StatusUnauthorized)
		return
	}
	name, file, isTarball := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/-/")
	versions := r.packages[name]
	if len(versions) == 0 {
		http.Error(w, `{"error":"Not found"}`, http.StatusNotFound)
		return
	}
	if !isTarball {
		document := map[string]any{"name": name, "versions": map[string]Manifest{}}
		for version, p := range versions {
			document["versions"].(map[string]Manifest)[version] = p.manifest
		}
		w.Header().Set("Content-Type", "application/vnd.npm.install-v1+json")
		_ = json.NewEncoder(w).Encode(document) // the client is gone, then
		return
	}
	for version, p := range versions {
		if path.Base(tarballPath(name, version)) == file {
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = w.Write(p.tarball) // the client is gone, then
			return
		}
	}
	http.Error(w, `{"error":"Not found"}`, http.StatusNotFound)
}
