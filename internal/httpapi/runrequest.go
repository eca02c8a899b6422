package httpapi

import (
	"context"
	"net/http"

	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// RunRequests are the runs that people ask for; *fleet.RunRequests is one.
type RunRequests interface {
	Ask(ctx context.Context, by, assignmentID string, satellites []string) (requestID string, err error)
	Get(ctx context.Context, requestID string) ([]fleet.RunRequest, error)
}

type runBody struct {
	Ref
	Body struct {
		Satellites []string `json:"satellites,omitempty" maxItems:"1000" doc:"Only at these satellites (id or name); at all of the assignment's when left out."`
	}
}

// RunRequestView is what was asked, and how far it is.
type RunRequestView struct {
	ID   string             `json:"id"`
	Runs []fleet.RunRequest `json:"runs"`
}

func (a *API) addRunRequests() {
	route(a, http.MethodPost, "/assignments/{id}/run", "run-assignment", "Run an assignment now, beside its schedule", func(ctx context.Context, in *runBody) (*created[RunRequestView], error) {
		as, err := a.Catalog.Assignment(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		id, err := a.RunRequests.Ask(ctx, string(actor(ctx).ID), as.ID, in.Body.Satellites)
		if err != nil {
			return nil, err
		}
		runs, err := a.RunRequests.Get(ctx, id)
		return made("/run-requests/"+id, RunRequestView{ID: id, Runs: runs}, err)
	}, status(http.StatusAccepted))
	route(a, http.MethodGet, "/run-requests/{id}", "get-run-request", "How far runs are that were asked for", func(ctx context.Context, in *Ref) (*answer[RunRequestView], error) {
		runs, err := a.RunRequests.Get(ctx, in.ID)
		return answered(RunRequestView{ID: in.ID, Runs: runs}, err)
	})
}
