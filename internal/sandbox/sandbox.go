// Package sandbox is what scripts may do where satellites stand: one policy for the
// whole fleet, relayed to satellites as it is (spec G.8). An agent of the original keeps
// its scripts away from the network until it has been told one.
//
// It enforces nothing: that is the satellite's part, and what its operator allows there
// no policy of a core can widen.
package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fence"
)

const (
	// Kind is the entity kind of the policy, which is one.
	Kind = "sandbox-policy"
	// Topic is rung when the policy was changed.
	Topic = "sandbox"
	// settingName is under which it is stored.
	settingName = "sandbox-policy"
)

// Setting is the policy in force.
type Setting struct {
	Policy    fence.Policy `json:"policy"`
	IsDefault bool         `json:"isDefault" doc:"Nobody has set one: it is the one that the original ships."`
	UpdatedAt *time.Time   `json:"updatedAt"`
	UpdatedBy string       `json:"updatedBy"`
}

// Stored is a setting as the store has it.
type Stored struct {
	Value     string
	UpdatedAt time.Time
	UpdatedBy string
}

// Store is what the service reads outside of transactions.
type Store interface {
	entity.Store
	// Setting finds a setting by name; NotFound.
	Setting(ctx context.Context, name string) (Stored, error)
}

// Tx is what the service does inside a transaction.
type Tx interface {
	entity.Tx
	SettingForUpdate(ctx context.Context, name string) (Stored, error)
	PutSetting(ctx context.Context, name string, s Stored) error
	DeleteSetting(ctx context.Context, name string) error // of one that may not be there
}

// Service keeps the policy.
type Service struct {
	store    Store
	recorder *entity.Recorder
	bell     entity.Bell
}

// New makes the service.
func New(store Store, recorder *entity.Recorder, bell entity.Bell) *Service {
	return &Service{store: store, recorder: recorder, bell: bell}
}

// Get is the policy in force.
func (s *Service) Get(ctx context.Context) (Setting, error) {
	stored, err := s.store.Setting(ctx, settingName)
	return Read(stored, err)
}

// Read is the setting as it was read from the store: the default when there was none.
func Read(stored Stored, err error) (Setting, error) {
	if fault.Is(err, fault.NotFound) {
		return Setting{Policy: fence.Default(), IsDefault: true}, nil
	}
	if err != nil {
		return Setting{}, err
	}
	out := Setting{UpdatedAt: &stored.UpdatedAt, UpdatedBy: stored.UpdatedBy}
	if err := json.Unmarshal([]byte(stored.Value), &out.Policy); err != nil {
		return Setting{}, fmt.Errorf("reading the stored sandbox policy: %w", err)
	}
	return out, nil
}

// Policy is the policy in force as it is told to satellites.
func (s *Service) Policy(ctx context.Context) (json.RawMessage, error) {
	now, err := s.Get(ctx)
	if err != nil {
		return nil, err
	}
	return json.Marshal(now.Policy)
}

// Set makes the policy the one in force, on every satellite. Fault: Invalid.
func (s *Service) Set(ctx context.Context, actor entity.Actor, p fence.Policy) (Setting, error) {
	if err := p.Validate(); err != nil {
		return Setting{}, err
	}
	return s.change(ctx, actor, &p)
}

// Reset goes back to the default.
func (s *Service) Reset(ctx context.Context, actor entity.Actor) (Setting, error) {
	return s.change(ctx, actor, nil)
}

// change writes the policy, nil for the default.
func (s *Service) change(ctx context.Context, actor entity.Actor, p *fence.Policy) (after Setting, err error) {
	err = entity.Record(ctx, s.recorder, func(tx Tx) ([]entity.Change, error) {
		before, err := Read(tx.SettingForUpdate(ctx, settingName))
		if err != nil {
			return nil, err
		}
		if p == nil {
			after = Setting{Policy: fence.Default(), IsDefault: true}
			if err := tx.DeleteSetting(ctx, settingName); err != nil {
				return nil, err
			}
		} else {
			now, err := tx.Now(ctx)
			if err != nil {
				return nil, err
			}
			text, err := json.Marshal(p)
			if err != nil {
				return nil, err
			}
			after = Setting{Policy: *p, UpdatedAt: &now, UpdatedBy: actor.Name}
			if err := tx.PutSetting(ctx, settingName, Stored{Value: string(text), UpdatedAt: now, UpdatedBy: actor.Name}); err != nil {
				return nil, err
			}
		}
		return []entity.Change{{Kind: Kind, ID: settingName, Actor: actor, Prev: entity.State{"policy": before.Policy}, Next: entity.State{"policy": after.Policy}}}, nil
	})
	if err == nil {
		s.bell.Ring(Topic)
	}
	return after, err
}

// Derivers are what a change of the policy means.
func Derivers() []entity.Deriver {
	return []entity.Deriver{{
		Kind:    Kind,
		Types:   func(entity.Change) []string { return []string{"sandbox.policy_changed"} },
		Payload: func(c entity.Change) any { return c.Next },
	}}
}
