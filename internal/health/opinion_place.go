package health

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/protocol"
	"github.com/perigee-monitoring/perigee/verdict"
)

// domainOf is what a satellite has in common with those that may fail with it; "" is
// not known.
func domainOf(p *fleet.RunPlace, domain string) string {
	if domain == "region" {
		return p.Region
	}
	return p.Tags[domain]
}

func (o *Opinions) known() map[string]*fleet.RunPlace {
	by := map[string]*fleet.RunPlace{}
	if places := o.places.Load(); places != nil {
		for i := range *places {
			by[(*places)[i].SatelliteID] = &(*places)[i]
		}
	}
	return by
}

func (o *Opinions) suspects(accusers []*verdict.Seat, domain string) []verdict.Suspect {
	known := o.known()
	all := make([]verdict.Suspect, len(accusers))
	for i, a := range accusers {
		all[i] = verdict.Suspect{SatelliteID: a.SatelliteID, Satellite: a.Satellite, Domain: a.Region}
		if domain != "region" {
			all[i].Domain = ""
			if p := known[a.SatelliteID]; p != nil {
				all[i].Domain = domainOf(p, domain)
			}
		}
	}
	return all
}

// othersThan reports whether the suspects are of one domain and there is somebody of
// another one who might be asked.
func (o *Opinions) othersThan(suspects []verdict.Suspect, seats []*Seat, domain string) bool {
	for _, s := range suspects {
		if s.Domain != suspects[0].Domain {
			return false
		}
	}
	places := o.places.Load()
	if places == nil {
		return true // it is not known yet who is there
	}
	for i := range *places {
		p := (*places)[i] // a copy
		p.Holds = slices.ContainsFunc(seats, func(s *Seat) bool { return s.SatelliteID == p.SatelliteID })
		if suitable(&p, suspects, domain) {
			return true
		}
	}
	return false
}

// returning reports whether others than the suspects were there a moment ago and none of
// them is connected: they will be back soon, or missed.
func (o *Opinions) returning(suspects []verdict.Suspect, domain string) bool {
	connected, away, known := o.others(suspects, domain)
	return !known || connected == 0 && away > 0
}

// gathering reports whether some of them are still to come back because this core has
// just started. Who asks anew is in no hurry, and asks them all.
func (o *Opinions) gathering(suspects []verdict.Suspect, domain string) bool {
	_, away, known := o.others(suspects, domain)
	return !known || away > 0 && time.Since(o.began) < longestWait
}

// others counts those that may be asked, by whether they are connected; known is false
// before it was looked who there is.
func (o *Opinions) others(suspects []verdict.Suspect, domain string) (connected, away int, known bool) {
	places := o.places.Load()
	if places == nil {
		return 0, 0, false
	}
	for i := range *places {
		p := &(*places)[i]
		switch {
		case !suitable(p, suspects, domain):
		case p.Connected:
			connected++
		default:
			away++
		}
	}
	return connected, away, true
}

// suitable: it may be asked, apart from whether it can run this check.
func suitable(p *fleet.RunPlace, suspects []verdict.Suspect, domain string) bool {
	value := domainOf(p, domain)
	for _, s := range suspects {
		if s.SatelliteID == p.SatelliteID || value == s.Domain || value == "" && domain != "region" {
			return false
		}
	}
	switch {
	case !p.Online, p.Ill, p.Tags[opinionNever] == never:
		return false
	case p.Holds:
		return true
	case p.Cordoned, p.Satellite == localSatellite:
		return false
	}
	return p.Inventory != nil && slices.Contains(p.Inventory.Features, protocol.FeatureOpinion)
}

// localSatellite is the built-in one, which runs only what includes it.
const localSatellite = "local"

// choose takes, of those who may be asked, first those that run the check anyway, then
// one of each domain, then those that are asked for little.
func (o *Opinions) choose(ctx context.Context, op *CheckOpinion) (chosen []fleet.RunPlace, none string) {
	places := o.places.Load()
	if places == nil {
		return nil, "it is not known yet who is there"
	}
	holders := map[string]bool{}
	seats, err := o.store.Seats(ctx, []string{op.SystemID})
	if err != nil {
		return nil, "who runs the check could not be read"
	}
	for _, s := range seats {
		if s.CheckID == op.CheckID && s.EnvironmentID == op.EnvironmentID {
			holders[s.SatelliteID] = true
		}
	}
	busy := 0
	var able []fleet.RunPlace
	for _, p := range *places {
		p.Holds = holders[p.SatelliteID]
		switch {
		case !p.Connected, !suitable(&p, op.Suspects, op.Domain):
		case o.load[p.SatelliteID] >= askedAtOnce:
			busy++
		default:
			able = append(able, p)
		}
	}
	if len(able) == 0 && busy > 0 {
		return nil, fmt.Sprintf("every other satellite is asked for %d runs already", askedAtOnce)
	}
	rank := func(p *fleet.RunPlace) int {
		if p.Holds {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(able, func(a, b fleet.RunPlace) int {
		return cmp.Or(rank(&a)-rank(&b), o.load[a.SatelliteID]-o.load[b.SatelliteID],
			cmp.Compare(maphash.String(o.seed, op.ID+a.SatelliteID), maphash.String(o.seed, op.ID+b.SatelliteID)))
	})
	domains := map[string]bool{}
	for _, distinct := range []bool{true, false} {
		for _, p := range able {
			value := domainOf(&p, op.Domain)
			taken := slices.ContainsFunc(chosen, func(c fleet.RunPlace) bool { return c.SatelliteID == p.SatelliteID })
			if len(chosen) < op.Ask && !taken && (!distinct || !domains[value]) {
				chosen, domains[value] = append(chosen, p), true
			}
		}
	}
	return chosen, "no other satellite can run it"
}
