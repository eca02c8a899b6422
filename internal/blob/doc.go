// Package blob keeps the bytes of packages outside the database: in a directory, or
// in a bucket that is spoken to as S3 is.
//
// Each store has them under the integrity that they are asked for by; what is in
// them it does not know, and whoever reads verifies. What is written is there whole
// or not at all. Errors are faults where a person can do something: NotFound for what
// is not there, Unavailable for a store that does not answer.
package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Store is a place for blobs.
type Store interface {
	Name() string
	Put(ctx context.Context, integrity string, data []byte) error
	Get(ctx context.Context, integrity string) ([]byte, error)
	Delete(ctx context.Context, integrity string) error
}

// maxBlob bounds what is read of one blob.
const maxBlob = 512 << 20

// Open opens dir:PATH, or s3://BUCKET/PREFIX?endpoint=https://…&region=…. The keys of
// a bucket come from keys.
func Open(ctx context.Context, address string, keys Keys) (Store, error) {
	if path, ok := strings.CutPrefix(address, "dir:"); ok {
		return OpenDir(path)
	}
	if strings.HasPrefix(address, "s3://") {
		return OpenS3(ctx, address, keys)
	}
	return nil, fmt.Errorf("%q is no store of packages: write dir:PATH or s3://BUCKET?endpoint=https://HOST", address)
}

// key is the name of an integrity, which has slashes, as a part of a path.
func key(integrity string) string {
	sum := sha256.Sum256([]byte(integrity))
	return hex.EncodeToString(sum[:])
}
