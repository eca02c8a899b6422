package httpapi

import (
	"context"
	"net/http"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/trial"
)

// Trials run checks that are not saved; *trial.Service is one.
type Trials interface {
	Try(ctx context.Context, actor entity.Actor, in trial.Input) (trial.Trial, error)
}

// TrialRequest is a check that is not saved, and where to run it.
type TrialRequest struct {
	Spec        check.Spec `json:"spec" doc:"As when a check is saved; it is validated in the same way."`
	Name        string     `json:"name,omitempty" maxLength:"200" doc:"What scripts are told that the check is called."`
	Check       string     `json:"check,omitempty" maxLength:"512" doc:"Id or name of the saved check that this is an edit of: the markers in place of its credentials then stand for them. Without it, markers are refused."`
	From        string     `json:"from,omitempty" maxLength:"512" doc:"The satellite that runs it (id or name); the core's own (local) when left out."`
	System      string     `json:"system,omitempty" maxLength:"512" doc:"Id or name of the system that templates and scripts see."`
	Environment string     `json:"environment,omitempty" maxLength:"512" doc:"Id or name of the system's environment in which it runs; none when left out."`
}

type trialBody struct{ Body TrialRequest }

func (a *API) addTrials() {
	route(a, http.MethodPost, "/checks/try", "try-check", "Run a check that is not saved, once; nothing of it is kept", func(ctx context.Context, in *trialBody) (*answer[trial.Trial], error) {
		b := in.Body
		return answered(a.Trials.Try(ctx, actor(ctx), trial.Input{
			Check: b.Check, Name: b.Name, Spec: b.Spec, From: b.From, System: b.System, Environment: b.Environment,
		}))
	})
}
