package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// How passwords are digested: Argon2id with the least memory that is advised, so that a
// burst of sign-ins does not take the machine from the core.
const (
	argonMemory = 19 << 10 // KiB
	argonTime   = 2
	argonKey    = 32
	saltSize    = 16
	// passwordSlots is how many are digested at once, and passwordWait how long one may
	// wait for its turn.
	passwordSlots = 2
	passwordWait  = 5 * time.Second
)

const (
	minPassword = 10
	maxPassword = 500 // bytes
)

// digester digests passwords, a few at a time.
type digester struct{ slots chan struct{} }

func newDigester() *digester { return &digester{slots: make(chan struct{}, passwordSlots)} }

// take waits for a turn; give is called after it.
func (d *digester) take(ctx context.Context) (give func(), err error) {
	timer := time.NewTimer(passwordWait)
	defer timer.Stop()
	select {
	case d.slots <- struct{}{}:
		return func() { <-d.slots }, nil
	case <-timer.C:
		return nil, fault.New(fault.TooMany, "too many people sign in at once; try again in a moment")
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// digest is how a password is stored: argon2id$m$t$salt$key.
func (d *digester) digest(ctx context.Context, password string) (string, error) {
	give, err := d.take(ctx)
	if err != nil {
		return "", err
	}
	defer give()
	salt := make([]byte, saltSize)
	rand.Read(salt) //nolint:errcheck // never fails: the program ends instead
	key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, 1, argonKey)
	return fmt.Sprintf("argon2id$%d$%d$%s$%s", argonMemory, argonTime, base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key)), nil
}

// nobody is the digest that is compared with when there is no such user, so that names
// cannot be told apart by time.
var nobody = fmt.Sprintf("argon2id$%d$%d$%s$%s", argonMemory, argonTime, strings.Repeat("A", 22), strings.Repeat("A", 43))

// right reports whether the password is that of the digest, which "" is of nobody.
func (d *digester) right(ctx context.Context, digest, password string) (bool, error) {
	known := digest != ""
	if !known {
		digest = nobody
	}
	parts := strings.Split(digest, "$")
	var memory, passes uint32
	if len(parts) != 5 || parts[0] != "argon2id" {
		return false, fmt.Errorf("a stored password is not of ours")
	}
	if _, err := fmt.Sscanf(parts[1]+" "+parts[2], "%d %d", &memory, &passes); err != nil {
		return false, fmt.Errorf("reading a stored password: %w", err)
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[3])
	if err != nil {
		return false, fmt.Errorf("reading a stored password: %w", err)
	}
	want, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		return false, fmt.Errorf("reading a stored password: %w", err)
	}
	give, err := d.take(ctx)
	if err != nil {
		return false, err
	}
	defer give()
	got := argon2.IDKey([]byte(password), salt, passes, memory, 1, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1 && known, nil
}

// checkPassword says why a password will not do. It is not given back.
func checkPassword(name, password string) error {
	refuse := func(why string, args ...any) error {
		return &fault.Error{Kind: fault.Invalid, Message: "the password will not do", Fields: []fault.Field{{Path: "password", Message: fmt.Sprintf(why, args...)}}}
	}
	switch {
	case len([]rune(password)) < minPassword:
		return refuse("must have at least %d characters", minPassword)
	case len(password) > maxPassword:
		return refuse("must have at most %d bytes", maxPassword)
	case strings.Contains(strings.ToLower(password), name):
		return refuse("must not have the user's name in it")
	case strings.Count(password, password[:1]) == len(password):
		return refuse("must not be one character again and again")
	}
	return nil
}
