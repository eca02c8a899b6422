package store

import (
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
