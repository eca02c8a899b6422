package catalog

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// ValidateSpec judges a check's spec: strategy and collectors known, configs by
// their schemas, assertions usable. Paths are relative to the spec
// ("collectors[0].config.url"); nil means that it is right.
type ValidateSpec func(spec check.Spec) []fault.Field

// Concealer keeps the credentials that are written out in checks apart from their
// definitions (spec M34); *secret.Service is one.
type Concealer interface {
	// Exposed reports whether the check has a credential that is written out.
	Exposed(spec check.Spec) bool
	// Hidden is the check with something else in place of those.
	Hidden(spec check.Spec) check.Spec
	// Conceal gives the check as it is stored, with a marker for each credential, and
	// what is wrong with those it has, with paths relative to the spec. Before and after
	// are the check's spec, empty where there is none.
	Conceal(ctx context.Context, tx entity.Tx, actor entity.Actor, checkID string, before, after check.Spec) (check.Spec, []fault.Field, error)
	// Concealed is called when that is durable.
	Concealed()
}

// Catalog is the service. It owns no goroutine and keeps no state.
type Catalog struct {
	store        Store
	recorder     *entity.Recorder
	bell         entity.Bell
	validateSpec ValidateSpec
	concealer    Concealer
	log          *slog.Logger
}

// New makes the service. Give its SatelliteChanged to fleet.SetReplan, or
// satellites that come or change their labels will not be placed.
func New(store Store, recorder *entity.Recorder, bell entity.Bell, validateSpec ValidateSpec, log *slog.Logger) *Catalog {
	return &Catalog{store: store, recorder: recorder, bell: bell, validateSpec: validateSpec, log: log}
}

// SetConcealer gives catalog its Concealer; without one, credentials stay in the
// definitions. Call it before anything else.
func (c *Catalog) SetConcealer(concealer Concealer) { c.concealer = concealer }

// ConcealAll takes the credentials that checks have in their definitions into keeping:
// those that were saved before there was a Concealer. Fault: that of Conceal.
func (c *Catalog) ConcealAll(ctx context.Context) error {
	if c.concealer == nil {
		return nil
	}
	return c.change(ctx, entity.System, false, func(e *edit) error {
		for _, name := range e.checks.names() {
			check, _ := e.checks.named(name)
			if !c.concealer.Exposed(check.Spec) {
				continue
			}
			var wrong []fault.Field
			var err error
			if check.Spec, wrong, err = e.conceal(ctx, check.ID, check.Spec, check.Spec); err != nil {
				return err
			}
			for _, f := range wrong {
				c.log.Warn("a credential of a check cannot be kept", "check", name, "field", f.Path, "problem", f.Message)
			}
			if err := e.checks.put(check); err != nil {
				return err
			}
		}
		return nil
	})
}

// System reads a system by id or name.
func (c *Catalog) System(ctx context.Context, ref string) (System, error) {
	return byRef(ctx, ref, c.store.System, c.store.SystemByName)
}

// Systems lists by name.
func (c *Catalog) Systems(ctx context.Context, p fleet.Page) ([]System, string, error) {
	return c.store.Systems(ctx, p)
}

// Check reads a check by id or name.
func (c *Catalog) Check(ctx context.Context, ref string) (Check, error) {
	return byRef(ctx, ref, c.store.Check, c.store.CheckByName)
}

// Checks lists by name.
func (c *Catalog) Checks(ctx context.Context, p fleet.Page) ([]Check, string, error) {
	return c.store.Checks(ctx, p)
}

// Assignment reads an assignment by id or name.
func (c *Catalog) Assignment(ctx context.Context, ref string) (Assignment, error) {
	return byRef(ctx, ref, c.store.Assignment, c.store.AssignmentByName)
}

// Assignments lists by name.
func (c *Catalog) Assignments(ctx context.Context, p fleet.Page) ([]Assignment, string, error) {
	return c.store.Assignments(ctx, p)
}

func byRef[T any](ctx context.Context, ref string, byID, byName func(context.Context, string) (T, error)) (T, error) {
	if isID(ref) {
		return byID(ctx, strings.ToLower(ref))
	}
	return byName(ctx, ref)
}

// isID tells ids from names; names that look like ids are refused.
func isID(ref string) bool { return len(ref) == 36 && uuid.Validate(ref) == nil }

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// errDryRun ends a transaction that was only to be tried.
var errDryRun = errors.New("dry run")

// change lets fn edit the definitions in one transaction, writes and records what
// it altered, and rings when a satellite is affected.
func (c *Catalog) change(ctx context.Context, actor entity.Actor, dryRun bool, fn func(*edit) error, also ...Also) error {
	var affected []string
	concealed := false
	err := entity.Record(ctx, c.recorder, func(tx Tx) ([]entity.Change, error) {
		e, err := c.begin(ctx, tx)
		if err != nil {
			return nil, err
		}
		e.actor = actor
		if err := fn(e); err != nil {
			return nil, err
		}
		var changes []entity.Change
		changes, affected, err = e.commit(ctx, actor)
		concealed = e.concealed
		for _, write := range also {
			if err != nil {
				return nil, err
			}
			var more []entity.Change
			more, err = write(tx)
			changes = append(changes, more...)
		}
		if err == nil && dryRun {
			err = errDryRun
		}
		return changes, err
	})
	if errors.Is(err, errDryRun) {
		return nil
	}
	if err == nil && concealed { // before satellites are told to ask
		c.concealer.Concealed()
	}
	if err == nil && len(affected) > 0 {
		c.bell.Ring(fleet.TopicConfig)
	}
	return err
}
