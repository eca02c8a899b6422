package scriptpkg_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/npmtest"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
)

// isOdd is what the public registry says of is-odd@3.0.1.
const isOdd = "sha512-CQpnWPrDwmP1+SMHXZhtLtJv90yiyVfluGsX5iNCVkrhQtU3TQHsUWPG9wkdk9Lgd5yNpAg9jQEo90CBaXgWMA=="

func TestM39_IntegrityIsThatOfTheBytes(t *testing.T) {
	t.Parallel()
	tarball := npmtest.Tarball(t, "is-odd@3.0.1")
	if got := scriptpkg.IntegrityOf(tarball); got != isOdd {
		t.Errorf("the integrity is %s, want %s", got, isOdd)
	}
	forged := bytes.Clone(tarball)
	forged[100] ^= 1
	other := scriptpkg.IntegrityOf([]byte("other"))
	for name, c := range map[string]struct {
		integrity string
		data      []byte
		want      error
	}{
		"alone":            {isOdd, tarball, nil},
		"beside a weak":    {"sha1-ZQE6xzfXJ7ZvpPYvUM3aLznXmPE= " + isOdd, tarball, nil},
		"second of two":    {other + " " + isOdd, tarball, nil},
		"with options":     {isOdd + "?foo", tarball, nil},
		"one bit":          {isOdd, forged, scriptpkg.ErrMismatch},
		"cut":              {isOdd, tarball[:len(tarball)-1], scriptpkg.ErrMismatch},
		"another's":        {other, tarball, scriptpkg.ErrMismatch},
		"nothing of a lot": {isOdd, nil, scriptpkg.ErrMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			integrity, err := scriptpkg.ParseIntegrity(c.integrity)
			if err != nil {
				t.Fatal(err)
			}
			if err := integrity.Verify(c.data); !errors.Is(err, c.want) {
				t.Errorf("the bytes: got %v, want %v", err, c.want)
			}
			if _, err := io.ReadAll(integrity.Reader(bytes.NewReader(c.data))); !errors.Is(err, c.want) {
				t.Errorf("the stream: got %v, want %v", err, c.want)
			}
			digest := scriptpkg.Sha256(tarball)
			if c.integrity == isOdd {
				if err := scriptpkg.VerifySha256(digest, c.data); !errors.Is(err, c.want) {
					t.Errorf("the digest: got %v, want %v", err, c.want)
				}
				if _, err := io.ReadAll(scriptpkg.Sha256Reader(digest, bytes.NewReader(c.data))); !errors.Is(err, c.want) {
					t.Errorf("the digest of the stream: got %v, want %v", err, c.want)
				}
			}
		})
	}
}

func TestParseIntegrityWantsSha512(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", " ", "sha512", "sha512-", "sha512-AAAA", "sha1-ZQE6xzfXJ7ZvpPYvUM3aLznXmPE=", "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
		strings.TrimSuffix(isOdd, "="), strings.Replace(isOdd, "+", "-", 1), "SHA512" + strings.TrimPrefix(isOdd, "sha512"), strings.Repeat(isOdd+" ", 20),
	} {
		if _, err := scriptpkg.ParseIntegrity(text); err == nil {
			t.Errorf("%q passes", text)
		}
	}
	if err := (scriptpkg.Integrity{}).Verify(nil); !errors.Is(err, scriptpkg.ErrMismatch) {
		t.Errorf("the zero value: got %v, want %v", err, scriptpkg.ErrMismatch)
	}
	if err := scriptpkg.VerifySha256("", nil); !errors.Is(err, scriptpkg.ErrMismatch) {
		t.Errorf("no digest: got %v, want %v", err, scriptpkg.ErrMismatch)
	}
}
