package fleet

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// issued is a token as the model of TestM33_TokensAreValidInTheirTime knows it:
// what was promised when it was made, when it was replaced, and when it was revoked.
type issued struct {
	plain   string
	version int64
	until   time.Time // zero: for ever
}

// valid is until when the model says; a token without end is valid at any time.
func (i *issued) valid(now time.Time) bool { return i.until.IsZero() || now.Before(i.until) }

func (i *issued) endBy(t time.Time) {
	if i.until.IsZero() || t.Before(i.until) {
		i.until = t
	}
}

// Whatever is rotated, revoked and waited for in whatever order: exactly the
// tokens verify that were promised to be valid, at most two at a time, and a
// session may go on exactly as long as its token could open one.
func TestM33_TokensAreValidInTheirTime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		clock := now
		plain, hash := NewToken()
		tokens := Tokens{Hash: hash, Version: 1}
		all := []*issued{{plain: plain, version: 1}}
		span := rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.IntRange(1, 100).Draw(t, "seconds")) * time.Second
		})
		rotate := func(r Rotation) {
			if r.validate() != nil {
				return
			}
			plain, hash := NewToken()
			tokens.rotate(hash, r, clock)
			for _, older := range all[:len(all)-1] {
				older.endBy(clock) // the oldest is dropped
			}
			all[len(all)-1].endBy(clock.Add(r.Overlap))
			made := &issued{plain: plain, version: tokens.Version}
			if r.ExpiresIn > 0 {
				made.until = clock.Add(r.ExpiresIn)
			}
			all = append(all, made)
		}
		t.Repeat(map[string]func(*rapid.T){
			"rotate":              func(*rapid.T) { rotate(Rotation{}) },
			"rotate with overlap": func(t *rapid.T) { rotate(Rotation{Overlap: span.Draw(t, "overlap")}) },
			"rotate with expiry":  func(t *rapid.T) { rotate(Rotation{ExpiresIn: span.Draw(t, "expiry")}) },
			"rotate with both": func(t *rapid.T) {
				rotate(Rotation{Overlap: span.Draw(t, "overlap"), ExpiresIn: span.Draw(t, "expiry")})
			},
			"revoke the previous": func(*rapid.T) {
				tokens.Previous = nil
				for _, older := range all[:len(all)-1] {
					older.endBy(clock)
				}
			},
			"wait": func(t *rapid.T) { clock = clock.Add(span.Draw(t, "wait")) },
			"": func(t *rapid.T) {
				valid := 0
				for _, i := range all {
					if i.valid(clock) {
						valid++
					}
					checkToken(t, tokens, i, clock)
				}
				if valid > 2 {
					t.Fatalf("%d tokens are valid at once", valid)
				}
			},
		})
	})
}

// checkToken compares what verification and a session's revision say of a token
// with the model.
func checkToken(t *rapid.T, tokens Tokens, i *issued, clock time.Time) {
	find := func(context.Context, string) (Credential, bool, error) {
		return Credential{Tokens: tokens, At: clock}, true, nil
	}
	v := &verifier{store: noBcrypt{}, find: find, decoyDigest: decoy}
	m, err := v.verify(context.Background(), "s1", i.plain)
	switch {
	case i.valid(clock) && (err != nil || m.version != i.version || !m.until.Equal(i.until)):
		t.Fatalf("token %d verifies as %d until %v, %v; want it until %v", i.version, m.version, m.until, err, i.until)
	case !i.valid(clock) && !fault.Is(err, fault.Unauthenticated):
		t.Fatalf("token %d verifies as %d, %v; its time is over", i.version, m.version, err)
	}
	r := revisionAt(tokens, clock)
	left, err := r.Holds(i.version)
	if i.valid(clock) != (err == nil) {
		t.Fatalf("a session of token %d may go on: %v; the token is valid: %v", i.version, err, i.valid(clock))
	}
	want := time.Duration(0)
	if err == nil && !i.until.IsZero() {
		want = i.until.Sub(clock)
	}
	if left != want {
		t.Fatalf("a session of token %d may go on for %s, want %s", i.version, left, want)
	}
}

// revisionAt is what a store says of the tokens.
func revisionAt(tokens Tokens, clock time.Time) Revision {
	r := Revision{Credential: tokens.Version}
	if tokens.ExpiresAt != nil {
		r.ExpiresIn = new(tokens.ExpiresAt.Sub(clock))
	}
	if p := tokens.Previous; p != nil && p.ValidUntil.After(clock) {
		r.Previous, r.PreviousIn = p.Version, p.ValidUntil.Sub(clock)
	}
	return r
}

var _, decoy = NewToken()

type noBcrypt struct{ Store }

func (noBcrypt) BcryptRows(context.Context) (int, error) { return 0, nil }

func TestM33_WhyATokenIsRefusedIsForTheLogAlone(t *testing.T) {
	t.Parallel()
	spent, hash := NewToken()
	wrong, _ := NewToken()
	v := verifierOf(map[string]Tokens{
		"expired": {Hash: hash, Version: 1, ExpiresAt: ago(time.Second)},
		"over":    {Hash: decoy, Version: 2, Previous: &PreviousToken{Hash: hash, Version: 1, ValidUntil: *ago(time.Second)}},
	})
	for _, tc := range []struct {
		id, token string
		cause     error
	}{
		{"expired", spent, ErrExpired},
		{"over", spent, ErrReplaced},
		{"expired", wrong, errWrongToken},
		{"nobody", wrong, errUnknownSatellite},
	} {
		_, err := v.verify(t.Context(), tc.id, tc.token)
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || !errors.Is(err, tc.cause) {
			t.Errorf("%s: %v, want the cause %v", tc.id, err, tc.cause)
			continue
		}
		said := fault.Error{Kind: f.Kind, Message: f.Message, Fields: f.Fields}
		want := fault.Error{Kind: fault.Unauthenticated, Message: "invalid client ID or token"}
		if diff := cmp.Diff(want, said); diff != "" {
			t.Errorf("%s: what is said (-want +got):\n%s", tc.id, diff)
		}
	}
}

func TestRotationsAreValidated(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		r     Rotation
		wrong string
	}{
		{"nothing", Rotation{}, ""},
		{"both", Rotation{Overlap: time.Hour, ExpiresIn: 2 * time.Hour}, ""},
		{"short overlap", Rotation{Overlap: time.Millisecond}, "overlapMs"},
		{"negative", Rotation{Overlap: -1}, "overlapMs"},
		{"long overlap", Rotation{Overlap: MaxOverlap + 1}, "overlapMs"},
		{"long expiry", Rotation{ExpiresIn: MaxExpiry + 1}, "expiresInMs"},
		{"the old outlives the new", Rotation{Overlap: time.Hour, ExpiresIn: time.Hour}, "overlapMs"},
	} {
		err := tc.r.validate()
		wrong := ""
		if f, ok := errors.AsType[*fault.Error](err); ok {
			wrong = f.Fields[0].Path
		}
		if wrong != tc.wrong {
			t.Errorf("%s: %v, want %q wrong", tc.name, err, tc.wrong)
		}
	}
}
