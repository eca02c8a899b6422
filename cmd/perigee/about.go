package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

// AboutCmd shows how the core is.
type AboutCmd struct {
	Settings bool `help:"Show the settings and limits in force too."`
}

// Run shows it.
func (c *AboutCmd) Run(ctx context.Context, a *app) error {
	var about httpapi.About
	if err := a.client.Get(ctx, "/about", nil, &about); err != nil {
		return err
	}
	return a.print(about, func(w *tabwriter.Writer) {
		row(w, "Version", fmt.Sprintf("%s (%s, %s)", about.Version, about.Go, about.Platform))
		row(w, "Started", a.ago(about.StartedAt))
		d := about.Database
		row(w, "Database", fmt.Sprintf("%s %s, schema %d, %.1f MiB, answers in %.1f ms", d.Engine, d.Version, d.Schema, float64(d.SizeBytes)/(1<<20), d.LatencyMs))
		bus := about.Bus.Kind
		if !about.Bus.Connected {
			bus += ", the other cores are not heard"
		}
		row(w, "Bus", bus)
		for _, core := range about.Cores {
			this := ""
			if core.ID == about.Core {
				this = ", this one"
			}
			row(w, "Core", core.ID+", seen "+a.ago(core.SeenAt)+this)
		}
		row(w, "Satellites", fmt.Sprintf("%d connected to this core", about.Sessions))
		for _, p := range about.Parts {
			row(w, "Part "+p.Name, map[bool]string{true: "works", false: "does not work"}[p.OK])
		}
		if !c.Settings {
			return
		}
		_ = w.Flush()
		fmt.Fprintln(w)
		row(w, "SETTING", "VARIABLE", "VALUE", "WHAT")
		for _, s := range about.Settings {
			row(w, s.Name, dash(s.Env), dash(s.Value), s.Means)
		}
	})
}
