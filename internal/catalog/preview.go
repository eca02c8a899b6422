package catalog

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/strictjson"
	"github.com/perigee-monitoring/perigee/protocol"
)

// maxPreviewed is how many satellites a preview names; the rest is counted.
const maxPreviewed = 1000

// PlacementInput asks where an assignment would run.
type PlacementInput struct {
	// Assignment is the one, by id or name, that is being edited: the seats that it has
	// stay where they may. "" for a new one.
	Assignment string `json:"assignment,omitempty"`
	// Check is what is to be run, by id or name; in place of it, Strategy and Collectors
	// are what an unsaved one is made of (qualified ids). None is anything.
	Check        string   `json:"check,omitempty"`
	Strategy     string   `json:"strategy,omitempty"`
	Collectors   []string `json:"collectors,omitempty"`
	IncludeLocal bool     `json:"includeLocal,omitempty"`
	Satellites   Selector `json:"satellites,omitzero"`
}

// PlacementPreview is where an assignment would run.
type PlacementPreview struct {
	// Runs is how many satellites would run it, Lacking how many of the seats that are
	// asked for would be nowhere, and Unmatched how many satellites nothing picks.
	Runs      int `json:"runs"`
	Lacking   int `json:"lacking"`
	Unmatched int `json:"unmatched"`
	// Omitted is how many satellites that are picked are not listed.
	Omitted int `json:"omitted"`
	// Satellites are those that are picked: the ones that would run it, then the others,
	// by name.
	Satellites []PreviewedPlace `json:"satellites"`
}

// PreviewedPlace is what would become of one satellite.
type PreviewedPlace struct {
	ID     string       `json:"id"`
	Name   string       `json:"name"`
	Region string       `json:"region"`
	Status fleet.Status `json:"status"`
	// By is what picks it.
	By   PickedBy `json:"by"`
	Runs bool     `json:"runs"`
	// Seat is the number of its seat; 0 for none.
	Seat int `json:"seat,omitempty"`
	// Reason is why it would not run it or, of one that would, why it does not right now.
	Reason string `json:"reason,omitempty"`
}

// PickedBy is what picks a satellite.
type PickedBy string

const (
	PickedLocal    PickedBy = "includeLocal"
	PickedName     PickedBy = "name"
	PickedSelector PickedBy = "selector"
)

// PreviewPlacement says where an assignment would run if it were saved now, and why not
// elsewhere. Faults: Invalid as when it is saved.
func (c *Catalog) PreviewPlacement(ctx context.Context, in PlacementInput) (PlacementPreview, error) {
	var wrong problems
	wrong.selector("satellites", in.Satellites, in.IncludeLocal)
	if len(in.Collectors) > protocol.MaxCollectors {
		wrong.add("collectors", nil, "must be at most %d", protocol.MaxCollectors)
	}
	if err := wrong.fault("the placement is not valid"); err != nil {
		return PlacementPreview{}, err
	}
	var preview PlacementPreview
	err := entity.InTx(ctx, c.recorder, func(tx Tx) error {
		e, err := c.open(ctx, tx)
		if err != nil {
			return err
		}
		preview, err = e.preview(ctx, in)
		return err
	})
	return preview, err
}

func (e *edit) preview(ctx context.Context, in PlacementInput) (PlacementPreview, error) {
	s, err := e.seating(ctx, nil)
	if err != nil {
		return PlacementPreview{}, err
	}
	a := Assignment{Satellites: in.Satellites.canonical(), IncludeLocal: in.IncludeLocal}
	var wrong problems
	spec := check.Spec{Strategy: in.Strategy}
	for _, id := range in.Collectors {
		spec.Collectors = append(spec.Collectors, check.Collector{Collector: id})
	}
	if in.Check != "" {
		saved, ok := e.checks.get(in.Check)
		if !ok {
			wrong.add("check", in.Check, "%s", strictjson.Missing("check", in.Check, e.checks.names()))
		}
		spec = saved.Spec
	}
	for i, name := range in.Satellites.Names {
		if _, ok := e.satellites.ids[name]; !ok {
			wrong.add(fmt.Sprintf("satellites.names[%d]", i), name, "%s", strictjson.Missing("satellite", name, e.satellites.names()))
		}
	}
	w := s.wishFor(&a, spec)
	if in.Assignment != "" {
		before, ok := e.assignments.get(in.Assignment)
		if !ok {
			wrong.add("assignment", in.Assignment, "%s", strictjson.Missing("assignment", in.Assignment, e.assignments.names()))
		} else if err := s.keep(ctx, w, before.ID); err != nil {
			return PlacementPreview{}, err
		}
	}
	if err := wrong.fault("the placement is not valid"); err != nil {
		return PlacementPreview{}, err
	}
	newSpreader(s.posts).fill(w)
	return s.previewed(&a, w, spec), nil
}

// keep gives the wish the seats that the assignment has and may keep.
func (s *seating) keep(ctx context.Context, w *wish, assignmentID string) error {
	seats, err := s.e.tx.SeatsOf(ctx, []string{assignmentID})
	if err != nil {
		return fmt.Errorf("reading seats: %w", err)
	}
	for _, at := range seats {
		post, known := s.at[at.SatelliteID]
		switch {
		case !known:
		case at.Until != nil:
			w.except = append(w.except, post)
		case at.Number <= w.count && !slices.Contains(w.except, post) && w.fits(&s.posts[post]):
			w.held = append(w.held, held{at.Number, post})
		}
	}
	return nil
}

// previewed is what becomes of every satellite.
func (s *seating) previewed(a *Assignment, w *wish, spec check.Spec) PlacementPreview {
	p := PlacementPreview{Satellites: []PreviewedPlace{}, Lacking: max(0, w.count-len(w.held))}
	seat := map[int]int{}
	for _, h := range w.held {
		seat[h.post] = h.seat
	}
	selects := s.e.placer.parsed(a.Satellites.Selector)
	for i := range s.posts {
		post := &s.posts[i]
		sat := s.e.satellites.after[post.id]
		at := PreviewedPlace{ID: sat.ID, Name: sat.Name, Region: sat.Region, Status: sat.Status, Seat: seat[i]}
		why := Unable(post.inventory, spec)
		switch {
		case post.name == LocalSatellite && a.IncludeLocal:
			at.By, at.Runs = PickedLocal, why == ""
		case slices.Contains(a.Satellites.Names, post.name):
			at.By, at.Runs = PickedName, why == ""
		case post.name == LocalSatellite || a.Satellites.Selector == "" || !selects.Matches(post.labels):
			p.Unmatched++
			continue
		default:
			at.By, at.Runs = PickedSelector, why == "" && (w.count == 0 || at.Seat > 0)
		}
		switch {
		case why != "":
			at.Reason = "it " + why
		case !at.Runs:
			at.Reason = cmp.Or(shut(&sat, s.e.now), "the seats go to others, which have fewer or are spread better")
		case sat.Status != fleet.Online:
			at.Reason = "it is offline; it runs it when it is back"
		}
		if at.Runs {
			p.Runs++
		}
		p.Satellites = append(p.Satellites, at)
	}
	slices.SortStableFunc(p.Satellites, func(a, b PreviewedPlace) int {
		switch {
		case a.Runs == b.Runs:
			return strings.Compare(a.Name, b.Name)
		case a.Runs:
			return -1
		}
		return 1
	})
	if n := len(p.Satellites); n > maxPreviewed {
		p.Omitted, p.Satellites = n-maxPreviewed, p.Satellites[:maxPreviewed]
	}
	return p
}

// shut is why a satellite gets no seats now, in words; "" when it is open.
func shut(s *fleet.Satellite, now time.Time) string {
	switch {
	case open(s, now):
		return ""
	case s.CordonedAt != nil:
		return "it is cordoned: it gets nothing new to run"
	case s.Status != fleet.Online:
		return "it is offline"
	case s.DuplicateUntil != nil:
		return "two processes use its identity"
	case clockAhead(s):
		return "its clock is too far ahead"
	case s.Inventory == nil || !slices.Contains(s.Inventory.Features, protocol.FeatureLease):
		return "it knows nothing of seats, as original agents and old satellites do not; name it, or use a selector without a count"
	}
	return "it has no lease yet"
}
