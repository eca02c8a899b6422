package main

import (
	"cmp"
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/perigee-monitoring/perigee/internal/catalog"
)

// AssignmentPreviewCmd says where an assignment would run.
type AssignmentPreviewCmd struct {
	Assignment   string   `arg:"" optional:"" name:"name" help:"The assignment that is to be changed (name or id): what is not given is as it has it, and its seats stay where they may. None for a new one."`
	Check        string   `placeholder:"NAME" help:"The check (name or id), which not every satellite may be able to run."`
	Satellite    []string `sep:"none" placeholder:"NAME" xor:"satellites" help:"A satellite to run it; may be repeated."`
	NoSatellites bool     `xor:"satellites" help:"None by name."`
	Selector     *string  `placeholder:"SELECTOR" help:"Satellites to run it, by their tags: 'region in (eu, us), tier!=test'."`
	Count        *int     `placeholder:"N" help:"On so many of those that the selector picks; 0 for all."`
	SpreadBy     *string  `placeholder:"LABEL" help:"Spread them over the values of this label: region."`
	Local        *bool    `negatable:"" help:"Whether the core's built-in satellite runs it too (a new one's does)."`
}

// Help says what is shown.
func (c *AssignmentPreviewCmd) Help() string {
	return `Nothing is saved. Shown are the satellites that are picked: those that would run it, with
their seats, and of the others why not.`
}

// Run asks and shows it.
func (c *AssignmentPreviewCmd) Run(ctx context.Context, a *app) error {
	in := catalog.PlacementInput{Assignment: c.Assignment, IncludeLocal: true}
	if c.Assignment != "" {
		var one catalog.Assignment
		if err := a.client.Get(ctx, at("/assignments", c.Assignment), nil, &one); err != nil {
			return err
		}
		in.Check, in.IncludeLocal, in.Satellites = one.CheckID, one.IncludeLocal, one.Satellites
	}
	in.Check = cmp.Or(c.Check, in.Check)
	in.IncludeLocal = *cmp.Or(c.Local, &in.IncludeLocal)
	in.Satellites.Selector = *cmp.Or(c.Selector, &in.Satellites.Selector)
	in.Satellites.Count = *cmp.Or(c.Count, &in.Satellites.Count)
	in.Satellites.SpreadBy = *cmp.Or(c.SpreadBy, &in.Satellites.SpreadBy)
	if c.Satellite != nil || c.NoSatellites {
		in.Satellites.Names = c.Satellite
	}
	var p catalog.PlacementPreview
	if err := a.client.Post(ctx, "/placement/preview", in, &p); err != nil {
		return err
	}
	return a.print(p, func(w *tabwriter.Writer) { previewed(w, &p) })
}

func previewed(w *tabwriter.Writer, p *catalog.PlacementPreview) {
	row(w, "SATELLITE", "REGION", "STATUS", "PICKED BY", "RUNS IT", "SEAT", "WHY")
	for _, s := range p.Satellites {
		seat := ""
		if s.Seat > 0 {
			seat = fmt.Sprint(s.Seat)
		}
		row(w, s.Name, dash(s.Region), string(s.Status), string(s.By), map[bool]string{true: "yes", false: "no"}[s.Runs], dash(seat), dash(s.Reason))
	}
	row(w)
	row(w, "Runs on", fmt.Sprint(p.Runs))
	if p.Lacking > 0 {
		row(w, "Seats nowhere", fmt.Sprint(p.Lacking))
	}
	if p.Omitted > 0 {
		row(w, "Not shown", fmt.Sprint(p.Omitted))
	}
	row(w, "Not picked", fmt.Sprint(p.Unmatched))
}
