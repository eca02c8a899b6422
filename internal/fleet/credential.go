package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// Bounds of what people may ask of a token's life.
const (
	MinTokenSpan = time.Second
	MaxOverlap   = 90 * 24 * time.Hour
	MaxExpiry    = 10 * 365 * 24 * time.Hour
	// TellExpiry is how long before a token expires that is told, once.
	TellExpiry = 7 * 24 * time.Hour
)

// Why a credential does not do. They go to the log; whoever signs in is told the
// same text for all of them.
var (
	errUnknownSatellite = errors.New("unknown satellite")
	errWrongToken       = errors.New("wrong token")
	// ErrExpired and ErrReplaced also end sessions.
	ErrExpired  = errors.New("the satellite's token has expired")
	ErrReplaced = errors.New("the satellite's token was replaced")
)

// Tokens are a satellite's tokens as they are stored: the current one and, while
// a rotation overlaps, the one before it.
type Tokens struct {
	Hash string
	// Version numbers the current token; it rises with every rotation.
	Version   int64
	ExpiresAt *time.Time // nil for never
	Previous  *PreviousToken
}

// PreviousToken is the token before the current one. It is of no use from
// ValidUntil on.
type PreviousToken struct {
	Hash       string
	Version    int64
	ValidUntil time.Time
}

// Rotation is how a token is replaced.
type Rotation struct {
	// Overlap is for how long the old token stays valid; 0 ends it and its sessions
	// at once.
	Overlap time.Duration
	// ExpiresIn is how long the new token is valid; 0 for ever.
	ExpiresIn time.Duration
}

func (r Rotation) validate() error {
	var fields []fault.Field
	check := func(path string, d, most time.Duration) {
		if d != 0 && (d < MinTokenSpan || d > most) {
			fields = append(fields, fault.Field{
				Path: path, Value: d.Milliseconds(),
				Message: fmt.Sprintf("must be from %d (1 s) to %d (%d days)", MinTokenSpan.Milliseconds(), most.Milliseconds(), int(most.Hours()/24)),
			})
		}
	}
	check("overlapMs", r.Overlap, MaxOverlap)
	check("expiresInMs", r.ExpiresIn, MaxExpiry)
	if fields == nil && r.ExpiresIn > 0 && r.Overlap >= r.ExpiresIn {
		fields = append(fields, fault.Field{Path: "overlapMs", Message: "must be shorter than the new token is valid", Value: r.Overlap.Milliseconds()})
	}
	if fields != nil {
		return &fault.Error{Kind: fault.Invalid, Message: "the rotation is not valid", Fields: fields}
	}
	return nil
}

// rotate makes hash the current token. With an overlap the current one becomes the
// previous; an older previous one is dropped, whatever was left of it. An overlap
// gives a token no more time than it had.
func (t *Tokens) rotate(hash string, r Rotation, now time.Time) {
	old := PreviousToken{Hash: t.Hash, Version: t.Version, ValidUntil: now.Add(r.Overlap)}
	if t.ExpiresAt != nil && t.ExpiresAt.Before(old.ValidUntil) {
		old.ValidUntil = *t.ExpiresAt
	}
	*t = Tokens{Hash: hash, Version: t.Version + 1}
	if old.ValidUntil.After(now) {
		t.Previous = &old
	}
	if r.ExpiresIn > 0 {
		t.ExpiresAt = new(now.Add(r.ExpiresIn))
	}
}

// end is until when the token of the version is valid, the zero time being for
// ever: ErrReplaced when there is no such token, ErrExpired when now is past it.
func (t *Tokens) end(version int64, now time.Time) (time.Time, error) {
	switch {
	case version == t.Version && t.ExpiresAt == nil:
		return time.Time{}, nil
	case version == t.Version && now.Before(*t.ExpiresAt):
		return *t.ExpiresAt, nil
	case version == t.Version:
		return *t.ExpiresAt, ErrExpired
	case t.Previous == nil || version != t.Previous.Version || !now.Before(t.Previous.ValidUntil):
		return time.Time{}, ErrReplaced
	}
	return t.Previous.ValidUntil, nil
}

// Holds reports whether a session that was opened with the credential may go on,
// and for how long, 0 being without end; else ErrExpired or ErrReplaced.
func (r *Revision) Holds(credential int64) (left time.Duration, err error) {
	switch {
	case credential == r.Credential && r.ExpiresIn == nil:
		return 0, nil
	case credential == r.Credential && *r.ExpiresIn > 0:
		return *r.ExpiresIn, nil
	case credential == r.Credential:
		return 0, ErrExpired
	case credential == r.Previous && r.PreviousIn > 0:
		return r.PreviousIn, nil
	}
	return 0, ErrReplaced
}

// Rotate replaces the token and returns the new one, which is shown this once.
// Sessions that were opened with the old one end: at once, or with the overlap.
// Faults: Invalid, NotFound.
func (f *Fleet) Rotate(ctx context.Context, actor entity.Actor, id string, r Rotation) (Satellite, string, error) {
	if err := r.validate(); err != nil {
		return Satellite{}, "", err
	}
	token, hash := NewToken()
	err := f.changeTokens(ctx, actor, id, func(t *Tokens, now time.Time) (entity.State, error) {
		t.rotate(hash, r, now)
		said := entity.State{"tokenRotatedAt": timeText(now)}
		if t.ExpiresAt != nil {
			said["tokenExpiresAt"] = timeText(*t.ExpiresAt)
		}
		if t.Previous != nil {
			said["previousTokenValidUntil"] = timeText(t.Previous.ValidUntil)
		}
		return said, nil
	})
	if err != nil {
		return Satellite{}, "", err
	}
	s, err := f.store.Satellite(ctx, id)
	return s, token, err
}

// RevokePrevious ends the overlap of a rotation now, and the sessions that the
// previous token opened. Faults: NotFound, Conflict when there is no overlap.
func (f *Fleet) RevokePrevious(ctx context.Context, actor entity.Actor, id string) (Satellite, error) {
	err := f.changeTokens(ctx, actor, id, func(t *Tokens, now time.Time) (entity.State, error) {
		if t.Previous == nil || !now.Before(t.Previous.ValidUntil) {
			return nil, fault.New(fault.Conflict, "the satellite has no previous token that is still valid")
		}
		t.Previous = nil
		return entity.State{"previousTokenRevokedAt": timeText(now)}, nil
	})
	if err != nil {
		return Satellite{}, err
	}
	return f.store.Satellite(ctx, id)
}

// changeTokens lets change alter a satellite's tokens in one transaction, records
// what it says of it, and rings.
func (f *Fleet) changeTokens(ctx context.Context, actor entity.Actor, id string, change func(*Tokens, time.Time) (entity.State, error)) error {
	err := entity.Record(ctx, f.recorder, func(tx Tx) ([]entity.Change, error) {
		s, err := tx.SatelliteForUpdate(ctx, id)
		if err != nil {
			return nil, err
		}
		tokens, err := tx.Tokens(ctx, id)
		if err != nil {
			return nil, err
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return nil, err
		}
		said, err := change(&tokens, now)
		if err != nil {
			return nil, err
		}
		if err := tx.SetTokens(ctx, id, tokens); err != nil {
			return nil, err
		}
		return []entity.Change{saying(s, said, actor)}, nil
	})
	if err == nil {
		f.bell.Ring(TopicConfig)
	}
	return err
}

// saying is a change of a record that stays as it is but for what is said of it.
func saying(s Satellite, said entity.State, actor entity.Actor) entity.Change {
	change := RecordChange(&s, &s, actor)
	for field, v := range said {
		change.Next[field] = v
	}
	return change
}

func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// tellExpiring says once of each token that it will expire soon. Several cores may
// look: the statement that finds them also marks them.
func (f *Fleet) tellExpiring(ctx context.Context) error {
	return entity.Record(ctx, f.recorder, func(tx Tx) ([]entity.Change, error) {
		ids, err := tx.MarkExpiring(ctx, TellExpiry)
		if err != nil {
			return nil, err
		}
		var changes []entity.Change
		for _, id := range ids {
			s, err := tx.SatelliteForUpdate(ctx, id)
			if err != nil {
				return nil, err
			}
			if s.TokenExpiresAt == nil {
				continue
			}
			f.log.Warn("a satellite's token expires soon", "satellite_id", s.ID, "satellite", s.Name, "expires_at", *s.TokenExpiresAt)
			changes = append(changes, saying(s, entity.State{"tokenExpiring": timeText(*s.TokenExpiresAt)}, entity.System))
		}
		return changes, nil
	})
}

// refusal is what is told of a credential that does not do, whatever the cause is.
// The cause is for the log, which says whose credential it was meant to be.
func refusal(cred *Credential, cause error) error {
	if cred.Satellite.ID != "" {
		cause = fmt.Errorf("satellite %q (%s): %w", cred.Satellite.Name, cred.Satellite.ID, cause)
	}
	return fault.Wrap(fault.Unauthenticated, cause, "invalid client ID or token")
}
