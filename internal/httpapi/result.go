package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
)

// RunQuery narrows results and skips. Satellite, check and system are ids or names.
type RunQuery struct {
	Paging
	Satellite string    `query:"satellite" maxLength:"512" doc:"Id or name."`
	Check     string    `query:"check" maxLength:"512" doc:"Id or name."`
	System    string    `query:"system" maxLength:"512" doc:"Id or name."`
	From      time.Time `query:"from" doc:"Slots from then on (RFC 3339)."`
	To        time.Time `query:"to" doc:"Slots before then (RFC 3339)."`
}

type resultQuery struct {
	RunQuery
	Status check.Status `query:"status" enum:"healthy,degraded,unhealthy,inconclusive" doc:"Only results of this status. Inconclusive are those of runs that failed because the satellite itself was ill; they have no other status."`
	Detail bool         `query:"detail" doc:"With the evidence of each run; that of healthy runs that followed healthy ones is kept for a shorter time than they are."`
}

func (a *API) addResults() {
	route(a, http.MethodGet, "/results", "list-results", "What satellites found, newest slot first", func(ctx context.Context, in *resultQuery) (*answer[List[health.Run]], error) {
		filter, err := a.runFilter(ctx, &in.RunQuery)
		if err != nil {
			return nil, err
		}
		filter.Status, filter.Plain = in.Status, !in.Detail
		return listed(a.Records.Runs(ctx, filter, in.page()))
	})
	route(a, http.MethodGet, "/skips", "list-skips", "Slots that were due and not run, newest first", func(ctx context.Context, in *RunQuery) (*answer[List[health.Skip]], error) {
		filter, err := a.runFilter(ctx, in)
		if err != nil {
			return nil, err
		}
		return listed(a.Records.Skips(ctx, filter, in.page()))
	})
}

func (a *API) runFilter(ctx context.Context, in *RunQuery) (f health.RunFilter, err error) {
	f.From, f.To = in.From, in.To
	if !f.From.IsZero() && !f.To.IsZero() && !f.To.After(f.From) {
		return f, &fault.Error{
			Kind: fault.Invalid, Message: "a filter is not valid",
			Fields: []fault.Field{{Path: "query.to", Message: "must be after from"}},
		}
	}
	if f.SatelliteID, err = filterID(ctx, "satellite", in.Satellite, a.Records.SatelliteByName, func(s fleet.Satellite) string { return s.ID }); err != nil {
		return f, err
	}
	if f.CheckID, err = filterID(ctx, "check", in.Check, a.Catalog.Check, func(c catalog.Check) string { return c.ID }); err != nil {
		return f, err
	}
	f.SystemID, err = filterID(ctx, "system", in.System, a.Catalog.System, func(s catalog.System) string { return s.ID })
	return f, err
}
