package secret

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/redact"
	"github.com/perigee-monitoring/perigee/protocol"
)

// Ask is a satellite's request for values.
type Ask struct {
	SatelliteID string
	ConfigID    string
	// Collector is the entry id, or the qualified id, of the collector; "" for the
	// secrets of the configuration.
	Collector string
	RunID     string
	// Assignments are what the satellite should run now, by the session's own records.
	Assignments []*protocol.Assignment
	// Guests are what it was asked to run once, now, although it does not hold them.
	Guests []*protocol.Assignment
	// Trials are what it was asked to try once, now.
	Trials []*Trial
	// Sealed: the answer will be sealed to the session's key.
	Sealed bool
}

// RunEnv gives the secretEnv of one collector by the rules of spec H.2, in their
// order. The satellite names no secret: it can have only what an enabled assignment
// of its own declares. The error's message is the answer to the satellite.
func (s *Service) RunEnv(ctx context.Context, ask Ask) (map[string]string, error) {
	env, names, err := s.runTexts(ask)
	if err != nil {
		return nil, s.refuse(ctx, ask, err)
	}
	values, versions, err := s.resolveFor(ctx, ask.trial(), names)
	if err != nil {
		return nil, s.refuse(ctx, ask, err)
	}
	if err := s.note(ctx, ask, versions, nil); err != nil {
		return nil, err
	}
	filled := make(map[string]string, len(env))
	for variable, t := range env {
		filled[variable] = t.fill(values)
	}
	return filled, nil
}

func (s *Service) runTexts(ask Ask) (map[string]text, []string, error) {
	a := assignment(ask)
	if a == nil {
		return nil, nil, fault.New(fault.NotFound, `No assignment "%s" for this satellite; cannot deliver secrets.`, ask.ConfigID)
	}
	i := slices.IndexFunc(a.Collectors, func(c protocol.Collector) bool { return c.ID == ask.Collector || c.CollectorID == ask.Collector })
	if i < 0 {
		return nil, nil, fault.New(fault.NotFound, `Collector "%s" not found in assignment "%s".`, ask.Collector, ask.ConfigID)
	}
	env, ok := secretEnv(a.Collectors[i].Config)
	if !ok {
		return nil, nil, fault.New(fault.Invalid, `Collector "%s" declares no secretEnv; nothing to resolve.`, ask.Collector)
	}
	return env, namesOf(env), nil
}

// ConfigSecrets gives the values for the places of a configuration that refer to
// secrets (spec H.3): by path, for the strategy and for each collector entry.
func (s *Service) ConfigSecrets(ctx context.Context, ask Ask) (strategy map[string]string, collectors map[string]map[string]string, err error) {
	a := assignment(ask)
	if a == nil {
		return nil, nil, s.refuse(ctx, ask, fault.New(fault.NotFound, `No assignment "%s" for this satellite; cannot deliver config secrets.`, ask.ConfigID))
	}
	s.expect(a)
	values, versions, err := s.resolveFor(ctx, ask.trial(), configNames(a))
	if err != nil {
		return nil, nil, s.refuse(ctx, ask, err)
	}
	if err := s.note(ctx, ask, versions, nil); err != nil {
		return nil, nil, err
	}
	strategy = filled(configTexts(a.ConfigID, "strategy", a.Config), values)
	collectors = map[string]map[string]string{}
	for _, c := range a.Collectors {
		if own := filled(configTexts(a.ConfigID, "collector:"+c.ID, c.Config), values); len(own) > 0 {
			collectors[c.ID] = own
		}
	}
	return strategy, collectors, nil
}

// expect sees to it that no credential is older than the assignment's marker for it.
func (s *Service) expect(a *protocol.Assignment) {
	see := func(texts map[string]text) {
		for _, t := range texts {
			if t.own != "" {
				s.values.expect(t.own, versionOf(t.template))
			}
		}
	}
	see(configTexts(a.ConfigID, "strategy", a.Config))
	for _, c := range a.Collectors {
		see(configTexts(a.ConfigID, "collector:"+c.ID, c.Config))
	}
}

func configNames(a *protocol.Assignment) []string {
	names := namesOf(configTexts(a.ConfigID, "strategy", a.Config))
	for _, c := range a.Collectors {
		names = append(names, namesOf(configTexts(a.ConfigID, "collector:"+c.ID, c.Config))...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func filled(texts map[string]text, values map[string]string) map[string]string {
	all := make(map[string]string, len(texts))
	for path, t := range texts {
		all[path] = t.fill(values)
	}
	return all
}

// assignment is the first of this configuration (spec H.2): the request does not say
// which system, and all have the same configuration.
func assignment(ask Ask) *protocol.Assignment {
	if a := ofCheck(ask.Assignments, ask.ConfigID); a != nil {
		return a
	}
	if a := ofCheck(ask.Guests, ask.ConfigID); a != nil {
		return a
	}
	if t := ask.trial(); t != nil {
		return t.Assignment
	}
	return nil
}

// trial is the one that the request is about, if it is about one: their ids are theirs
// alone.
func (ask *Ask) trial() *Trial {
	for _, t := range ask.Trials {
		if t.Assignment.ConfigID == ask.ConfigID {
			return t
		}
	}
	return nil
}

func ofCheck(all []*protocol.Assignment, configID string) *protocol.Assignment {
	for _, a := range all {
		if a.ConfigID == configID {
			return a
		}
	}
	return nil
}

// guest reports whether the values are for a run that was asked for, of a check that
// is not the satellite's own.
func (ask *Ask) guest() bool {
	return ofCheck(ask.Assignments, ask.ConfigID) == nil && (ofCheck(ask.Guests, ask.ConfigID) != nil || ask.trial() != nil)
}

func namesOf(texts map[string]text) []string {
	names := map[string]bool{}
	for _, t := range texts {
		for _, n := range t.names {
			names[n] = true
		}
		if t.own != "" {
			names[t.own] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// refuse writes down that a satellite did not get what it asked for, and why.
func (s *Service) refuse(ctx context.Context, ask Ask, why error) error {
	s.Log.Warn("a satellite did not get secrets", "satellite_id", ask.SatelliteID, "config_id", ask.ConfigID, "collector", ask.Collector, "error", why)
	if err := s.note(ctx, ask, nil, why); err != nil {
		s.Log.Warn("a refused lease was not written down", "error", err)
	}
	return why
}

// note writes the lease down. Nothing is handed out that is not written down.
func (s *Service) note(ctx context.Context, ask Ask, versions []string, why error) error {
	l := &Lease{
		SatelliteID: ask.SatelliteID, CheckID: ask.ConfigID, Collector: ask.Collector, RunID: ask.RunID,
		Names: versions, Allowed: why == nil, Sealed: ask.Sealed, Guest: ask.guest(), At: time.Now().UTC(),
	}
	if l.Names == nil {
		l.Names = []string{}
	}
	if why != nil {
		l.Reason = fault.Message(why)
	}
	if err := s.leases.Do(ctx, l); err != nil {
		return fault.Wrap(fault.Unavailable, err, "secrets are not handed out while it cannot be written down who gets them")
	}
	return nil
}

// Redactor takes out of results what the assignment's secrets hold, and what they
// held in the last day, deleted ones too (M36). It is nil for an assignment that declares none.
func (s *Service) Redactor(ctx context.Context, a *protocol.Assignment) (*redact.Redactor, error) {
	names := declared(a)
	if len(names) == 0 {
		return nil, nil
	}
	// It is asked for with every result, and costs more to make than to use.
	key := strings.Join(names, " ")
	if r := s.values.redactor(key, time.Now()); r != nil {
		return r, nil
	}
	state := s.values.state()
	found, err := s.open(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("opening the values to be taken out: %w", err)
	}
	var values []string
	for _, v := range found {
		values = append(append(values, v.text), v.former...)
	}
	r := redact.New(values...)
	s.values.putRedactor(key, r, state)
	return r, nil
}
