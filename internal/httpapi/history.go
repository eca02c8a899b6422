package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
)

// HistoryQuery is what the histories of a system and of a check have in common.
type HistoryQuery struct {
	Ref
	From        time.Time        `query:"from" doc:"From then on (RFC 3339); 24 hours before to when left out."`
	To          time.Time        `query:"to" doc:"Until then; now when left out."`
	Step        string           `query:"step" enum:"auto,minute,hour,day" default:"auto" doc:"How long buckets are; auto takes the finest that is kept for so long and gives about 500 of them at most."`
	By          health.HistoryBy `query:"by" enum:"check,system,satellite,region,location" doc:"What gets a series of its own; one series of all when left out."`
	Satellite   string           `query:"satellite" maxLength:"512" doc:"Id or name."`
	Environment string           `query:"environment" maxLength:"512" doc:"Id of an environment."`
}

type systemHistoryQuery struct {
	HistoryQuery
	Check string `query:"check" maxLength:"512" doc:"Id or name."`
}

type checkHistoryQuery struct {
	HistoryQuery
	System string `query:"system" maxLength:"512" doc:"Id or name."`
}

func (a *API) addHistory() {
	route(a, http.MethodGet, "/systems/{id}/history", "get-system-history", "How a system did: counts, availability and latency over time", func(ctx context.Context, in *systemHistoryQuery) (*answer[health.History], error) {
		s, err := a.Catalog.System(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		q := health.HistoryQuery{SystemID: s.ID}
		if q.CheckID, err = filterID(ctx, "check", in.Check, a.Catalog.Check, func(c catalog.Check) string { return c.ID }); err != nil {
			return nil, err
		}
		return a.history(ctx, &in.HistoryQuery, q)
	})
	route(a, http.MethodGet, "/checks/{id}/history", "get-check-history", "How a check did on the systems that have it", func(ctx context.Context, in *checkHistoryQuery) (*answer[health.History], error) {
		c, err := a.Catalog.Check(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		q := health.HistoryQuery{CheckID: c.ID}
		if q.SystemID, err = filterID(ctx, "system", in.System, a.Catalog.System, func(s catalog.System) string { return s.ID }); err != nil {
			return nil, err
		}
		return a.history(ctx, &in.HistoryQuery, q)
	})
}

func (a *API) history(ctx context.Context, in *HistoryQuery, q health.HistoryQuery) (*answer[health.History], error) {
	var err error
	if q.SatelliteID, err = filterID(ctx, "satellite", in.Satellite, a.Records.SatelliteByName, func(s fleet.Satellite) string { return s.ID }); err != nil {
		return nil, err
	}
	if in.Environment != "" {
		q.EnvironmentID = &in.Environment
	}
	q.From, q.To, q.By = in.From, in.To, in.By
	if in.Step != "auto" {
		q.Step = health.Tier(in.Step)
	}
	return answered(health.ReadHistory(ctx, a.Records, q))
}
