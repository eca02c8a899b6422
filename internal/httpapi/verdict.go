package httpapi

import (
	"context"
	"net/http"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/verdict"
)

type verdictQuery struct {
	Ref
	Paging
	System string `query:"system" maxLength:"512" doc:"Id or name."`
}

type evidenceRef struct {
	Ref
	Verdict string `path:"verdict" maxLength:"64" doc:"The verdict's id."`
}

func (a *API) addVerdicts() {
	route(a, http.MethodGet, "/checks/{id}/verdicts", "list-verdicts", "Verdicts on a check, newest first", func(ctx context.Context, in *verdictQuery) (*answer[List[verdict.Verdict]], error) {
		c, err := a.Catalog.Check(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		filter := health.VerdictFilter{CheckID: c.ID}
		filter.SystemID, err = filterID(ctx, "system", in.System, a.Catalog.System, func(s catalog.System) string { return s.ID })
		if err != nil {
			return nil, err
		}
		return listed(a.Records.VerdictHistory(ctx, filter, in.page()))
	})
	route(a, http.MethodGet, "/checks/{id}/evidence/{verdict}", "get-evidence", "Everything that a verdict rests on", func(ctx context.Context, in *evidenceRef) (*answer[verdict.Judged], error) {
		c, err := a.Catalog.Check(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		judged, err := a.Records.Evidence(ctx, in.Verdict)
		if err == nil && judged.Verdict.CheckID != c.ID {
			err = fault.New(fault.NotFound, "verdict %q is not of check %q", in.Verdict, c.Name)
		}
		if err == nil {
			err = health.WithRuns(ctx, a.Records, &judged)
		}
		return answered(judged, err)
	})
}
