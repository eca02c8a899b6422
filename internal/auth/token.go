package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// Prefix begins every token that we make, so that secret scanners know it.
const Prefix = "perigee_"

// MinAdminToken is the fewest characters of a token that people choose. It stops
// slips; what stops guessing is the limit on failed attempts.
const MinAdminToken = 8

// Names of the tokens that Bootstrap stores.
const (
	nameAdmin = "admin" // from PERIGEE_ADMIN_TOKEN
	nameFirst = "first" // made at first start
)

// NewToken makes a token.
func NewToken() string {
	var secret [32]byte
	rand.Read(secret[:]) //nolint:errcheck // never fails: the program ends instead
	return Prefix + base64.RawURLEncoding.EncodeToString(secret[:])
}

// Digest is how a token is stored and looked up.
func Digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// Bootstrap sees to it that somebody can sign in. A chosen token (not "") takes the
// place of the one that was chosen before; without one, the first start makes a
// token and returns it to be printed this once. Fault: Invalid when the chosen
// token will not do.
func Bootstrap(ctx context.Context, store Store, adminToken string) (printOnce string, err error) {
	if adminToken != "" {
		if err := checkChosen(adminToken); err != nil {
			return "", err
		}
		if err := store.ReplaceToken(ctx, dated(nameAdmin, adminToken)); err != nil {
			return "", fmt.Errorf("storing the admin token: %w", err)
		}
		return "", nil
	}
	n, err := store.CountTokens(ctx)
	if err != nil {
		return "", fmt.Errorf("counting API tokens: %w", err)
	}
	if n > 0 {
		return "", nil
	}
	token := NewToken()
	if err := store.InsertToken(ctx, dated(nameFirst, token)); err != nil {
		return "", fmt.Errorf("storing the first token: %w", err)
	}
	return token, nil
}

// dated is the token as it is stored, of now.
func dated(name, token string) Token {
	return Token{ID: uuid.Must(uuid.NewV7()).String(), Name: name, Digest: Digest(token), CreatedAt: time.Now().UTC()}
}

func checkChosen(token string) error {
	if len(token) < MinAdminToken {
		return fault.New(fault.Invalid, "the admin token must have at least %d characters", MinAdminToken)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fault.New(fault.Invalid, "the admin token must be of printable ASCII characters without spaces")
	}
	return nil
}
