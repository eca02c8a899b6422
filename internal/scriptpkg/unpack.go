package scriptpkg

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// ErrArchive: a blob is not what a blob must be. Asking for it again does not help.
var ErrArchive = errors.New("the archive is refused")

// File is one file of an unpacked package or tree: its path with slashes, its size,
// and the digest of what is in it, in lower-case hex.
type File struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	Sha256 string `json:"sha256"`
}

// Unpack unpacks the blob of a package (spec N.2) into the directory dir of root,
// which must not exist, and lists what is in it. Its one directory must be the
// package's own; from an original core the scope may be missing. Links, special
// files, absolute paths, `..`, two entries of one name, and more than the limits
// allow are refused (spec L248). After an error there is no dir.
//
// Files are read-only. They are not synced to disk: whoever uses them later compares
// digests anyway, and a power cut costs a download.
func Unpack(root *os.Root, dir, name, version string, blob io.Reader, limits Limits) (files []File, err error) {
	if err := errors.Join(CheckName(name), CheckVersion(version)); err != nil {
		return nil, err
	}
	if err := root.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("unpacking %s@%s: %w", name, version, err)
	}
	u := unpacker{root: root, dir: dir, limits: limits.withDefaults(), name: name, version: version, kinds: map[string]byte{}}
	if err := u.all(blob); err != nil {
		return nil, errors.Join(fmt.Errorf("unpacking %s@%s: %w", name, version, err), root.RemoveAll(dir))
	}
	return u.files, nil
}

type unpacker struct {
	root          *os.Root
	dir           string
	limits        Limits
	name, version string
	top           string          // the archive's one directory
	kinds         map[string]byte // of what was unpacked: 'f' or 'd', by path
	files         []File
	bytes         int64
}

func (u *unpacker) all(blob io.Reader) error {
	unzipped, err := gzip.NewReader(blob)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	// What is unpacked is bounded also where headers say one thing and bytes another.
	most := u.limits.Bytes + int64(u.limits.Files)*2048 + 1<<20
	archive := tar.NewReader(io.LimitReader(unzipped, most))
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrArchive, err)
		}
		if err := u.one(header, archive); err != nil {
			return err
		}
	}
	// The checksum of the compressed stream is behind the end of the archive.
	if _, err := io.Copy(io.Discard, io.LimitReader(unzipped, 1<<20)); err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	if u.kinds["package.json"] != 'f' {
		return fmt.Errorf("%w: it holds no package.json", ErrArchive)
	}
	return nil
}

func (u *unpacker) one(header *tar.Header, content io.Reader) error {
	place, err := u.placeOf(header)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	if len(u.kinds) >= u.limits.Files {
		return fmt.Errorf("%w: it holds more than %d files", ErrArchive, u.limits.Files)
	}
	if header.Typeflag == tar.TypeDir {
		return u.makeDir(place)
	}
	if _, twice := u.kinds[place]; twice || place == "." {
		return fmt.Errorf("%w: it holds %q twice", ErrArchive, header.Name)
	}
	if u.bytes += header.Size; u.bytes > u.limits.Bytes {
		return fmt.Errorf("%w: it is larger than %d bytes", ErrArchive, u.limits.Bytes)
	}
	if err := u.makeDir(path.Dir(place)); err != nil {
		return err
	}
	u.kinds[place] = 'f'
	return u.write(place, header, content)
}

// placeOf is where an entry lies in its package; "." is the package itself.
func (u *unpacker) placeOf(header *tar.Header) (string, error) {
	name := header.Name
	switch {
	case header.Typeflag != tar.TypeReg && header.Typeflag != tar.TypeDir:
		return "", fmt.Errorf("%q is not a plain file", name)
	case len(name) > u.limits.Path:
		return "", fmt.Errorf("a path is longer than %d bytes", u.limits.Path)
	case strings.ContainsAny(name, "\\\x00") || strings.HasPrefix(name, "/"):
		return "", fmt.Errorf("the path %q leads outside", name)
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/")
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." || part == "." || part == "" {
			return "", fmt.Errorf("the path %q leads outside", header.Name)
		}
	}
	if !filepath.IsLocal(filepath.FromSlash(name)) { // names that Windows keeps for itself
		return "", fmt.Errorf("the path %q leads outside", header.Name)
	}
	return u.below(name, header.Typeflag == tar.TypeDir)
}

// below cuts the archive's one directory off.
func (u *unpacker) below(name string, isDir bool) (string, error) {
	if u.top == "" {
		scope, bare, scoped := strings.Cut(u.name, "/")
		switch {
		case u.isTop(name, u.name):
		case scoped && u.isTop(name, bare): // as an original core packs it (spec M83)
		case scoped && isDir && name == scope:
			return ".", nil
		default:
			return "", fmt.Errorf("%q is not the package's directory", name)
		}
	}
	if name == u.top {
		return ".", nil
	}
	if place, ok := strings.CutPrefix(name, u.top+"/"); ok {
		return place, nil
	}
	return "", fmt.Errorf("%q is outside of the package's directory", name)
}

// isTop reports whether name is, or is in, the directory `<as>@<version>@@@<n>`,
// and notes which that is. The original's package manager writes a version's build
// or prerelease in its own way, so after `<as>@` anything up to `@@@` is taken that
// is one part of a path.
func (u *unpacker) isTop(name, as string) bool {
	rest, ok := strings.CutPrefix(name, as+"@")
	if !ok {
		return false
	}
	last, _, _ := strings.Cut(rest, "/")
	version, layout, ok := strings.Cut(last, "@@@")
	if !ok || !strings.HasPrefix(version, u.release()) || layout == "" || strings.Trim(layout, "0123456789") != "" {
		return false
	}
	u.top = as + "@" + last
	return true
}

// release is the version up to its prerelease.
func (u *unpacker) release() string {
	release, _, _ := strings.Cut(u.version, "-")
	release, _, _ = strings.Cut(release, "+")
	return release
}

func (u *unpacker) makeDir(place string) error {
	if place == "." || u.kinds[place] == 'd' {
		return nil
	}
	if u.kinds[place] == 'f' {
		return fmt.Errorf("%w: %q is a file and a directory", ErrArchive, place)
	}
	if err := u.makeDir(path.Dir(place)); err != nil {
		return err
	}
	if len(u.kinds) >= u.limits.Files {
		return fmt.Errorf("%w: it holds more than %d files", ErrArchive, u.limits.Files)
	}
	u.kinds[place] = 'd'
	return u.root.Mkdir(path.Join(u.dir, place), 0o755)
}

func (u *unpacker) write(place string, header *tar.Header, content io.Reader) error {
	mode := fs.FileMode(0o444)
	if header.Mode&0o111 != 0 {
		mode = 0o555
	}
	// Where file names differ only by case, or the file system says so for another
	// reason, O_EXCL is what finds it.
	f, err := u.root.OpenFile(path.Join(u.dir, place), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), content)
	if err := errors.Join(err, f.Close()); err != nil {
		if isUnreadable(err) {
			return fmt.Errorf("%w: %w", ErrArchive, err)
		}
		return err
	}
	u.files = append(u.files, File{Path: place, Size: n, Sha256: hex.EncodeToString(sum.Sum(nil))})
	return nil
}

// isUnreadable: it is the archive that fails, not the disk.
func isUnreadable(err error) bool {
	_, onDisk := errors.AsType[*fs.PathError](err)
	return !onDisk
}

// digestFile is the size and digest of a file on disk.
func digestFile(root *os.Root, name string) (size int64, digest string, err error) {
	f, err := root.Open(name)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, bufio.NewReaderSize(f, 64<<10))
	if err != nil {
		return 0, "", err
	}
	return n, hex.EncodeToString(sum.Sum(nil)), nil
}

// listFiles walks a directory of root and lists its files, which must be plain ones.
func listFiles(root *os.Root, dir string) ([]File, error) {
	var files []File
	err := fs.WalkDir(root.FS(), dir, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return nil
		case !entry.Type().IsRegular():
			return fmt.Errorf("%s is not a plain file", name)
		}
		size, digest, err := digestFile(root, name)
		files = append(files, File{Path: strings.TrimPrefix(name, dir+"/"), Size: size, Sha256: digest})
		return err
	})
	return files, err
}
