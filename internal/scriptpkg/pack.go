package scriptpkg

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Limits bound an archive. Zero means the default.
type Limits struct {
	// Files is the most files and directories, Bytes the most bytes of all files
	// unpacked, Path the longest path in bytes.
	Files int
	Bytes int64
	Path  int
}

func (l Limits) withDefaults() Limits {
	if l.Files == 0 {
		l.Files = 50_000
	}
	if l.Bytes == 0 {
		l.Bytes = 300 << 20
	}
	if l.Path == 0 {
		l.Path = 1024
	}
	return l
}

// packed is the one time that all files of a blob bear: npm's own.
var packed = time.Date(1985, time.October, 26, 8, 15, 0, 0, time.UTC)

// CacheName is the one directory of a blob (spec N.2), named as the original's
// package manager names it in its cache. Scoped packages keep their scope, so that
// what is unpacked in the cache lies where it is looked for (spec M83).
func CacheName(name, version string) string { return name + "@" + version + "@@@1" }

// Pack makes the blob of a package from its registry tarball (spec N.2): the same
// bytes from the same content. As npm does it leaves out links. Whatever else is
// not a plain file or directory, lies outside, or goes beyond the limits is an error.
func Pack(name, version string, tarball io.Reader, limits Limits) ([]byte, error) {
	if err := errors.Join(CheckName(name), CheckVersion(version)); err != nil {
		return nil, err
	}
	files, err := readTarball(tarball, limits.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("reading the tarball of %s@%s: %w", name, version, err)
	}
	blob, err := writeBlob(CacheName(name, version), files)
	if err != nil {
		return nil, fmt.Errorf("packing %s@%s: %w", name, version, err)
	}
	return blob, nil
}

// file is one file of a package; directories follow from the paths.
type file struct {
	data       []byte
	executable bool
}

func readTarball(tarball io.Reader, limits Limits) (map[string]file, error) {
	unzipped, err := gzip.NewReader(tarball)
	if err != nil {
		return nil, err
	}
	// More than one byte over the limit is never unpacked; the headers have 1 KiB each.
	bounded := io.LimitReader(unzipped, limits.Bytes+int64(limits.Files)*1024+1)
	files := map[string]file{}
	archive := tar.NewReader(bounded)
	var total int64
	for entries := 0; ; entries++ {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if entries >= limits.Files {
			return nil, fmt.Errorf("it holds more than %d files", limits.Files)
		}
		place, ok, err := placeOf(header, limits)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if total += header.Size; total > limits.Bytes {
			return nil, fmt.Errorf("it is larger than %d bytes", limits.Bytes)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			return nil, err
		}
		files[place] = file{data: data, executable: header.Mode&0o111 != 0}
	}
	if _, ok := files["package.json"]; !ok {
		return nil, errors.New("it holds no package.json")
	}
	return files, nil
}

// placeOf is where a file of a tarball lies in its package: below the one directory,
// whatever its name. False is for what is not taken.
func placeOf(header *tar.Header, limits Limits) (string, bool, error) {
	switch header.Typeflag {
	case tar.TypeReg, tar.TypeDir:
	case tar.TypeXGlobalHeader, tar.TypeSymlink, tar.TypeLink:
		return "", false, nil
	default:
		return "", false, fmt.Errorf("%q is not a plain file", header.Name)
	}
	if len(header.Name) > limits.Path {
		return "", false, fmt.Errorf("a path is longer than %d bytes", limits.Path)
	}
	clean := path.Clean(header.Name)
	if !filepath.IsLocal(clean) || path.IsAbs(header.Name) || strings.ContainsAny(header.Name, "\\\x00") || slices.Contains(strings.Split(header.Name, "/"), "..") {
		return "", false, fmt.Errorf("the path %q leads outside", header.Name)
	}
	_, place, below := strings.Cut(clean, "/")
	return place, below && header.Typeflag == tar.TypeReg, nil
}

func writeBlob(top string, files map[string]file) ([]byte, error) {
	var blob bytes.Buffer
	zipped := gzip.NewWriter(&blob)
	archive := tar.NewWriter(zipped)
	dirs := map[string]bool{"": true}
	for name := range files {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			dirs[dir] = true
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		if _, both := files[dir]; both {
			return nil, fmt.Errorf("%q is a file and a directory", dir)
		}
		err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: path.Join(top, dir) + "/", Mode: 0o755, ModTime: packed})
		if err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := writeFile(archive, path.Join(top, name), files[name]); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(archive.Close(), zipped.Close()); err != nil {
		return nil, err
	}
	return blob.Bytes(), nil
}

func writeFile(archive *tar.Writer, name string, f file) error {
	mode := int64(0o644)
	if f.executable {
		mode = 0o755
	}
	err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(f.data)), ModTime: packed})
	if err != nil {
		return err
	}
	_, err = archive.Write(f.data)
	return err
}

// Piece is a part of a blob, as it is served (feature chunk).
type Piece struct {
	Data []byte
	// Total is the size of the whole blob in bytes, Sha256 its digest in lower-case hex.
	Total  int64
	Sha256 string
}
