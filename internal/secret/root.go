package secret

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// ParseRoot reads a root key: 32 bytes in base64.
func ParseRoot(text string) ([]byte, error) {
	root, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(root) != RootSize {
		return nil, fmt.Errorf("the root key of secrets must be %d bytes in base64; make one with: openssl rand -base64 %d", RootSize, RootSize)
	}
	return root, nil
}

// LoadRoot reads the root key from a file, which is made with a new key when it is
// missing and may be made: whoever has several cores gives each the same file.
func LoadRoot(file string, mayMake bool) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err == nil {
		root, err := ParseRoot(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return root, nil
	}
	if !errors.Is(err, fs.ErrNotExist) || !mayMake {
		return nil, fmt.Errorf("reading the root key of secrets: %w", err)
	}
	root := make([]byte, RootSize)
	rand.Read(root) // never fails
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making the root key of secrets: %w", err)
	}
	_, err = out.WriteString(base64.StdEncoding.EncodeToString(root) + "\n")
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return nil, fmt.Errorf("writing the root key of secrets: %w", err)
	}
	return root, nil
}
