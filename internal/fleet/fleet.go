package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/protocol"
)

const (
	// TopicConfig is rung when a satellite's desired set or credential has changed.
	TopicConfig = "config"
	// TopicHeard is rung when what satellites say of themselves was written: that they
	// live, what they are, and what they run. TopicSync is for their script packages.
	TopicHeard = "heartbeats"
	TopicSync  = "package-sync"
	// TopicCores is rung when a core has come or gone.
	TopicCores = "cores"
)

// edgeBatch bounds the edges of one transaction.
const edgeBatch = 500

// Fleet is the satellites' service. Run must be running for Open and Close to return.
type Fleet struct {
	store    Store
	core     string // the name of this core among those that run
	recorder *entity.Recorder
	bell     entity.Bell
	log      *slog.Logger
	verifier *verifier
	edges    *entity.Group[*edge]
	lookups  *entity.Group[*lookup]
	desired  *entity.Group[*desiredLookup]
	replan   Replan
	leased   func([]Lease)

	looked atomic.Int64 // when the database was last reached, counted from born
	born   time.Time

	quiet   bool          // see SetGrace
	maxSkew time.Duration // see SetMaxSkew

	beatMu sync.Mutex
	beats  map[string]noted // guarded by beatMu
}

// New makes the service.
func New(store Store, recorder *entity.Recorder, bell entity.Bell, log *slog.Logger) *Fleet {
	f := &Fleet{
		store: store, core: uuid.NewString(), recorder: recorder, bell: bell, log: log,
		beats: map[string]noted{}, born: time.Now(), maxSkew: DefaultMaxSkew,
		replan: func(context.Context, Tx, *Satellite, *Satellite, entity.Actor) ([]entity.Change, error) {
			return nil, nil
		},
		leased: func([]Lease) {},
	}
	f.verifier = newVerifier(store, f.credential)
	f.lookups = entity.NewGroup(4*readBatch, readBatch, func(*lookup) int { return 1 }, f.readCredentials)
	f.desired = entity.NewGroup(4*readBatch, readBatch, func(*desiredLookup) int { return 1 }, f.readDesired)
	f.edges = entity.NewGroup(4*edgeBatch, edgeBatch, func(*edge) int { return 1 }, f.commitEdges)
	return f
}

// SetGrace tells that ends of sessions are not told at once: then a session that begins
// while the one before has not been told to end is no edge either, so that a blip is
// none at all (spec M46). Call it before anything else.
func (f *Fleet) SetGrace(grace time.Duration) { f.quiet = grace > 0 }

// Replan recomputes what is placed on one satellite inside the transaction that
// created (before is nil), renamed, relabelled or deleted it (after is nil), and
// returns what else changed.
type Replan func(ctx context.Context, tx Tx, before, after *Satellite, actor entity.Actor) ([]entity.Change, error)

// Core is the name of this core among those that run.
func (f *Fleet) Core() string { return f.core }

// SetReplan gives fleet its Replan. Call it before anything else.
func (f *Fleet) SetReplan(replan Replan) { f.replan = replan }

// SetLeased gives fleet whom to tell of leases, once they are written down; it must not
// block. Call it before anything else.
func (f *Fleet) SetLeased(leased func([]Lease)) { f.leased = leased }

// Run commits edges, flushes heartbeats and watches for silence until ctx ends.
func (f *Fleet) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return f.edges.Run(ctx) })
	group.Go(func() error { return f.lookups.Run(ctx) })
	group.Go(func() error { return f.desired.Run(ctx) })
	group.Go(func() error { return f.watch(ctx) })
	return group.Wait()
}

// NewSatellite is what a person says of a satellite to be created.
type NewSatellite struct {
	Name               string
	Region             string
	Tags               map[string]string
	OfflineThresholdMs *int64
	// TokenExpiresIn is how long its token is valid; 0 for ever.
	TokenExpiresIn time.Duration
	// Weight is its share of seats in proportion to others; 0 is as 1.
	Weight int64
}

// Patch changes a satellite; nil fields stay.
type Patch struct {
	Name               *string
	Region             *string
	Tags               map[string]string
	OfflineThresholdMs *int64
	ClearThreshold     bool
	Weight             *int64
}

// Create makes a satellite and returns its token, which is shown this once.
// Faults: Invalid, Conflict when the name is taken.
func (f *Fleet) Create(ctx context.Context, actor entity.Actor, n NewSatellite) (Satellite, string, error) {
	if n.Tags == nil {
		n.Tags = map[string]string{}
	}
	s := Satellite{ID: uuid.Must(uuid.NewV7()).String(), Name: n.Name, Region: n.Region, Tags: n.Tags, OfflineThresholdMs: n.OfflineThresholdMs, Weight: n.Weight}
	if err := Validate(s); err != nil {
		return Satellite{}, "", err
	}
	if err := (Rotation{ExpiresIn: n.TokenExpiresIn}).validate(); err != nil {
		return Satellite{}, "", err
	}
	token, hash := NewToken()
	err := entity.Record(ctx, f.recorder, func(tx Tx) ([]entity.Change, error) {
		if err := tx.LockDefinitions(ctx); err != nil {
			return nil, err
		}
		if n.TokenExpiresIn > 0 {
			now, err := tx.Now(ctx)
			if err != nil {
				return nil, err
			}
			s.TokenExpiresAt = new(now.Add(n.TokenExpiresIn))
		}
		if err := tx.InsertSatellite(ctx, s, hash); err != nil {
			return nil, err
		}
		changes, err := f.replan(ctx, tx, nil, &s, actor)
		return append(changes, RecordChange(nil, &s, actor)), err
	})
	if err != nil {
		return Satellite{}, "", err
	}
	f.bell.Ring(TopicConfig)
	s, err = f.store.Satellite(ctx, s.ID)
	return s, token, err
}

// Update changes a satellite. Faults: Invalid, NotFound, Conflict.
func (f *Fleet) Update(ctx context.Context, actor entity.Actor, id string, p Patch) (Satellite, error) {
	return f.alter(ctx, actor, id, func(_ Tx, s *Satellite) error {
		p.apply(s)
		return Validate(*s)
	})
}

// alter changes what people say of a satellite, under the lock of definitions, and places
// anew what its labels concern.
func (f *Fleet) alter(ctx context.Context, actor entity.Actor, id string, change func(Tx, *Satellite) error) (Satellite, error) {
	err := entity.Record(ctx, f.recorder, func(tx Tx) ([]entity.Change, error) {
		if err := tx.LockDefinitions(ctx); err != nil {
			return nil, err
		}
		before, err := tx.SatelliteForUpdate(ctx, id)
		if err != nil {
			return nil, err
		}
		after := before
		if err := change(tx, &after); err != nil {
			return nil, err
		}
		if err := tx.UpdateSatellite(ctx, after); err != nil {
			return nil, err
		}
		changes, err := f.replan(ctx, tx, &before, &after, actor)
		return append(changes, RecordChange(&before, &after, actor)), err
	})
	if err != nil {
		return Satellite{}, err
	}
	f.bell.Ring(TopicConfig)
	return f.store.Satellite(ctx, id)
}

func (p *Patch) apply(s *Satellite) {
	if p.Name != nil {
		s.Name = *p.Name
	}
	if p.Region != nil {
		s.Region = *p.Region
	}
	if p.Tags != nil {
		s.Tags = maps.Clone(p.Tags)
	}
	if p.OfflineThresholdMs != nil {
		s.OfflineThresholdMs = p.OfflineThresholdMs
	}
	if p.Weight != nil {
		s.Weight = *p.Weight
	}
	if p.ClearThreshold {
		s.OfflineThresholdMs = nil
	}
}

// Delete removes a satellite, what is placed on it, its name from the assignments
// that name it, and its live session.
func (f *Fleet) Delete(ctx context.Context, actor entity.Actor, id string) error {
	err := entity.Record(ctx, f.recorder, func(tx Tx) ([]entity.Change, error) {
		if err := tx.LockDefinitions(ctx); err != nil {
			return nil, err
		}
		s, err := tx.SatelliteForUpdate(ctx, id)
		if err != nil {
			return nil, err
		}
		rows, err := tx.LockConnections(ctx, []string{id})
		if err != nil {
			return nil, err
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return nil, err
		}
		others, err := f.replan(ctx, tx, &s, nil, actor)
		if err != nil {
			return nil, err
		}
		if err := tx.DeleteSatellite(ctx, id); err != nil {
			return nil, err
		}
		changes := append([]entity.Change{RecordChange(&s, nil, actor)}, others...)
		if row, ok := rows[id]; ok {
			changes = append(changes, entity.Change{Kind: KindConnection, ID: id, Prev: row.State(now), Actor: actor})
		}
		return changes, nil
	})
	if err == nil {
		f.bell.Ring(TopicConfig)
	}
	return err
}

// Verified is a satellite whose token was right.
type Verified struct {
	Satellite  Satellite
	Credential int64
	// Left is for how long the token is valid yet; 0 without end.
	Left time.Duration
}

// Verify checks a satellite's credentials. Faults: Unauthenticated, at the same
// cost and in the same words whatever is wrong, with the cause for the log;
// Unavailable when the database is away.
func (f *Fleet) Verify(ctx context.Context, clientID, token string) (Verified, error) {
	m, err := f.verifier.verify(ctx, clientID, token)
	if err != nil {
		return Verified{}, err
	}
	if m.legacy {
		err := entity.InTx(ctx, f.recorder, func(tx Tx) error { return tx.UpgradeTokenHash(ctx, m.cred.Satellite.ID, m.hash, hashToken(token)) })
		if err != nil { // it verified; the upgrade comes with the next sign-in
			f.log.Warn("upgrading a stored token failed", "satellite_id", clientID, "error", err)
		}
	}
	v := Verified{Satellite: m.cred.Satellite, Credential: m.version}
	if !m.until.IsZero() {
		v.Left = m.until.Sub(m.cred.At)
	}
	return v, nil
}

// Revisions is what sessions compare themselves with.
func (f *Fleet) Revisions(ctx context.Context, satelliteIDs []string) (map[string]Revision, error) {
	return f.store.Revisions(ctx, satelliteIDs)
}

// SetInventory keeps what the satellite says it is and can run, and places anew what that
// concerns.
func (f *Fleet) SetInventory(ctx context.Context, id string, inv protocol.Inventory) error {
	known, err := f.store.Satellite(ctx, id)
	if err != nil {
		return err
	}
	if known.Inventory.RunsAlike(&inv) {
		return f.note(ctx, TopicHeard, func(tx Tx) error { return tx.SetInventory(ctx, id, inv) })
	}
	err = entity.Record(ctx, f.recorder, func(tx Tx) ([]entity.Change, error) {
		if err := tx.LockDefinitions(ctx); err != nil {
			return nil, err
		}
		before, err := tx.SatelliteForUpdate(ctx, id)
		if err != nil {
			return nil, err
		}
		if err := tx.SetInventory(ctx, id, inv); err != nil {
			return nil, err
		}
		after := before
		after.Inventory = &inv
		return f.replan(ctx, tx, &before, &after, entity.System)
	})
	if err == nil {
		f.bell.Ring(TopicConfig)
	}
	return err
}

// SetApplied keeps the revision that the satellite reports to run.
func (f *Fleet) SetApplied(ctx context.Context, id string, applied protocol.Applied) error {
	return f.note(ctx, TopicHeard, func(tx Tx) error { return tx.SetApplied(ctx, id, applied) })
}

// SetSyncState keeps how far the satellite's script packages are.
func (f *Fleet) SetSyncState(ctx context.Context, id string, s protocol.ScriptPackageSyncState) error {
	return f.note(ctx, TopicSync, func(tx Tx) error { return tx.SetSyncState(ctx, id, s) })
}

// note writes what is no event, and tells who looks.
func (f *Fleet) note(ctx context.Context, topic string, write func(Tx) error) error {
	err := entity.InTx(ctx, f.recorder, write)
	if err == nil {
		f.bell.Ring(topic)
	}
	return err
}

// RecordChange is the change of a satellite's record from before to after; nil
// is absence.
func RecordChange(before, after *Satellite, actor entity.Actor) entity.Change {
	state := func(s *Satellite) entity.State {
		if s == nil {
			return nil
		}
		return entity.State{
			"name": s.Name, "region": s.Region, "tags": s.Tags, "offlineThresholdMs": s.OfflineThresholdMs, "weight": s.Weighs(),
			"cordoned": s.CordonedAt != nil, "draining": s.Draining,
		}
	}
	id := ""
	for _, s := range []*Satellite{before, after} {
		if s != nil {
			id = s.ID
		}
	}
	return entity.Change{Kind: KindSatellite, ID: id, Prev: state(before), Next: state(after), Actor: actor}
}

// Validate checks what people may set of a satellite: an Invalid fault with the
// fields that are wrong.
func Validate(s Satellite) error {
	var fields []fault.Field
	if problem := nameProblem(s.Name); problem != "" {
		fields = append(fields, fault.Field{Path: "name", Message: problem, Value: s.Name})
	}
	if problem := textProblem(s.Region); problem != "" {
		fields = append(fields, fault.Field{Path: "region", Message: problem, Value: s.Region})
	}
	if len(s.Tags) > 64 {
		fields = append(fields, fault.Field{Path: "tags", Message: "at most 64 tags"})
	}
	for k, v := range s.Tags {
		if textProblem(k) != "" || utf8.RuneCountInString(v) > 200 {
			fields = append(fields, fault.Field{Path: "tags." + k, Message: "a tag has a name of 1 to 200 characters and a value of at most 200", Value: v})
		}
	}
	if t := s.OfflineThresholdMs; t != nil && (*t < MinThreshold.Milliseconds() || *t > MaxThreshold.Milliseconds()) {
		fields = append(fields, fault.Field{
			Path:    "offlineThresholdMs",
			Message: fmt.Sprintf("must be from %d (15 s) to %d (24 h)", MinThreshold.Milliseconds(), MaxThreshold.Milliseconds()), Value: *t,
		})
	}
	if s.Weight < 0 || s.Weight > MaxWeight {
		fields = append(fields, fault.Field{Path: "weight", Message: fmt.Sprintf("must be from 1 to %d", MaxWeight), Value: s.Weight})
	}
	if fields != nil {
		return &fault.Error{Kind: fault.Invalid, Message: "the satellite is not valid", Fields: fields}
	}
	return nil
}

// nameProblem says what is wrong with a satellite's name; "" for nothing. It stands
// in URLs and in the place of an id, so it has no slash and does not look like one.
func nameProblem(name string) string {
	switch {
	case strings.Contains(name, "/"):
		return "must not contain a slash"
	case len(name) == 36 && uuid.Validate(name) == nil:
		return "must not look like an id"
	}
	return textProblem(name)
}

// textProblem says what is wrong with a text that people see and type; "" for nothing.
func textProblem(text string) string {
	switch n := utf8.RuneCountInString(text); {
	case n == 0:
		return "must not be empty"
	case n > 200:
		return "must be at most 200 characters"
	case strings.TrimSpace(text) != text:
		return "must not begin or end with a space"
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return "must be printable text"
	}
	return ""
}
