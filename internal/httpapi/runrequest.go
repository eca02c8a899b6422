package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/protocol"
)

// RunRequests are the runs that people ask for; *fleet.RunRequests is one.
type RunRequests interface {
	Ask(ctx context.Context, by, assignmentID string, satellites []string) (requestID string, err error)
	Order(ctx context.Context, o fleet.RunOrder) (requestID string, err error)
	Get(ctx context.Context, requestID string) ([]fleet.RunRequest, error)
}

const (
	// maxRunWait is how long a request may be waited with, well below requestTimeout.
	maxRunWait = 20 * time.Second
	// runPoll is how often is looked without a bell.
	runPoll = time.Second
)

type runBody struct {
	Ref
	Body struct {
		Satellites []string `json:"satellites,omitempty" maxItems:"1000" doc:"Only at these satellites (id or name); at all of the assignment's when left out."`
	}
}

type checkRunBody struct {
	Ref
	Body struct {
		System      string   `json:"system,omitempty" maxLength:"512" doc:"Id or name; may be left out when the check is assigned to one system."`
		Environment string   `json:"environment,omitempty" maxLength:"512" doc:"Only in this environment (id or name)."`
		Satellites  []string `json:"satellites,omitempty" maxItems:"100" uniqueItems:"true" doc:"Where to run it (id or name), whether it is assigned there or not; where it is assigned when left out."`
	}
}

type runWait struct {
	Ref
	Wait string `query:"wait" pattern:"^[0-9]{1,5}(ms|s)$" doc:"Answer when more of the runs are over than Over, but after this time at the latest; at most 20s."`
	Over int    `query:"over" minimum:"0" doc:"How many of the runs are known to be over."`
}

// RunRequestView is what was asked, and how far it is.
type RunRequestView struct {
	ID   string             `json:"id"`
	Runs []fleet.RunRequest `json:"runs"`
}

// Over counts the runs for which there is nothing more to wait.
func (v *RunRequestView) Over() int {
	n := 0
	for _, r := range v.Runs {
		if r.State.Over() {
			n++
		}
	}
	return n
}

func (a *API) addRunRequests() {
	route(a, http.MethodPost, "/assignments/{id}/run", "run-assignment", "Run an assignment now, beside its schedule", func(ctx context.Context, in *runBody) (*created[RunRequestView], error) {
		as, err := a.Catalog.Assignment(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		return a.asked(ctx, func() (string, error) {
			return a.RunRequests.Ask(ctx, string(actor(ctx).ID), as.ID, in.Body.Satellites)
		})
	}, status(http.StatusAccepted))
	route(a, http.MethodPost, "/checks/{id}/run", "run-check", "Run a check now, at satellites of your choice", func(ctx context.Context, in *checkRunBody) (*created[RunRequestView], error) {
		c, err := a.Catalog.Check(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		order := fleet.RunOrder{
			Pair: protocol.Pair{ConfigID: c.ID}, Environment: in.Body.Environment, Satellites: in.Body.Satellites,
			By: string(actor(ctx).ID), Asked: fleet.AskedManually,
		}
		if in.Body.System != "" {
			s, err := a.Catalog.System(ctx, in.Body.System)
			if err != nil {
				return nil, err
			}
			order.SystemID = s.ID
		}
		return a.asked(ctx, func() (string, error) { return a.RunRequests.Order(ctx, order) })
	}, status(http.StatusAccepted))
	route(a, http.MethodGet, "/run-requests/{id}", "get-run-request", "How far runs are that were asked for", func(ctx context.Context, in *runWait) (*answer[RunRequestView], error) {
		return answered(a.runRequest(ctx, in))
	})
}

func (a *API) asked(ctx context.Context, ask func() (string, error)) (*created[RunRequestView], error) {
	id, err := ask()
	if err != nil {
		return nil, err
	}
	runs, err := a.RunRequests.Get(ctx, id)
	return made("/run-requests/"+id, RunRequestView{ID: id, Runs: runs}, err)
}

// runRequest waits until there is news for who asks, if they want that.
func (a *API) runRequest(ctx context.Context, in *runWait) (RunRequestView, error) {
	wait, _ := time.ParseDuration(in.Wait) // of that pattern, or absent
	rings, end := a.Bells.Subscribe(fleet.TopicAnswer)
	defer end()
	patience := time.NewTimer(min(wait, maxRunWait))
	defer patience.Stop()
	poll := time.NewTicker(runPoll)
	defer poll.Stop()
	for over := false; ; {
		runs, err := a.RunRequests.Get(ctx, in.ID)
		view := RunRequestView{ID: in.ID, Runs: runs}
		if n := view.Over(); err != nil || over || n > in.Over || n == len(runs) || wait <= 0 {
			return view, err
		}
		select {
		case <-rings:
		case <-poll.C:
		case <-patience.C:
			over = true
		case <-a.drained:
			over = true
		case <-ctx.Done():
			return view, ctx.Err()
		}
	}
}
