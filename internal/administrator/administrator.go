// Package administrator administers a core of ours, through its API, for the
// conformance suite.
package administrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/conformance"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

// Administrator is a conformance.Administrator. It is used by one goroutine.
type Administrator struct {
	api *client.Client
	// run tells what is made from what another run has made.
	run   string
	count int
	// made are the paths of what there is to be taken away, the oldest first.
	made []string
	// assignments has the path of each.
	assignments map[conformance.Assigned]string
	packaging   packaging
}

var _ conformance.Administrator = (*Administrator)(nil)

// New administers the core that the client speaks to. Close takes away what it made.
func New(api *client.Client) *Administrator {
	return &Administrator{api: api, run: time.Now().UTC().Format("20060102-150405-000000"), assignments: map[conformance.Assigned]string{}}
}

// Close takes away what was made and is still there.
func (a *Administrator) Close(ctx context.Context) error {
	var failed []error
	if a.packaging.listed || a.packaging.changed {
		if err := a.RemovePackage(ctx); err != nil {
			failed = append(failed, fmt.Errorf("the package %s: %w", added.Name, err))
		}
	}
	for len(a.made) > 0 {
		last := len(a.made) - 1
		err := a.api.Delete(ctx, a.made[last], nil)
		if p, ok := errors.AsType[*client.Problem](err); err != nil && (!ok || p.Status != 404) {
			failed = append(failed, fmt.Errorf("%s: %w", a.made[last], err))
		}
		a.made = a.made[:last]
	}
	return errors.Join(failed...)
}

// name is one that nothing has.
func (a *Administrator) name() string {
	a.count++
	return fmt.Sprintf("conformance-%s-%d", a.run, a.count)
}

// create makes something, whose path is the collection and the id that is then known.
func (a *Administrator) create(ctx context.Context, collection string, in, out any, id *string) error {
	if err := a.api.Post(ctx, collection, in, out); err != nil {
		return err
	}
	a.made = append(a.made, collection+"/"+*id)
	return nil
}

// Enrol makes a satellite.
func (a *Administrator) Enrol(ctx context.Context) (conformance.Satellite, error) {
	var made httpapi.SatelliteToken
	s := &made.Satellite
	if err := a.create(ctx, "/satellites", httpapi.NewSatellite{Name: a.name(), Region: "conformance"}, &made, &s.ID); err != nil {
		return conformance.Satellite{}, err
	}
	return conformance.Satellite{ID: s.ID, Token: made.Token, Name: s.Name, Region: s.Region}, nil
}

// Rotate gives the satellite another token.
func (a *Administrator) Rotate(ctx context.Context, satellite string) (string, error) {
	var rotated httpapi.SatelliteToken
	err := a.api.Post(ctx, "/satellites/"+satellite+"/rotate-token", httpapi.RotateRequest{}, &rotated)
	return rotated.Token, err
}

// Remove deletes the satellite.
func (a *Administrator) Remove(ctx context.Context, satellite string) error {
	return a.api.Delete(ctx, "/satellites/"+satellite, nil)
}

// Connection is how the core has it that the satellite is connected.
func (a *Administrator) Connection(ctx context.Context, satellite string) (conformance.Connection, error) {
	var s fleet.Satellite
	if err := a.api.Get(ctx, "/satellites/"+satellite, nil, &s); err != nil {
		return conformance.Connection{}, err
	}
	c := conformance.Connection{Online: s.Status == fleet.Online, Capabilities: s.Capabilities}
	if s.LastConnectionEvent != nil {
		c.Edge = string(*s.LastConnectionEvent)
	}
	if s.LastHeartbeatAt != nil {
		c.Heard = *s.LastHeartbeatAt
	}
	if s.Version != nil {
		c.Version = *s.Version
	}
	return c, nil
}

// Results are those that are stored of the satellite.
func (a *Administrator) Results(ctx context.Context, satellite string) ([]conformance.Stored, error) {
	runs, err := client.All[health.Run](ctx, a.api, "/results", url.Values{"satellite": {satellite}, "detail": {"true"}}, 100, nil)
	if err != nil {
		return nil, err
	}
	all := make([]conformance.Stored, len(runs))
	for i, r := range runs {
		all[i] = conformance.Stored{ConfigID: r.CheckID, SystemID: r.SystemID, Status: string(r.Status), Source: r.Source, Detail: string(r.Result)}
		if r.LatencyMs != nil {
			all[i].LatencyMs = *r.LatencyMs
		}
	}
	return all, nil
}

// Assign makes a check and a system and gives the one of the other to the satellite.
func (a *Administrator) Assign(ctx context.Context, satellite string, intervalSeconds int) (conformance.Assigned, error) {
	return a.assign(ctx, satellite, spec(intervalSeconds))
}

// AssignScript makes a secret, and a check of a script that is given it.
func (a *Administrator) AssignScript(ctx context.Context, satellite, variable, value string) (conformance.Assigned, error) {
	name := a.name()
	path := "/secrets/" + name
	if err := a.api.Put(ctx, path, httpapi.SecretInput{Value: value}, nil); err != nil {
		return conformance.Assigned{}, err
	}
	a.made = append(a.made, path)
	config, err := json.Marshal(map[string]any{"script": "true", "secretEnv": map[string]string{variable: name}})
	if err != nil {
		return conformance.Assigned{}, err
	}
	return a.assign(ctx, satellite, check.Spec{
		Strategy: "healthcheck-script.script", Interval: check.Duration(time.Hour),
		Collectors: []check.Collector{{ID: "script", Collector: "healthcheck-script.execute", Config: config}},
	})
}

// assign makes a check and a system and gives the one of the other to the satellite.
func (a *Administrator) assign(ctx context.Context, satellite string, of check.Spec) (conformance.Assigned, error) {
	var to fleet.Satellite
	if err := a.api.Get(ctx, "/satellites/"+satellite, nil, &to); err != nil {
		return conformance.Assigned{}, err
	}
	name := a.name()
	var system catalog.System
	if err := a.create(ctx, "/systems", catalog.SystemInput{Name: name}, &system, &system.ID); err != nil {
		return conformance.Assigned{}, err
	}
	var made catalog.Check
	if err := a.create(ctx, "/checks", catalog.CheckInput{Name: name, Spec: of}, &made, &made.ID); err != nil {
		return conformance.Assigned{}, err
	}
	var assignment catalog.Assignment
	local := false
	in := catalog.AssignmentInput{Name: name, Check: made.ID, System: system.ID, IncludeLocal: &local, Satellites: catalog.Selector{Names: []string{to.Name}}}
	if err := a.create(ctx, "/assignments", in, &assignment, &assignment.ID); err != nil {
		return conformance.Assigned{}, err
	}
	as := conformance.Assigned{ConfigID: made.ID, ConfigName: made.Name, SystemID: system.ID, SystemName: system.Name}
	a.assignments[as] = "/assignments/" + assignment.ID
	return as, nil
}

// Alter gives the check another interval.
func (a *Administrator) Alter(ctx context.Context, as conformance.Assigned, intervalSeconds int) error {
	return a.api.Put(ctx, "/checks/"+as.ConfigID, catalog.CheckInput{Name: as.ConfigName, Spec: spec(intervalSeconds)}, nil)
}

// Withdraw takes the check of the system from the satellite.
func (a *Administrator) Withdraw(ctx context.Context, as conformance.Assigned) error {
	return a.api.Delete(ctx, a.assignments[as], nil)
}

// spec is a check of an address at which nobody is (RFC 2606).
func spec(intervalSeconds int) check.Spec {
	return check.Spec{
		Strategy: "healthcheck-http.http", Config: []byte(`{"timeout":5000}`), Interval: check.Duration(time.Duration(intervalSeconds) * time.Second),
		Collectors: []check.Collector{{
			ID: "page", Collector: "healthcheck-http.request", Config: []byte(`{"url":"http://conformance.invalid/"}`),
			Assertions: []check.Assertion{
				{Field: "statusCode", Operator: "equals", Value: 200},
				{Field: "body", Operator: "contains", Value: "all is well"},
			},
		}},
	}
}
