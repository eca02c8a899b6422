package scriptpkg

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// Entry is one package of a tree: one version of one name, wherever it lies.
type Entry struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// Integrity is the SRI string of the registry's tarball, and the address of the blob.
	Integrity string `json:"integrity"`
	// BlobSha256 is the digest of the blob that is served, in lower-case hex.
	BlobSha256 string `json:"blobSha256,omitempty"`
	// Paths are the places in the tree, such as "node_modules/a" and
	// "node_modules/b/node_modules/a" (spec M84). Original cores do not say.
	Paths []string `json:"paths,omitempty"`
}

// Validate says what is wrong with an entry that came from elsewhere. Entries that
// pass name no place outside their tree.
func (e Entry) Validate() error {
	if err := errors.Join(CheckName(e.Name), CheckVersion(e.Version)); err != nil {
		return err
	}
	if _, err := ParseIntegrity(e.Integrity); err != nil {
		return fmt.Errorf("package %s@%s: %w", e.Name, e.Version, err)
	}
	if e.BlobSha256 != "" && !blobDigest().MatchString(e.BlobSha256) {
		return fmt.Errorf("package %s@%s: the blob's digest is not a sha256 in hex", e.Name, e.Version)
	}
	for _, path := range e.Paths {
		if err := checkTreePath(path); err != nil {
			return fmt.Errorf("package %s@%s: %w", e.Name, e.Version, err)
		}
	}
	return nil
}

// SortEntries orders entries by name, then version, then integrity.
func SortEntries(entries []Entry) {
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Integrity, b.Integrity))
	})
}

// LockfileHash is the name of a tree (spec G.2): lower-case hex of the sha256 over
// the entries by name and version, in any order that they come in. Where they lie is
// not part of it, as original agents know nothing of places.
func LockfileHash(entries []Entry) string {
	sorted := slices.Clone(entries)
	SortEntries(sorted)
	sum := sha256.New()
	for _, e := range sorted {
		fmt.Fprintf(sum, "%s\x00%s\x00%s\n", e.Name, e.Version, e.Integrity)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
