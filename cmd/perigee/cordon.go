package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// SatelliteCordonCmd gives a satellite no new seats.
type SatelliteCordonCmd struct {
	Name string `arg:"" help:"Its name or id."`
}

// Run cordons it.
func (c *SatelliteCordonCmd) Run(ctx context.Context, a *app) error {
	return a.cordon(ctx, c.Name, "cordon")
}

// SatelliteUncordonCmd gives a satellite seats again.
type SatelliteUncordonCmd struct {
	Name string `arg:"" help:"Its name or id."`
}

// Run uncordons it.
func (c *SatelliteUncordonCmd) Run(ctx context.Context, a *app) error {
	return a.cordon(ctx, c.Name, "uncordon")
}

func (a *app) cordon(ctx context.Context, name, word string) error {
	var s fleet.Satellite
	if err := a.client.Post(ctx, at("/satellites", name, word), nil, &s); err != nil {
		return err
	}
	return a.print(s, func(w *tabwriter.Writer) { a.satellite(w, &s) })
}

// SatelliteDrainCmd moves a satellite's seats away.
type SatelliteDrainCmd struct {
	Name   string        `arg:"" help:"Its name or id."`
	NoWait bool          `help:"Do not wait until its seats are gone."`
	Wait   time.Duration `default:"10m" placeholder:"D" help:"How long to wait at most (${default})."`
}

// drainLook is how often the progress of a drain is looked at.
const drainLook = time.Second

// Run drains it, and shows how many seats it has left until it has none.
func (c *SatelliteDrainCmd) Run(ctx context.Context, a *app) error {
	var s fleet.Satellite
	if err := a.client.Post(ctx, at("/satellites", c.Name, "drain"), nil, &s); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Wait)
	defer cancel()
	ticker := time.NewTicker(drainLook)
	defer ticker.Stop()
	for shown := int64(-1); s.Seats > 0 && !c.NoWait; {
		if s.Seats != shown {
			shown = s.Seats
			fmt.Fprintf(a.errw, "%s: %d seats left\n", s.Name, s.Seats)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("satellite %s still has %d seats; it goes on being drained: %w", s.Name, s.Seats, ctx.Err())
		case <-ticker.C:
		}
		if err := a.client.Get(ctx, at("/satellites", s.ID), nil, &s); err != nil {
			return err
		}
	}
	return a.print(s, func(w *tabwriter.Writer) { a.satellite(w, &s) })
}

// seating shows what a satellite has of the seats of counted assignments.
func seating(s *fleet.Satellite) string {
	said := fmt.Sprint(s.Seats)
	if s.Weighs() != 1 {
		said += fmt.Sprintf(", weight %d", s.Weighs())
	}
	switch {
	case s.Draining:
		said += fmt.Sprintf(", draining since %s", instant(*s.CordonedAt))
	case s.CordonedAt != nil:
		said += fmt.Sprintf(", cordoned since %s: gets no new ones", instant(*s.CordonedAt))
	}
	return said
}

// seats shows where an assignment's seats are and why.
func (a *app) seats(w *tabwriter.Writer, all []catalog.SeatAt, count int) {
	filled := map[int]bool{}
	for _, at := range all {
		said := fmt.Sprintf("on %s since %s (%s)", at.Satellite, instant(at.Since), at.Reason)
		if at.Until != nil {
			said = fmt.Sprintf("on %s until %s", at.Satellite, instant(*at.Until))
		}
		filled[at.Number] = true
		row(w, fmt.Sprintf("Seat %d", at.Number), said)
	}
	for seat := 1; seat <= count; seat++ {
		if !filled[seat] {
			row(w, fmt.Sprintf("Seat %d", seat), "EMPTY: no further satellite matches, is online, not cordoned and knows of leases")
		}
	}
}

// seatCount is seating in a word for lists.
func seatCount(s *fleet.Satellite) string {
	switch {
	case s.Draining:
		return fmt.Sprintf("%d draining", s.Seats)
	case s.CordonedAt != nil:
		return fmt.Sprintf("%d cordoned", s.Seats)
	}
	return fmt.Sprint(s.Seats)
}
