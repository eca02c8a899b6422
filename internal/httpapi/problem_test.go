package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

func TestRequestsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	c := setup(t)
	for what, test := range map[string]struct {
		body   string
		kind   string
		status int
	}{
		"too large":         {`{"name":"` + strings.Repeat("x", 1<<20) + `"}`, "application/json", http.StatusRequestEntityTooLarge},
		"no JSON":           {`name=x`, "application/json", http.StatusBadRequest},
		"half of it":        {`{"name":`, "application/json", http.StatusBadRequest},
		"more than one":     {`{"name":"x"}{"name":"y"}`, "application/json", http.StatusBadRequest},
		"a form":            {`name=x`, "application/x-www-form-urlencoded", http.StatusUnsupportedMediaType},
		"nothing":           {``, "application/json", http.StatusBadRequest},
		"a kind of nothing": {`{"name":"x"}`, "application/nothing", http.StatusUnsupportedMediaType},
	} {
		r := c.send(http.MethodPost, httpapi.Base+"/systems", test.body, "Authorization", "Bearer "+c.token, "Content-Type", test.kind)
		if r.status != test.status {
			t.Errorf("%s: %d, want %d: %s", what, r.status, test.status, r.body)
		}
	}
	if r := c.send(http.MethodPost, httpapi.Base+"/apply", `{"documents":[],"x":"`+strings.Repeat("x", 2<<20)+`"}`, "Authorization", "Bearer "+c.token); r.status != http.StatusUnprocessableEntity {
		t.Errorf("documents of 2 MiB: %d %s", r.status, r.body)
	}
	c.wrong(http.MethodGet, "/systems/x", nil, http.StatusNotFound)
}

func TestPathsAndMethodsThatDoNotExist(t *testing.T) {
	t.Parallel()
	c := setup(t)
	for _, path := range []string{
		"/api/v1/nothing", "/api/v1/", "/api/v1", "/api/v2/satellites", "/nothing", "/index.html", "/api/v1/satellites/a/b", "/api/v1/satellites/",
		httpapi.SatellitePath + "/", httpapi.SatellitePath + "/x", "/docs", "/api/v1/docs", "/debug/pprof/",
	} {
		if r := c.send(http.MethodGet, path, nil, "Authorization", "Bearer "+c.token); r.status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	for path, allow := range map[string]string{
		"/api/v1/satellites": "GET, HEAD, POST", "/api/v1/satellites/x": "DELETE, GET, HEAD, PATCH", "/api/v1/systems/x": "DELETE, GET, HEAD, PUT",
		"/api/v1/apply": "POST", "/session": "DELETE, GET, HEAD, POST", "/healthz": "GET, HEAD",
	} {
		r := c.send("REPORT", path, nil, "Authorization", "Bearer "+c.token)
		if r.status != http.StatusMethodNotAllowed || r.header.Get("Allow") != allow || !strings.Contains(r.body, "urn:perigee:problem:method-not-allowed") {
			t.Errorf("%s: %d, Allow %q, want %q: %s", path, r.status, r.header.Get("Allow"), allow, r.body)
		}
	}
	if r := c.send(http.MethodGet, httpapi.SatellitePath, nil); r.status != http.StatusUpgradeRequired {
		t.Errorf("the satellites' door: %d", r.status)
	}
}

// broken are records that fail in some way of their own.
type broken struct {
	httpapi.Records
	fail func() error
}

func (b broken) SatelliteByName(context.Context, string) (fleet.Satellite, error) {
	return fleet.Satellite{}, b.fail()
}

func TestWhatGoesWrongInsideStaysInside(t *testing.T) {
	t.Parallel()
	const secret = "postgres://perigee:hunter2@db/perigee"
	for _, test := range []struct {
		what   string
		fail   func() error
		status int
	}{
		{"an error", func() error { return errors.New("dialing " + secret) }, http.StatusInternalServerError},
		{"a panic", func() error { panic("at " + secret) }, http.StatusInternalServerError},
		{"an internal fault", func() error { return fault.New(fault.Internal, "reading %s", secret) }, http.StatusInternalServerError},
		{"the database is away", func() error {
			return fault.Wrap(fault.Unavailable, errors.New("dialing "+secret), "the database is away; try again later")
		}, http.StatusServiceUnavailable},
		{"it took too long", func() error { return context.DeadlineExceeded }, http.StatusServiceUnavailable},
	} {
		c := setup(t, func(o *httpapi.Options) { o.Records = broken{o.Records, test.fail} })
		r := c.send(http.MethodGet, satellites+"/x", nil, "Authorization", "Bearer "+c.token)
		if r.status != test.status || strings.Contains(r.body, "hunter2") || strings.Contains(r.body, "goroutine") {
			t.Errorf("%s: %d %s", test.what, r.status, r.body)
		}
		if retry := r.header.Get("Retry-After"); (retry != "") != (test.status == http.StatusServiceUnavailable) {
			t.Errorf("%s: Retry-After = %q", test.what, retry)
		}
		id := r.header.Get("X-Request-Id")
		if !strings.Contains(c.log.String(), "request_id="+id) {
			t.Errorf("%s: the log does not have request %s: %s", test.what, id, c.log)
		}
		if test.status == http.StatusInternalServerError && !strings.Contains(r.body, id) {
			t.Errorf("%s: the answer does not say under which id the log has it: %s", test.what, r.body)
		}
		c.get("/satellites", nil) // and the core goes on
	}
}

// A client that makes a mistake fills no log.
func TestMistakesOfClientsAreNotLoggedAsErrors(t *testing.T) {
	t.Parallel()
	c := setup(t)
	c.wrong(http.MethodGet, "/systems/none", nil, http.StatusNotFound)
	c.wrong(http.MethodPost, "/systems", object{}, http.StatusUnprocessableEntity)
	if log := c.log.String(); strings.Contains(log, "level=ERROR") || strings.Contains(log, "level=WARN") {
		t.Errorf("log: %s", log)
	}
}

// Wrong values are shown when they are short, never large ones or whole objects.
func TestProblemsShowShortValuesOnly(t *testing.T) {
	t.Parallel()
	c := setup(t)
	p := c.wrong(http.MethodPost, "/satellites", object{"name": "x", "region": "eu", "offlineThresholdMs": 1}, http.StatusUnprocessableEntity)
	if value, ok := p.Errors[0].Value.(float64); !ok || value != 1 {
		t.Errorf("a short value is not shown: %+v", p.Errors[0])
	}
	p = c.wrong(http.MethodPost, "/systems", object{"name": strings.Repeat("x", 1000), "secret": "hunter2"}, http.StatusUnprocessableEntity)
	if text, err := json.Marshal(p); err != nil || strings.Contains(string(text), "hunter2") || len(text) > 1000 {
		t.Errorf("problem = %s, %v", text, err)
	}
}
