package fleet

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// Tokens are "csat_" and 32 random bytes in base64url (spec B). They are stored
// as "sha256:" and the hex digest of the whole token: a value of 256 random bits
// cannot be guessed from its digest however fast the digest is, and a fast one
// keeps a reconnect storm from being a computing exercise (ADR 0002). Rows that
// the original wrote hold bcrypt; they verify too and are upgraded when used.
const (
	tokenPrefix  = "csat_"
	digestPrefix = "sha256:"
)

// NewToken makes a token and the hash to store. The plain text exists here only.
func NewToken() (plain, hash string) {
	var secret [32]byte
	rand.Read(secret[:]) // never fails
	plain = tokenPrefix + base64.RawURLEncoding.EncodeToString(secret[:])
	return plain, hashToken(plain)
}

func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return digestPrefix + hex.EncodeToString(sum[:])
}

// maxCost is the most that verifying a stored bcrypt hash may cost: 2^14 rounds,
// some seconds of a core. The original's have 2^10.
const maxCost = 14

// UsableHash reports whether a token is stored as the original stores it (spec B),
// at a cost that a core can pay.
func UsableHash(hash string) bool {
	cost, err := bcrypt.Cost([]byte(hash))
	return err == nil && len(hash) == 60 && cost <= maxCost
}

// verifier checks tokens at a cost that does not depend on whether the id
// exists, the token is wrong, or how the row's token is stored.
type verifier struct {
	store Store
	// find looks a credential up; false for an unknown id.
	find func(ctx context.Context, id string) (Credential, bool, error)
	// bcryptPlace admits one bcrypt comparison at a time: each costs tens of
	// milliseconds of a core, and nobody outside may decide how many run.
	bcryptPlace chan struct{}
	// legacy caches whether bcrypt rows exist, and until when that is believed.
	legacy      atomic.Bool
	legacyUntil atomic.Int64
	decoyDigest string
	decoyBcrypt []byte
}

func newVerifier(store Store, find func(context.Context, string) (Credential, bool, error)) *verifier {
	_, digest := NewToken()
	return &verifier{store: store, find: find, bcryptPlace: make(chan struct{}, 1), decoyDigest: digest, decoyBcrypt: decoyBcrypt()}
}

// decoyBcrypt is what tokens are compared with where there is no bcrypt row. No token is
// right; a process makes one, since that takes as long as a comparison.
var decoyBcrypt = sync.OnceValue(func() []byte {
	plain, _ := NewToken()
	decoy, err := bcrypt.GenerateFromPassword([]byte(plain), bcrypt.DefaultCost)
	if err != nil { // the token is shorter than bcrypt's limit and the cost is valid
		panic(err)
	}
	return decoy
})

// match is a token that was found right: whose it is, as what it is stored (hash,
// legacy for bcrypt), its number, and until when it is valid (zero: for ever).
type match struct {
	cred    Credential
	hash    string
	legacy  bool
	version int64
	until   time.Time
}

// verify finds the token among the id's. A wrong token, an unknown id and a token
// whose time is over are the same Unauthenticated fault after the same work: two
// digest comparisons, for the current token and the one before, and one bcrypt
// comparison as long as the fleet still holds bcrypt rows.
func (v *verifier) verify(ctx context.Context, id, token string) (match, error) {
	cred, known, err := v.find(ctx, id)
	if err != nil {
		return match{}, err
	}
	current := match{cred: cred, hash: v.decoyDigest}
	if known {
		current.hash, current.version = cred.Hash, cred.Version
	}
	previous := match{cred: cred, hash: v.decoyDigest}
	if known && cred.Previous != nil {
		previous.hash, previous.version = cred.Previous.Hash, cred.Previous.Version
	}
	found, slow := v.compareDigests(&current, &previous, token)
	cause := error(errUnknownSatellite)
	if known {
		found, cause = found.inTime()
	}
	if found != nil && cause == nil {
		return *found, nil
	}
	holds, err := v.holdsBcrypt(ctx)
	if err != nil {
		return match{}, err
	}
	if slow == nil && !holds {
		return match{}, refusal(&cred, cause)
	}
	against := v.decoyBcrypt
	if slow != nil {
		against = []byte(slow.hash)
	}
	right, err := v.compareBcrypt(ctx, against, token)
	if err != nil {
		return match{}, err
	}
	if right && slow != nil {
		if found, cause = slow.inTime(); cause == nil {
			return *found, nil
		}
	}
	return match{}, refusal(&cred, cause)
}

// compareDigests compares the token with both, always: found is the one that it
// is, slow the one that is stored as bcrypt instead. There is at most one of
// those, because a rotation makes digests.
func (v *verifier) compareDigests(current, previous *match, token string) (found, slow *match) {
	digest := []byte(hashToken(token))
	for _, m := range []*match{previous, current} {
		against := m.hash
		if m.legacy = strings.HasPrefix(m.hash, "$2"); m.legacy {
			against, slow = v.decoyDigest, m
		}
		if subtle.ConstantTimeCompare(digest, []byte(against)) == 1 {
			found = m
		}
	}
	return found, slow
}

// inTime is m with its end, when it is a token whose time is not over; else why
// not.
func (m *match) inTime() (*match, error) {
	if m == nil {
		return nil, errWrongToken
	}
	var err error
	m.until, err = m.cred.end(m.version, m.cred.At)
	return m, err
}

func (v *verifier) compareBcrypt(ctx context.Context, hash []byte, token string) (bool, error) {
	select {
	case v.bcryptPlace <- struct{}{}:
		defer func() { <-v.bcryptPlace }()
	case <-ctx.Done():
		return false, fault.Wrap(fault.Unavailable, context.Cause(ctx), "too many sign-ins at once")
	}
	if len(token) > 72 { // bcrypt would cut it; no token of ours or the original's is that long
		token = token[:72]
	}
	err := bcrypt.CompareHashAndPassword(hash, []byte(token))
	if err != nil && !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return false, nil // a stored hash that is none matches nothing
	}
	return err == nil, nil
}

// holdsBcrypt looks once a minute; rows of that kind only come by import.
func (v *verifier) holdsBcrypt(ctx context.Context) (bool, error) {
	now := time.Now().UnixNano()
	if now < v.legacyUntil.Load() {
		return v.legacy.Load(), nil
	}
	n, err := v.store.BcryptRows(ctx)
	if err != nil {
		return false, err
	}
	v.legacy.Store(n > 0)
	v.legacyUntil.Store(now + int64(time.Minute))
	return n > 0, nil
}
