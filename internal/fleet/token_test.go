package fleet

import (
	"context"
	"encoding/base64"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// credentials is the part of a store that verification reads.
type credentials struct {
	Store
	rows   map[string]Tokens
	looked atomic.Int32
}

func (c *credentials) find(_ context.Context, id string) (Credential, bool, error) {
	tokens, ok := c.rows[id]
	return Credential{Tokens: tokens, At: now}, ok, nil
}

func verifierOf(rows map[string]Tokens) *verifier {
	c := &credentials{rows: rows}
	return newVerifier(c, c.find)
}

func (c *credentials) BcryptRows(context.Context) (int, error) {
	c.looked.Add(1)
	n := 0
	for _, row := range c.rows {
		if strings.HasPrefix(row.Hash, "$2") || row.Previous != nil && strings.HasPrefix(row.Previous.Hash, "$2") {
			n++
		}
	}
	return n, nil
}

func TestL50_L51_TokensAreRandomAndPrefixed(t *testing.T) {
	t.Parallel()
	first, hash := NewToken()
	second, _ := NewToken()
	if first == second {
		t.Error("two tokens are equal")
	}
	secret, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(first, "csat_"))
	if err != nil || len(secret) != 32 || len(first) != 48 || !strings.HasPrefix(first, "csat_") {
		t.Errorf("token %q is not csat_ and 32 bytes in base64url", first)
	}
	if hash != hashToken(first) || strings.Contains(hash, first) {
		t.Errorf("stored form %q is not the digest of the token", hash)
	}
}

func TestVerification(t *testing.T) {
	t.Parallel()
	token, hash := NewToken()
	other, _ := NewToken()
	v := verifierOf(map[string]Tokens{"s1": {Hash: hash, Version: 7}})
	for _, tc := range []struct {
		name, id, token string
		ok              bool
	}{
		{"L52 right", "s1", token, true},
		{"L53 wrong token", "s1", other, false},
		{"L54 unknown id", "s2", token, false},
		{"empty token", "s1", "", false},
		{"the stored form is not a token", "s1", hash, false},
		{"long token", "s1", strings.Repeat("x", 500), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m, err := v.verify(t.Context(), tc.id, tc.token)
			if tc.ok && (err != nil || m.version != 7 || m.legacy) {
				t.Errorf("verify = %+v, %v", m, err)
			}
			if !tc.ok && !fault.Is(err, fault.Unauthenticated) {
				t.Errorf("error = %v, want unauthenticated", err)
			}
		})
	}
}

func TestL50_BcryptRowsOfTheOriginalVerify(t *testing.T) {
	t.Parallel()
	token, _ := NewToken()
	wrong, _ := NewToken()
	hash, err := bcrypt.GenerateFromPassword([]byte(token), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	v := verifierOf(map[string]Tokens{"old": {Hash: string(hash), Version: 7}})
	if m, err := v.verify(t.Context(), "old", token); err != nil || !m.legacy {
		t.Errorf("verify = legacy %v, %v; want the row accepted and marked for upgrade", m.legacy, err)
	}
	if _, err := v.verify(t.Context(), "old", wrong); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("error = %v, want unauthenticated", err)
	}
}

// The work done for a refusal must not tell which ids exist (M30, L173): with no
// bcrypt rows nobody pays for bcrypt, with some everybody who is refused does.
// Work is counted by the place that every bcrypt comparison has to take.
func TestM30_L173_RefusalsCostTheSame(t *testing.T) {
	t.Parallel()
	_, digest := NewToken()
	old, err := bcrypt.GenerateFromPassword([]byte("csat_x"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	wrong, _ := NewToken()
	spent, spentHash := NewToken()
	right := map[string]string{"expired": spent, "over": spent} // right but for the time
	slow := func(rows map[string]Tokens, id string) bool {
		v := verifierOf(rows)
		v.bcryptPlace <- struct{}{} // taken: whoever needs it cannot go on
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		token := wrong
		if given, ok := right[id]; ok {
			token = given
		}
		_, err := v.verify(ctx, id, token)
		return fault.Is(err, fault.Unavailable)
	}
	expired := Tokens{Hash: spentHash, Version: 1, ExpiresAt: ago(time.Second)}
	over := Tokens{Hash: digest, Version: 2, Previous: &PreviousToken{Hash: spentHash, Version: 1, ValidUntil: now}}
	modern := map[string]Tokens{"known": {Hash: digest}, "expired": expired, "over": over}
	mixed := map[string]Tokens{
		"known": {Hash: digest}, "expired": expired, "over": over, "old": {Hash: string(old)},
		"before": {Hash: digest, Version: 2, Previous: &PreviousToken{Hash: string(old), Version: 1, ValidUntil: now.Add(time.Hour)}},
	}
	for _, tc := range []struct {
		name string
		rows map[string]Tokens
		id   string
		want bool
	}{
		{"digests only, known id", modern, "known", false},
		{"digests only, unknown id", modern, "unknown", false},
		{"digests only, expired", modern, "expired", false},
		{"digests only, overlap over", modern, "over", false},
		{"mixed, expired", mixed, "expired", true},
		{"mixed, overlap over", mixed, "over", true},
		{"mixed, previous with bcrypt", mixed, "before", true},
		{"mixed, id with a digest", mixed, "known", true},
		{"mixed, id with bcrypt", mixed, "old", true},
		{"mixed, unknown id", mixed, "unknown", true},
	} {
		if got := slow(tc.rows, tc.id); got != tc.want {
			t.Errorf("%s: compares bcrypt = %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestM31_RightTokensNeverWaitForBcrypt(t *testing.T) {
	t.Parallel()
	token, hash := NewToken()
	old, err := bcrypt.GenerateFromPassword([]byte("csat_x"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	v := verifierOf(map[string]Tokens{"s1": {Hash: hash}, "old": {Hash: string(old)}})
	v.bcryptPlace <- struct{}{} // somebody is keeping bcrypt busy
	if _, err := v.verify(t.Context(), "s1", token); err != nil {
		t.Errorf("a right token was refused or kept waiting: %v", err)
	}
}
