package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/perigee-monitoring/perigee/conformance"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

// ConformanceCmd drives a core as an original agent would.
type ConformanceCmd struct {
	ID             string `name:"id" placeholder:"UUID" help:"A satellite of the core that nobody else uses. Without it one is made through Perigee's API, and deleted afterwards."`
	SatelliteToken string `env:"PERIGEE_SATELLITE_TOKEN" placeholder:"TOKEN" help:"Its token, better given by PERIGEE_SATELLITE_TOKEN."`
}

// conformed is what a run of the suite comes to.
type conformed struct {
	URL    string                `json:"url"`
	Passed int                   `json:"passed"`
	Failed int                   `json:"failed"`
	Cases  []conformance.Outcome `json:"cases"`
}

// Run drives it.
func (c *ConformanceCmd) Run(ctx context.Context, a *app) error {
	target := conformance.Target{URL: a.client.URL(), ID: c.ID, Token: c.SatelliteToken}
	switch {
	case (c.ID == "") != (c.SatelliteToken == ""):
		return usage("PERIGEE_SATELLITE_TOKEN=… perigee conformance --url URL --id UUID", "--id and the satellite's token go together")
	case c.ID == "":
		var made httpapi.SatelliteToken
		if err := a.client.Post(ctx, "/satellites", httpapi.NewSatellite{Name: "conformance", Region: "conformance"}, &made); err != nil {
			return err
		}
		target.ID, target.Token = made.Satellite.ID, made.Token
		defer func() {
			if err := a.client.Delete(context.WithoutCancel(ctx), at("/satellites", target.ID), nil); err != nil {
				fmt.Fprintf(a.errw, "perigee: the satellite %s that was made for this could not be deleted: %v\n", target.ID, err)
			}
		}()
	}
	done := conformed{URL: target.URL}
	done.Cases = conformance.Core(ctx, target, func(o conformance.Outcome) {
		if o.Pass {
			done.Passed++
		} else {
			done.Failed++
		}
		if a.interactive {
			fmt.Fprintf(a.errw, "%s %s\n", passed(o.Pass), o.Name)
		}
	})
	err := a.print(done, func(w *tabwriter.Writer) {
		row(w, "CASE", "", "WHAT", "WHY NOT")
		for _, o := range done.Cases {
			row(w, o.Name, passed(o.Pass), o.What, dash(o.Detail))
		}
		_ = w.Flush()
		fmt.Fprintf(w, "\n%d passed, %d failed\n", done.Passed, done.Failed)
	})
	if err == nil && done.Failed > 0 {
		return &failure{code: exitFailed, err: fmt.Errorf("%d of %d cases failed", done.Failed, len(done.Cases))}
	}
	return err
}

func passed(yes bool) string {
	if yes {
		return "pass"
	}
	return "FAIL"
}
