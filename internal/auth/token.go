package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// Prefix begins every token that we make, so that secret scanners know it.
const Prefix = "perigee_"

// MinAdminToken is the fewest characters of a token that people choose. It stops
// slips; what stops guessing is the limit on failed attempts.
const MinAdminToken = 8

// maxTokens bounds the tokens there are.
const maxTokens = 10_000

// Names of the tokens that Bootstrap stores.
const (
	nameAdmin = "admin" // from PERIGEE_ADMIN_TOKEN
	nameFirst = "first" // made at first start
)

// Token is an API token as it is stored: its digest, never its text.
type Token struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Role   Role   `json:"role" enum:"viewer,operator,admin" doc:"What its holder may do, and no more than its owner may."`
	Digest string `json:"-"` // of the token's text, unique
	// UserID is whose it is and with whom it goes; "" for what the core made at its start,
	// and what those made whom nobody owns.
	UserID     string     `json:"userId" doc:"Whose it is; empty when it is nobody's."`
	Owner      string     `json:"owner" doc:"The user's name."`
	CreatedAt  time.Time  `json:"createdAt"`
	CreatedBy  string     `json:"createdBy"`
	ExpiresAt  *time.Time `json:"expiresAt" doc:"Null is never."`
	LastUsedAt *time.Time `json:"lastUsedAt" doc:"To the minute; null is never."`
}

// NewAPIToken is what is asked of a new token.
type NewAPIToken struct {
	Name      string
	Role      Role
	ExpiresAt *time.Time
}

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
	// Nobody is to get in by a new token because all others were revoked.
	switch users, err := store.Users(ctx); {
	case err != nil:
		return "", fmt.Errorf("reading users: %w", err)
	case len(users) > 0:
		return "", nil
	}
	token := NewToken()
	if err := store.InsertToken(ctx, dated(nameFirst, token)); err != nil {
		return "", fmt.Errorf("storing the first token: %w", err)
	}
	return token, nil
}

// dated is a token of the core's own as it is stored, of now.
func dated(name, token string) Token {
	return Token{ID: newID(), Name: name, Role: Admin, Digest: Digest(token), CreatedAt: time.Now().UTC()}
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func checkChosen(token string) error {
	if len(token) < MinAdminToken {
		return fault.New(fault.Invalid, "the admin token must have at least %d characters", MinAdminToken)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fault.New(fault.Invalid, "the admin token must be of printable ASCII characters without spaces")
	}
	return nil
}

var tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// validate says what is wrong with the token that p asks for.
func (n NewAPIToken) validate(p Principal, now time.Time) error {
	var wrong []fault.Field
	if !tokenName.MatchString(n.Name) {
		wrong = append(wrong, fault.Field{Path: "name", Message: "a letter or digit, then letters, digits, dots, _ and -, at most 63 in all", Value: n.Name})
	}
	if n.Name == nameAdmin || n.Name == nameFirst {
		wrong = append(wrong, fault.Field{Path: "name", Message: "this name is the core's own", Value: n.Name})
	}
	if !n.Role.Valid() {
		wrong = append(wrong, fault.Field{Path: "role", Message: "must be viewer, operator or admin", Value: string(n.Role)})
	} else if !p.Role.Includes(n.Role) {
		wrong = append(wrong, fault.Field{Path: "role", Message: fmt.Sprintf("you are %s; a token may not do more than who makes it", p.Role), Value: string(n.Role)})
	}
	if n.ExpiresAt != nil && !n.ExpiresAt.After(now) {
		wrong = append(wrong, fault.Field{Path: "expiresAt", Message: "must be in the future"})
	}
	if !p.Ends.IsZero() && (n.ExpiresAt == nil || n.ExpiresAt.After(p.Ends)) {
		wrong = append(wrong, fault.Field{Path: "expiresAt", Message: fmt.Sprintf("must not be after %s, when the token ends with which you make it", p.Ends.UTC().Format(time.RFC3339))})
	}
	if len(wrong) == 0 {
		return nil
	}
	return &fault.Error{Kind: fault.Invalid, Message: "the token is not valid", Fields: wrong}
}

// CreateToken makes a token, which belongs to the user whom p is or acts for. Its text is
// known to the caller alone. Faults: Invalid, Conflict.
func (a *Accounts) CreateToken(ctx context.Context, p Principal, n NewAPIToken) (made Token, text string, err error) {
	if err := n.validate(p, time.Now()); err != nil {
		return Token{}, "", err
	}
	text = NewToken()
	made = Token{ID: newID(), Name: n.Name, Role: n.Role, Digest: Digest(text), UserID: p.UserID, CreatedBy: p.Name, ExpiresAt: n.ExpiresAt}
	err = a.inTx(ctx, func(tx Tx) error {
		known, err := tx.APITokens(ctx)
		if err != nil {
			return err
		}
		if len(known) >= maxTokens {
			return fault.New(fault.Conflict, "there are %d tokens already; revoke some first", maxTokens)
		}
		if slices.ContainsFunc(known, func(t Token) bool { return t.Name == n.Name }) {
			return fault.New(fault.Conflict, "the name %q is taken by another token", n.Name)
		}
		if made.CreatedAt, err = tx.Now(ctx); err != nil {
			return err
		}
		return tx.InsertAPIToken(ctx, made)
	})
	if err != nil {
		return Token{}, "", err
	}
	made, err = a.store.Token(ctx, made.ID)
	return made, text, err
}

// ListTokens are the tokens that p may see by name: all for an administrator, else their own.
func (a *Accounts) ListTokens(ctx context.Context, p Principal) ([]Token, error) {
	all, err := a.store.Tokens(ctx)
	return slices.DeleteFunc(all, func(t Token) bool { return !owns(p, t) }), err
}

// RevokeToken ends a token, by id or name. Faults: NotFound, also of what p may not see.
func (a *Accounts) RevokeToken(ctx context.Context, p Principal, ref string) (Token, error) {
	all, err := a.ListTokens(ctx, p)
	if err != nil {
		return Token{}, err
	}
	i := slices.IndexFunc(all, func(t Token) bool { return t.ID == ref })
	if i < 0 {
		i = slices.IndexFunc(all, func(t Token) bool { return t.Name == ref })
	}
	if i < 0 {
		return Token{}, fault.New(fault.NotFound, "there is no token %q", ref)
	}
	return all[i], a.store.DeleteToken(ctx, all[i].ID)
}

func owns(p Principal, t Token) bool {
	return p.Role.Includes(Admin) || p.UserID != "" && p.UserID == t.UserID || p.TokenID == t.ID
}

// inTx runs fn while nobody else decides about users and tokens.
func (a *Accounts) inTx(ctx context.Context, fn func(Tx) error) error {
	return a.store.InTx(ctx, func(etx entity.Tx) error {
		tx := etx.(Tx) //nolint:errcheck // the store's
		if err := tx.LockAccounts(ctx); err != nil {
			return err
		}
		return fn(tx)
	})
}
