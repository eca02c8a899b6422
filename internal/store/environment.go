package store

import (
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/health"
)

// environments are those of a system, and which of them an assignment chooses.
type environments struct {
	of       []catalog.Environment
	chosen   []string
	narrowed map[string][]string
}

// environmentColumns of systems y and assignments a, and where they are scanned to.
const environmentColumns = `y.environments, a.environments, a.satellite_environments`

func (e *environments) dest() []any {
	return []any{document{&e.of}, document{&e.chosen}, document{&e.narrowed}}
}

// on are those in which the assignment runs on the satellite; none is one run without.
func (e *environments) on(satellite string) []catalog.Environment {
	return catalog.Environments(e.of, e.chosen, e.narrowed, satellite)
}

// heard is a placement with one location of it, if there is any.
type heard struct {
	health.Seat
	environments
	// seat is its number, 0 for none; it is due there after since, and was until left,
	// nil while it is.
	seat  int
	since time.Time
	left  *time.Time
}

// handedOver leaves each seat at one place: where it is now, or, as long as nothing has
// been measured there, where it was last and was measured.
func handedOver(rows []heard) []heard {
	type key struct {
		systemID, checkID string
		seat              int
	}
	type move struct {
		from           string // the satellite
		left           time.Time
		held, measured bool
	}
	moves := map[key]*move{}
	for i := range rows {
		r := &rows[i]
		if r.seat == 0 {
			continue
		}
		k := key{r.SystemID, r.CheckID, r.seat}
		m := moves[k]
		if m == nil {
			m = &move{}
			moves[k] = m
		}
		switch {
		case r.left == nil:
			m.held = true
			m.measured = m.measured || r.Location != nil && r.Location.ExecutedAt.After(r.since)
		case r.Location != nil && r.left.After(m.left):
			m.from, m.left = r.SatelliteID, *r.left
		}
	}
	return slices.DeleteFunc(rows, func(r heard) bool {
		if r.seat == 0 {
			return false
		}
		m := moves[key{r.SystemID, r.CheckID, r.seat}]
		if m.from == "" || !m.held || m.measured {
			return r.left != nil
		}
		return r.SatelliteID != m.from
	})
}

// perEnvironment makes seats of the rows of each placement, which follow each other:
// one for each environment of the assignment there, with what was heard of it. As
// long as nothing was heard of any of them, what was heard without an environment
// stands: environments may be new, or the satellite too old to know of them.
func perEnvironment(rows []heard) []health.Seat {
	var seats []health.Seat
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && samePlacement(&rows[0].Seat, &rows[n].Seat) {
			n++
		}
		seats = append(seats, spread(rows[:n])...)
		rows = rows[n:]
	}
	return seats
}

func samePlacement(a, b *health.Seat) bool {
	return a.SystemID == b.SystemID && a.CheckID == b.CheckID && a.SatelliteID == b.SatelliteID
}

// spread is perEnvironment of one placement.
func spread(rows []heard) []health.Seat {
	known := map[string]*health.Location{}
	for _, row := range rows {
		if row.Location != nil {
			known[row.EnvironmentID] = row.Location
		}
	}
	seat := func(env catalog.Environment) health.Seat {
		s := rows[0].Seat
		s.EnvironmentID, s.Environment, s.Location = env.ID, env.Name, known[env.ID]
		return s
	}
	var seats []health.Seat
	any := false
	for _, env := range rows[0].on(rows[0].SatelliteName) {
		seats = append(seats, seat(env))
		any = any || known[env.ID] != nil
	}
	if len(seats) == 0 || !any && known[""] != nil {
		return []health.Seat{seat(catalog.Environment{})}
	}
	return seats
}

// choiceTexts are an assignment's choice of environments as they are stored; all is null.
func choiceTexts(a catalog.Assignment) (chosen *string, narrowed string, err error) {
	if a.Environments != nil {
		text, err := jsonText(a.Environments)
		if err != nil {
			return nil, "", err
		}
		chosen = &text
	}
	if len(a.SatelliteEnvironments) == 0 {
		return chosen, "{}", nil
	}
	narrowed, err = jsonText(a.SatelliteEnvironments)
	return chosen, narrowed, err
}
