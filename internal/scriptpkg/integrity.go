package scriptpkg

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
)

// maxIntegrity bounds the text of an integrity in bytes.
const maxIntegrity = 512

// ErrMismatch: bytes are not those that were announced.
var ErrMismatch = errors.New("the bytes do not have the announced hash")

// Integrity is what a package's bytes must hash to, as in Subresource Integrity.
// Only sha512 counts; weaker tokens beside it are ignored. The zero value matches
// nothing.
type Integrity struct {
	digests [][sha512.Size]byte
}

// ParseIntegrity reads an SRI string such as "sha512-…", one or more tokens apart
// by blanks, of which one must be sha512.
func ParseIntegrity(text string) (Integrity, error) {
	if len(text) > maxIntegrity {
		return Integrity{}, fmt.Errorf("the integrity is longer than %d bytes", maxIntegrity)
	}
	var all Integrity
	for token := range strings.FieldsSeq(text) {
		digest, ok := strings.CutPrefix(token, "sha512-")
		if !ok {
			continue
		}
		digest, _, _ = strings.Cut(digest, "?")
		raw, err := base64.StdEncoding.Strict().DecodeString(digest)
		if err != nil || len(raw) != sha512.Size {
			return Integrity{}, fmt.Errorf("the integrity %q is not a sha512 in base64", token)
		}
		all.digests = append(all.digests, [sha512.Size]byte(raw))
	}
	if len(all.digests) == 0 {
		return Integrity{}, fmt.Errorf("the integrity %q has no sha512", text)
	}
	return all, nil
}

// IntegrityOf is the SRI string of bytes.
func IntegrityOf(data []byte) string {
	sum := sha512.Sum512(data)
	return "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
}

// Verify reports ErrMismatch unless data hashes to one of the tokens.
func (i Integrity) Verify(data []byte) error {
	sum := sha512.Sum512(data)
	return i.match(sum[:])
}

func (i Integrity) match(sum []byte) error {
	found := 0
	for _, digest := range i.digests {
		found |= subtle.ConstantTimeCompare(digest[:], sum)
	}
	if found == 0 {
		return ErrMismatch
	}
	return nil
}

// Reader yields what r does, and ErrMismatch in place of io.EOF when that was not
// what the integrity says. What was read before is not to be trusted until then.
func (i Integrity) Reader(r io.Reader) io.Reader {
	return &verifying{from: r, sum: sha512.New(), match: i.match}
}

// VerifySha256 reports ErrMismatch unless data hashes to the digest, 64 hex
// digits, as in the blobSha256 of a manifest.
func VerifySha256(digest string, data []byte) error {
	sum := sha256.Sum256(data)
	return matchSha256(digest, sum[:])
}

// Sha256Reader is Integrity.Reader for a digest of 64 hex digits.
func Sha256Reader(digest string, r io.Reader) io.Reader {
	return &verifying{from: r, sum: sha256.New(), match: func(sum []byte) error { return matchSha256(digest, sum) }}
}

func matchSha256(digest string, sum []byte) error {
	want, err := hex.DecodeString(digest)
	if err != nil || subtle.ConstantTimeCompare(want, sum) == 0 {
		return ErrMismatch
	}
	return nil
}

// Sha256 is the digest of bytes in lower-case hex.
func Sha256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

type verifying struct {
	from  io.Reader
	sum   hash.Hash
	match func(sum []byte) error
}

func (v *verifying) Read(p []byte) (int, error) {
	n, err := v.from.Read(p)
	_, _ = v.sum.Write(p[:n]) // a hash never fails
	if err == io.EOF {
		if mismatch := v.match(v.sum.Sum(nil)); mismatch != nil {
			return n, mismatch
		}
	}
	return n, err
}
