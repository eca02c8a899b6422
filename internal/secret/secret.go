// Package secret keeps values that checks need and that nobody may read: passwords,
// tokens, keys (spec section H).
//
// Values are sealed at rest by envelope encryption. Each version of each value has a
// data key of its own; data keys are sealed by a key-encryption key out of a keyset;
// the keyset stands in the database sealed by the root key, which does not. So a copy
// of the database opens nothing, rotating the keyset touches no value, and a value
// that is moved to another row does not open there.
//
// A satellite gets a value only just in time, only what an enabled assignment of its
// own declares, and each time is written down ([Lease]). Nothing here returns a value
// to a person, and no error or log line holds one.
//
// How it fails: a core whose root key does not open the keyset runs, and answers
// everything about secrets with a fault that says so.
package secret

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// Kind is the entity kind of a secret: its name and version, never its value.
const Kind = "secret"

const (
	// Topic is rung when a secret was set or deleted.
	Topic = "secrets"
	// TopicLeases is rung when satellites asked for values.
	TopicLeases = "secret-leases"
)

// MaxValue bounds a value, in bytes; what travels in one message must fit a frame.
const MaxValue = 64 << 10

// Record is a secret as it is stored.
type Record struct {
	ID          string
	Name        string
	Description string
	// Version counts the values that the name has had.
	Version int64
	Sealed  string // of Version, in base64
	KeyID   string
	// External names where the value is fetched from instead, as "path#field"; "" for here.
	External  string
	UpdatedAt time.Time
	UpdatedBy string
}

// Former is a value that a secret had before, or that a deleted one had last. It is
// handed out to nobody, and taken out of late results.
type Former struct {
	SecretID     string
	Version      int64
	Name         string
	Sealed       string
	SupersededAt time.Time
}

// Secret is what people may see of one.
type Secret struct {
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Version     int64     `json:"version"`
	KeyID       string    `json:"keyId,omitempty"`
	External    string    `json:"external,omitempty" doc:"Where the value is fetched from, as path#field; empty when it is kept here."`
	UpdatedAt   time.Time `json:"updatedAt"`
	UpdatedBy   string    `json:"updatedBy"`
}

// Lease is one time that a satellite asked for values.
type Lease struct {
	ID          int64     `json:"id"`
	SatelliteID string    `json:"satelliteId"`
	CheckID     string    `json:"checkId"`
	Collector   string    `json:"collector" doc:"Entry id of the collector; empty for the secrets of a configuration."`
	RunID       string    `json:"runId"`
	Names       []string  `json:"names" doc:"Names with their versions, as name@version."`
	Allowed     bool      `json:"allowed"`
	Sealed      bool      `json:"sealed" doc:"Whether the values travelled sealed to the session's key."`
	Guest       bool      `json:"guest" doc:"Whether it was for one run that the core asked for, of a check that the satellite does not hold."`
	Reason      string    `json:"reason" doc:"Why not, when not allowed."`
	At          time.Time `json:"at"`
}

// LeaseFilter narrows a list of leases. Zero fields do not narrow.
type LeaseFilter struct {
	SatelliteID string
	CheckID     string
	Refused     bool // only those that were not allowed
}

// Store is what the service reads outside of transactions.
type Store interface {
	entity.Store
	// SecretKeyset is the wrapped keyset; "" when there is none yet.
	SecretKeyset(ctx context.Context) (string, error)
	Secrets(ctx context.Context) ([]Record, error) // by name
	// SecretsNamed gives those that exist.
	SecretsNamed(ctx context.Context, names []string) (map[string]Record, error)
	// FormerSecrets are the values that the names had before.
	FormerSecrets(ctx context.Context, names []string) ([]Former, error)
	InsertSecretLeases(ctx context.Context, leases []Lease) error
	// SecretLeases lists newest first; before is the id of the last one seen, 0 at first.
	SecretLeases(ctx context.Context, f LeaseFilter, before int64, limit int) ([]Lease, error)
}

// Tx is what the service does inside a transaction.
type Tx interface {
	entity.Tx
	// LockSecrets makes transactions that alter secrets or their keys wait for each
	// other.
	LockSecrets(ctx context.Context) error
	SecretKeysetForUpdate(ctx context.Context) (string, error)
	PutSecretKeyset(ctx context.Context, wrapped string) error
	SecretRecords(ctx context.Context) ([]Record, error) // by name
	// SecretRecordsNamed gives those that exist.
	SecretRecordsNamed(ctx context.Context, names []string) (map[string]Record, error)
	PutSecret(ctx context.Context, r Record) error
	DeleteSecret(ctx context.Context, id string) error
	FormerSecretRecords(ctx context.Context) ([]Former, error)
	PutFormerSecret(ctx context.Context, f Former) error
	// DeleteFormerSecrets forgets the values of the secret up to a version.
	DeleteFormerSecrets(ctx context.Context, id string, upTo int64) error
	// PurgeSecrets forgets values superseded, and leases made, before then.
	PurgeSecrets(ctx context.Context, superseded, leased time.Time) error
}

// Config is what the service is made of.
type Config struct {
	Store    Store
	Recorder *entity.Recorder
	Bell     entity.Bell
	// Root is the root key, 32 bytes. OldRoot is the one before, while the keyset may
	// still be sealed by it; nil for none.
	Root, OldRoot []byte
	// KV is where external secrets are fetched from; nil for nowhere.
	KV  *KV
	Log *slog.Logger
}

// Service keeps secrets. Run must be running for Lease to return.
type Service struct {
	Config
	keys   *keyring
	leases *entity.Group[*Lease]
	values cache
}

const (
	leaseQueue = 4096
	leaseBatch = 500
	// keepFormer is how long values that were replaced or deleted are kept for redaction,
	// and maxFormer how many of one secret at most, the newest; keepLeases is how long it
	// is known who asked.
	keepFormer = 24 * time.Hour
	maxFormer  = 100
	keepLeases = 90 * 24 * time.Hour
)

// New makes the service. Fault: Invalid when the root key has another length.
func New(c Config) (*Service, error) {
	keys, err := newKeyring(c.Root, c.OldRoot)
	if err != nil {
		return nil, err
	}
	s := &Service{Config: c, keys: keys}
	s.leases = entity.NewGroup(leaseQueue, leaseBatch, func(*Lease) int { return 1 }, func(ctx context.Context, all []*Lease) error {
		rows := make([]Lease, len(all))
		for i, l := range all {
			rows[i] = *l
		}
		err := c.Store.InsertSecretLeases(ctx, rows)
		if err == nil {
			c.Bell.Ring(TopicLeases)
		}
		return err
	})
	return s, nil
}

// Run writes leases down until ctx ends.
func (s *Service) Run(ctx context.Context) error { return s.leases.Run(ctx) }

// userName is a name that people may give (spec H.1).
var userName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,62}$`)

func checkName(name string) error {
	if userName.MatchString(name) {
		return nil
	}
	return &fault.Error{Kind: fault.Invalid, Message: "the secret is not valid", Fields: []fault.Field{{
		Path: "name", Value: name, Message: "begins with a letter; letters, digits, _ and - follow, 63 characters in all",
	}}}
}

// New values of a secret: one of Value and External.
type Input struct {
	Description *string
	Value       string
	External    string // path#field
}

// Set gives the secret a new value, and makes it when it is new. Faults: Invalid,
// Unavailable when the root key does not open the keyset.
func (s *Service) Set(ctx context.Context, actor entity.Actor, name string, in Input) (Secret, error) {
	if err := checkName(name); err != nil {
		return Secret{}, err
	}
	if err := in.validate(s.KV != nil); err != nil {
		return Secret{}, err
	}
	var made Record
	err := entity.Record(ctx, s.Recorder, func(tx Tx) ([]entity.Change, error) {
		before, after, err := s.put(ctx, tx, name, in, actor)
		made = after
		return []entity.Change{change(before, &after, actor)}, err
	})
	if err != nil {
		return Secret{}, err
	}
	s.changed()
	return made.visible(), nil
}

func (in *Input) validate(external bool) error {
	problem := func(path, message string) error {
		return &fault.Error{Kind: fault.Invalid, Message: "the secret is not valid", Fields: []fault.Field{{Path: path, Message: message}}}
	}
	switch {
	case in.External != "" && in.Value != "":
		return problem("external", "a secret has a value or a place where it is fetched from, not both")
	case in.External != "" && !external:
		return problem("external", "this core fetches from nowhere; start it with --vault-addr")
	case in.External != "":
		path, field, ok := strings.Cut(in.External, "#")
		if !ok || strings.Trim(path, "/") == "" || field == "" || strings.Contains(path, "..") {
			return problem("external", "is written path#field")
		}
	case in.Value == "":
		return problem("value", "must not be empty")
	case len(in.Value) > MaxValue:
		return problem("value", fmt.Sprintf("must be at most %d bytes", MaxValue))
	case !utf8.ValidString(in.Value) || strings.ContainsRune(in.Value, 0):
		return problem("value", "must be UTF-8 text without NUL")
	}
	return nil
}

// put writes a new version of the name.
func (s *Service) put(ctx context.Context, tx Tx, name string, in Input, actor entity.Actor) (before *Record, after Record, err error) {
	if err := tx.LockSecrets(ctx); err != nil {
		return nil, after, err
	}
	kek, err := s.keys.forWriting(ctx, tx)
	if err != nil {
		return nil, after, err
	}
	records, err := tx.SecretRecordsNamed(ctx, []string{name})
	if err != nil {
		return nil, after, err
	}
	if r, had := records[name]; had {
		before = &r
	}
	after, err = write(ctx, tx, kek, before, name, in, actor)
	return before, after, err
}

// write gives the secret its next version and keeps the value before for redaction.
// LockSecrets has been called; before is nil for a new one.
func write(ctx context.Context, tx Tx, kek *keys, before *Record, name string, in Input, actor entity.Actor) (after Record, err error) {
	now, err := tx.Now(ctx)
	if err != nil {
		return after, err
	}
	if before != nil {
		after = *before
		if err := supersede(ctx, tx, before, now); err != nil {
			return after, err
		}
	} else {
		after = Record{ID: uuid.Must(uuid.NewV7()).String(), Name: name}
	}
	if in.Description != nil {
		after.Description = *in.Description
	}
	after.Version++
	after.External, after.UpdatedAt, after.UpdatedBy = in.External, now, actor.Name
	if after.Sealed, after.KeyID, err = kek.seal(after.ID, after.Version, in.Value); err != nil {
		return after, err
	}
	return after, tx.PutSecret(ctx, after)
}

// supersede keeps the secret's value among the former ones.
func supersede(ctx context.Context, tx Tx, r *Record, now time.Time) error {
	if r.External != "" { // what is sealed is empty
		return nil
	}
	if err := tx.PutFormerSecret(ctx, Former{SecretID: r.ID, Version: r.Version, Name: r.Name, Sealed: r.Sealed, SupersededAt: now}); err != nil {
		return err
	}
	return tx.DeleteFormerSecrets(ctx, r.ID, r.Version-maxFormer)
}

// remove deletes a secret and keeps its value among the former ones.
func remove(ctx context.Context, tx Tx, r *Record) error {
	now, err := tx.Now(ctx)
	if err != nil {
		return err
	}
	if err := supersede(ctx, tx, r, now); err != nil {
		return err
	}
	return tx.DeleteSecret(ctx, r.ID)
}

// Delete removes a secret. Checks that refer to it get an error from then on; its
// value is taken out of late results for a day. Fault: NotFound.
func (s *Service) Delete(ctx context.Context, actor entity.Actor, name string) error {
	err := entity.Record(ctx, s.Recorder, func(tx Tx) ([]entity.Change, error) {
		if err := tx.LockSecrets(ctx); err != nil {
			return nil, err
		}
		records, err := tx.SecretRecordsNamed(ctx, []string{name})
		if err != nil {
			return nil, err
		}
		if r, had := records[name]; had && !internal(name) {
			return []entity.Change{change(&r, nil, actor)}, remove(ctx, tx, &r)
		}
		return nil, fault.New(fault.NotFound, "there is no secret %q", name)
	})
	if err == nil {
		s.changed()
	}
	return err
}

// List is the secrets by name, without values.
func (s *Service) List(ctx context.Context) ([]Secret, error) {
	records, err := s.Store.Secrets(ctx)
	if err != nil {
		return nil, err
	}
	all := []Secret{}
	for _, r := range records {
		if shown, ok := r.Shown(); ok {
			all = append(all, shown)
		}
	}
	return all, nil
}

// Leases lists who asked for what, newest first.
func (s *Service) Leases(ctx context.Context, f LeaseFilter, before int64, limit int) ([]Lease, error) {
	return s.Store.SecretLeases(ctx, f, before, limit)
}

// Rotated says what a rotation did.
type Rotated struct {
	KeyID   string `json:"keyId"`
	Secrets int    `json:"secrets" doc:"How many secrets were sealed anew; their values were not touched."`
}

// RotateKey makes a new key-encryption key, seals every data key by it and it by the
// root key, and forgets the old keys. One transaction: when it fails, nothing has changed.
func (s *Service) RotateKey(ctx context.Context, actor entity.Actor) (done Rotated, err error) {
	err = entity.Record(ctx, s.Recorder, func(tx Tx) ([]entity.Change, error) {
		done = Rotated{}
		if err := tx.LockSecrets(ctx); err != nil {
			return nil, err
		}
		old, err := s.keys.forWriting(ctx, tx)
		if err != nil {
			return nil, err
		}
		next, err := old.successor()
		if err != nil {
			return nil, err
		}
		records, err := tx.SecretRecords(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			if r.Sealed, err = rewrap(old, next, r.Sealed); err != nil {
				return nil, fmt.Errorf("sealing secret %s anew: %w", r.Name, err)
			}
			r.KeyID = next.id()
			if err := tx.PutSecret(ctx, r); err != nil {
				return nil, err
			}
			done.Secrets++
		}
		former, err := tx.FormerSecretRecords(ctx)
		if err != nil {
			return nil, err
		}
		for _, f := range former {
			if f.Sealed, err = rewrap(old, next, f.Sealed); err != nil {
				return nil, fmt.Errorf("sealing a former value of secret %s anew: %w", f.Name, err)
			}
			if err := tx.PutFormerSecret(ctx, f); err != nil {
				return nil, err
			}
		}
		wrapped, err := s.keys.wrap(next)
		if err != nil {
			return nil, err
		}
		done.KeyID = next.id()
		return []entity.Change{{
			Kind: Kind, ID: "keyset", Actor: actor,
			Prev: entity.State{"keyId": old.id()}, Next: entity.State{"keyId": next.id()},
		}}, tx.PutSecretKeyset(ctx, wrapped)
	})
	if err == nil {
		s.changed()
	}
	return done, err
}

// Collect forgets superseded values after a day, and leases after 90 days.
func (s *Service) Collect(ctx context.Context) error {
	return entity.InTx(ctx, s.Recorder, func(tx Tx) error {
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		return tx.PurgeSecrets(ctx, now.Add(-keepFormer), now.Add(-keepLeases))
	})
}

// changed forgets what is cached, here and on the other cores.
func (s *Service) changed() {
	s.values.clear()
	s.Bell.Ring(Topic)
}

// Forget drops cached values: another core has changed some.
func (s *Service) Forget() { s.values.clear() }

// Shown is what people see of it: nothing of the credentials of checks.
func (r *Record) Shown() (Secret, bool) { return r.visible(), !internal(r.Name) }

func (r *Record) visible() Secret {
	return Secret{
		Name: r.Name, Description: r.Description, Version: r.Version, KeyID: r.KeyID, External: r.External,
		UpdatedAt: r.UpdatedAt, UpdatedBy: r.UpdatedBy,
	}
}

func change(before, after *Record, actor entity.Actor) entity.Change {
	state := func(r *Record) entity.State {
		if r == nil {
			return nil
		}
		return entity.State{"name": r.Name, "version": r.Version, "external": r.External, "description": r.Description}
	}
	c := entity.Change{Kind: Kind, Prev: state(before), Next: state(after), Actor: actor}
	for _, r := range []*Record{before, after} {
		if r != nil {
			c.ID = r.ID
		}
	}
	return c
}

// Derivers are what changes of secrets mean.
func Derivers() []entity.Deriver {
	return []entity.Deriver{{
		Kind: Kind,
		Types: func(c entity.Change) []string {
			switch {
			case c.ID == "keyset":
				return []string{"secret.key_rotated"}
			case c.Prev == nil:
				return []string{"secret.created"}
			case c.Next == nil:
				return []string{"secret.deleted"}
			}
			return []string{"secret.updated"}
		},
		Payload: func(c entity.Change) any {
			state := c.Next
			if state == nil {
				state = c.Prev
			}
			return map[string]any{"name": state["name"], "version": state["version"], "keyId": state["keyId"]}
		},
	}}
}
