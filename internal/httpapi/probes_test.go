package httpapi_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

func TestHealthAndReadiness(t *testing.T) {
	t.Parallel()
	c := setup(t)
	for path, want := range map[string]string{"/healthz": `{"status":"ok"}`, "/readyz": `{"checks":{"database":"ok"},"status":"ready"}`} {
		if r := c.send(http.MethodGet, path, nil); r.status != http.StatusOK || strings.TrimSpace(r.body) != want {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	// Without its database the core lives, is not ready, and says so to whoever asks.
	if err := c.db.Close(); err != nil {
		t.Fatal(err)
	}
	if r := c.send(http.MethodGet, "/healthz", nil); r.status != http.StatusOK {
		t.Errorf("/healthz without a database: %d", r.status)
	}
	r := c.send(http.MethodGet, "/readyz", nil)
	if want := `{"checks":{"database":"unavailable"},"status":"not ready"}`; r.status != http.StatusServiceUnavailable || strings.TrimSpace(r.body) != want || r.header.Get("Retry-After") == "" {
		t.Errorf("/readyz without a database: %d %s", r.status, r.body)
	}
	if r := c.send(http.MethodGet, satellites, nil, "Authorization", "Bearer "+c.token); r.status != http.StatusServiceUnavailable {
		t.Errorf("a request without a database: %d %s", r.status, r.body)
	}
}

func TestReadinessNamesWhatIsMissingAndNotWhere(t *testing.T) {
	t.Parallel()
	c := setup(t, func(o *httpapi.Options) {
		o.Ready = append(o.Ready, httpapi.Readiness{Name: "bus", Check: func(context.Context) error { return errors.New("dialing nats://perigee:hunter2@bus") }})
	})
	r := c.send(http.MethodGet, "/readyz", nil)
	if want := `{"checks":{"bus":"unavailable","database":"ok"},"status":"not ready"}`; r.status != http.StatusServiceUnavailable || strings.TrimSpace(r.body) != want {
		t.Errorf("/readyz = %d %s", r.status, r.body)
	}
	if !strings.Contains(c.log.String(), "hunter2") {
		t.Error("the log does not have the cause")
	}
}

func TestWhatTheCoreCanDoWithoutDoesNotMakeItUnready(t *testing.T) {
	t.Parallel()
	draining := false
	c := setup(t, func(o *httpapi.Options) {
		o.Ready = append(o.Ready, httpapi.Readiness{Name: "bus", Check: func(context.Context) error { return errors.New("down") }, Optional: true})
		o.Draining = func() bool { return draining }
	})
	r := c.send(http.MethodGet, "/readyz", nil)
	if want := `{"checks":{"bus":"unavailable","database":"ok"},"status":"ready"}`; r.status != http.StatusOK || strings.TrimSpace(r.body) != want {
		t.Errorf("/readyz = %d %s", r.status, r.body)
	}
	draining = true
	r = c.send(http.MethodGet, "/readyz", nil)
	if r.status != http.StatusServiceUnavailable || !strings.Contains(r.body, `"status":"draining"`) || r.header.Get("Retry-After") == "" {
		t.Errorf("/readyz of a core that drains = %d %s", r.status, r.body)
	}
}

// Spec M97: the original has no metrics; failed sign-ins are invisible.
func TestM97_MetricsCountRequestsFailuresAndStreams(t *testing.T) {
	t.Parallel()
	c := setup(t)
	c.get("/satellites", nil)
	c.send(http.MethodGet, satellites, nil, "Authorization", "Bearer perigee_wrong")
	c.wrong(http.MethodGet, "/satellites/a-name-of-its-own", nil, http.StatusNotFound)
	s := c.watch("")
	r := c.send(http.MethodGet, "/metrics", nil)
	for _, want := range []string{
		`perigee_api_requests_total{operation="list-satellites",status="200"} 1`,
		`perigee_api_requests_total{operation="list-satellites",status="401"} 1`,
		`perigee_api_requests_total{operation="get-satellite",status="404"} 1`,
		`perigee_api_request_seconds_count{operation="list-satellites"} 2`,
		`perigee_api_event_streams 1`,
	} {
		if !strings.Contains(r.body, want+"\n") {
			t.Errorf("no %s in\n%s", want, r.body)
		}
	}
	if r.status != http.StatusOK || strings.Contains(r.body, "a-name-of-its-own") || strings.Contains(r.body, `operation="stream-events"`) {
		t.Errorf("/metrics = %d\n%s", r.status, r.body)
	}
	c.api.Drain()
	for {
		if _, err := s.next(); err != nil {
			break
		}
	}
}
