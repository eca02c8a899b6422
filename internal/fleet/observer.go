package fleet

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/protocol"
)

const (
	// KindObserver is the entity kind of how a satellite fares as an observer, and
	// KindRegion that of a region whose satellites are ill together.
	KindObserver = "satellite-observer"
	KindRegion   = "region-observer"
)

const (
	// DefaultMaxSkew is how far a satellite's clock may be from the core's before that is
	// an event.
	DefaultMaxSkew = 5 * time.Second
	// illHold is how long a satellite has to be ill before that is told: what lies behind
	// it may be about to make others of its region ill, and then one event tells of all.
	illHold = 10 * time.Second
)

// ObserverHealth is how a satellite fares as an observer, as the core keeps it. The clock is
// the core's to judge and stands in Skewed alone.
type ObserverHealth struct {
	// Ill is what the satellite says is wrong with itself.
	Ill []protocol.Illness `json:"ill"`
	// Skewed: its clock is further from the core's than it may be.
	Skewed bool `json:"clockSkewed"`
	// OffsetMs is core clock less satellite clock when Skewed changed last.
	OffsetMs float64 `json:"clockOffsetMs,omitempty"`
}

// step is what becomes of it with a heartbeat. A clock is skewed once it is beyond
// the bound for certain, and right again once it is within half of it for certain, so that
// one at the bound is told of once.
func (o ObserverHealth) step(p *protocol.Pulse, bound time.Duration) ObserverHealth {
	next := ObserverHealth{Ill: []protocol.Illness{}, Skewed: o.Skewed, OffsetMs: o.OffsetMs}
	if p.Observer != nil {
		for _, ill := range p.Observer.Ill {
			if ill.Kind != protocol.IllClock {
				next.Ill = append(next.Ill, ill)
			}
		}
	}
	if p.OffsetMs == nil || p.UncertaintyMs == nil {
		return next
	}
	off, limit := math.Abs(*p.OffsetMs), float64(bound.Milliseconds())
	switch {
	case !o.Skewed && off-*p.UncertaintyMs > limit:
		next.Skewed, next.OffsetMs = true, *p.OffsetMs
	case o.Skewed && off+*p.UncertaintyMs < limit/2:
		next.Skewed, next.OffsetMs = false, *p.OffsetMs
	}
	return next
}

// Same reports whether the two say the same.
func (o ObserverHealth) Same(other ObserverHealth) bool {
	return o.Skewed == other.Skewed && slices.Equal(o.Ill, other.Ill)
}

// kinds are what it is ill of.
func (o ObserverHealth) kinds() []string {
	kinds := []string{}
	for _, ill := range o.Ill {
		kinds = append(kinds, string(ill.Kind))
	}
	return kinds
}

// Told is by which event the illness of a satellite was told.
type Told string

const (
	ToldBySatellite Told = "satellite"
	ToldByRegion    Told = "region"
)

// SelfObservation is how a satellite fares, as its row holds it.
type SelfObservation struct {
	SatelliteID string
	Name        string
	Region      string
	Epoch       int64
	Online      bool
	Observer    ObserverHealth
	IllSince    *time.Time // by the database's clock; nil while it is well
	Told        Told       // "" for not
}

// state is the entity's: what was told.
func (s *SelfObservation) state() entity.State {
	state := entity.State{"name": s.Name, "region": s.Region, "status": "well", "toldBy": string(s.Told), "clockSkewed": s.Observer.Skewed}
	if s.Told != "" {
		state["status"] = "ill"
	}
	return state
}

// SetMaxSkew sets how far clocks may be off. Call it before anything else.
func (f *Fleet) SetMaxSkew(bound time.Duration) { f.maxSkew = bound }

// Observed is what becomes of what is known of a satellite with a heartbeat of it: if
// that is the Same, there is nothing to write.
func (f *Fleet) Observed(known ObserverHealth, p *protocol.Pulse) ObserverHealth {
	return known.step(p, f.maxSkew)
}

// Observe writes down how the satellite fares, as its session of the epoch says, and
// returns what is known now. That its clock is skewed is told at once; that it is ill,
// by tellIll.
func (f *Fleet) Observe(ctx context.Context, id string, epoch int64, p *protocol.Pulse) (ObserverHealth, error) {
	var known ObserverHealth
	err := entity.Record(ctx, f.recorder, func(tx Tx) ([]entity.Change, error) {
		row, err := tx.SelfObservationForUpdate(ctx, id)
		if fault.Is(err, fault.NotFound) {
			return nil, nil // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		before := row
		known = row.Observer.step(p, f.maxSkew)
		if row.Epoch != epoch || known.Same(row.Observer) {
			return nil, nil
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return nil, err
		}
		row.Observer = known
		switch {
		case len(known.Ill) == 0:
			row.IllSince = nil
		case row.IllSince == nil:
			row.IllSince = &now
		}
		if err := tx.PutSelfObservations(ctx, []SelfObservation{row}); err != nil || before.Observer.Skewed == known.Skewed {
			return nil, err
		}
		next := row.state()
		next["clockOffsetMs"] = known.OffsetMs
		return []entity.Change{{Kind: KindObserver, ID: id, Prev: before.state(), Next: next}}, nil
	})
	return known, err
}

// tellIll tells of satellites that have become ill, or well again. The look beforehand
// spares the writer.
func (f *Fleet) tellIll(ctx context.Context) error {
	something, err := f.store.IllToTell(ctx, illHold)
	if err != nil || !something {
		return err
	}
	return entity.Record(ctx, f.recorder, func(tx Tx) ([]entity.Change, error) {
		if err := tx.LockDefinitions(ctx); err != nil { // one core at a time
			return nil, err
		}
		rows, err := tx.LockIll(ctx)
		if err != nil {
			return nil, err
		}
		regions, err := tx.ObservedRegions(ctx)
		if err != nil {
			return nil, err
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return nil, err
		}
		put, turned, changes := tell(rows, regions, now)
		if err := tx.PutSelfObservations(ctx, put); err != nil {
			return nil, err
		}
		return changes, tx.PutIllRegions(ctx, turned)
	})
}

// ObservedRegion is one region with how many of its satellites are online and say how
// they fare, and whether it was told that most of them are ill.
type ObservedRegion struct {
	Region    string
	Observers int
	Ill       bool
}

// tell decides what is told of whom. A satellite that has been ill for illHold is told
// of, unless more than half of the observers of its region, and at least two, are ill by
// then: that is one event of the region, which stands for all that are or become ill
// there until the last of them is well.
func tell(rows []SelfObservation, regions []ObservedRegion, now time.Time) (put []SelfObservation, turned []ObservedRegion, changes []entity.Change) {
	byRegion := map[string][]SelfObservation{}
	for _, r := range rows {
		byRegion[r.Region] = append(byRegion[r.Region], r)
	}
	turn := func(s SelfObservation, told Told) {
		before := s.state()
		s.Told = told
		next := s.state()
		if told != "" {
			next["ill"] = s.Observer.Ill
		}
		put = append(put, s)
		changes = append(changes, entity.Change{Kind: KindObserver, ID: s.SatelliteID, Prev: before, Next: next})
	}
	for _, region := range regions {
		var ill []SelfObservation
		due, held := false, false
		for _, s := range byRegion[region.Region] {
			switch {
			case s.IllSince == nil && s.Told != "":
				turn(s, "")
			case s.IllSince != nil && s.Online:
				ill = append(ill, s)
				due = due || s.Told == "" && now.Sub(*s.IllSince) >= illHold
			}
			held = held || s.IllSince != nil && s.Told == ToldByRegion
		}
		together := !region.Ill && due && len(ill) >= 2 && 2*len(ill) > region.Observers
		if together {
			changes = append(changes, regionChange(region, ill, true))
			turned = append(turned, ObservedRegion{Region: region.Region, Ill: true})
		}
		if region.Ill && !held {
			changes = append(changes, regionChange(region, ill, false))
			turned = append(turned, ObservedRegion{Region: region.Region})
		}
		for _, s := range ill {
			switch {
			case s.Told != "":
			case together || region.Ill && held:
				turn(s, ToldByRegion)
			case now.Sub(*s.IllSince) >= illHold:
				turn(s, ToldBySatellite)
			}
		}
	}
	return put, turned, changes
}

// regionChange is that a region turns ill, or well.
func regionChange(region ObservedRegion, ill []SelfObservation, becomesIll bool) entity.Change {
	names, kinds := []string{}, []string{}
	for _, s := range ill {
		names, kinds = append(names, s.Name), append(kinds, s.Observer.kinds()...)
	}
	slices.Sort(names)
	slices.Sort(kinds)
	well, sick := entity.State{"status": "well"}, entity.State{"status": "ill"}
	if becomesIll {
		sick["satellites"], sick["kinds"], sick["observers"] = names, slices.Compact(kinds), region.Observers
		return entity.Change{Kind: KindRegion, ID: region.Region, Prev: well, Next: sick}
	}
	return entity.Change{Kind: KindRegion, ID: region.Region, Prev: sick, Next: well}
}

// observerDerivers are what changes of observers mean. What a region told of is no
// event of each satellite.
func observerDerivers() []entity.Deriver {
	return []entity.Deriver{
		{Kind: KindObserver, Types: observerEvents, Payload: observerPayload},
		{Kind: KindRegion, Types: regionEvents, Payload: func(c entity.Change) any {
			payload := map[string]any{"region": c.ID}
			for _, field := range []string{"satellites", "kinds", "observers"} {
				if v, said := c.Next[field]; said {
					payload[field] = v
				}
			}
			return payload
		}},
	}
}

func observerEvents(c entity.Change) []string {
	var types []string
	switch was, is := c.Prev["toldBy"], c.Next["toldBy"]; {
	case was == "" && is == string(ToldBySatellite):
		types = append(types, "satellite.ill")
	case was == string(ToldBySatellite) && is == "":
		types = append(types, "satellite.well")
	}
	switch was, is := c.Prev["clockSkewed"], c.Next["clockSkewed"]; {
	case was == false && is == true:
		types = append(types, "satellite.clock_skew")
	case was == true && is == false:
		types = append(types, "satellite.clock_right")
	}
	return types
}

func observerPayload(c entity.Change) any {
	payload := map[string]any{"satelliteId": c.ID, "name": c.Next["name"], "region": c.Next["region"]}
	for _, field := range []string{"ill", "clockOffsetMs"} {
		if v, said := c.Next[field]; said {
			payload[field] = v
		}
	}
	return payload
}

func regionEvents(c entity.Change) []string {
	if c.Next["status"] == "ill" {
		return []string{"region.ill"}
	}
	return []string{"region.well"}
}

// Illness is what it is ill of in a few words, for people; "" when it is well.
func (o *ObserverHealth) Illness() string {
	if o == nil {
		return ""
	}
	kinds := o.kinds()
	if o.Skewed {
		kinds = append(kinds, string(protocol.IllClock))
	}
	return strings.Join(kinds, ", ")
}
