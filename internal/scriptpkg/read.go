package scriptpkg

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// Read hands over the files of a blob (spec N.2) one after the other, those whose path in
// the package and size in bytes are wanted. What Unpack would refuse is ErrArchive.
func Read(name, version string, blob io.Reader, wanted func(path string, size int64) bool, each func(path string, data []byte)) error {
	u := unpacker{limits: Limits{}.withDefaults(), name: name, version: version}
	unzipped, err := gzip.NewReader(blob)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	archive := tar.NewReader(io.LimitReader(unzipped, u.limits.Bytes+int64(u.limits.Files)*2048+1<<20))
	for entries := 0; ; entries++ {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrArchive, err)
		}
		if entries >= u.limits.Files {
			return fmt.Errorf("%w: it holds more than %d files", ErrArchive, u.limits.Files)
		}
		place, err := u.placeOf(header)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrArchive, err)
		}
		if header.Typeflag == tar.TypeDir || !wanted(place, header.Size) {
			continue
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrArchive, err)
		}
		each(place, data)
	}
}
