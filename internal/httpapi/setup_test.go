package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/checkschema"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds what a test waits for.
const deadline = 2 * time.Minute

// core is a core without satellites: real records, real services,
// the API on a socket.
type core struct {
	t        *testing.T
	url      string
	token    string
	client   *http.Client
	api      *httpapi.API
	db       *store.DB
	accounts *auth.Accounts
	fleet    *fleet.Fleet
	catalog  *catalog.Catalog
	ingest   *health.Ingest
	log      *logText
}

// logText is what was logged.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// setup starts a core on SQLite; change alters what its API is made of.
func setup(t *testing.T, change ...func(*httpapi.Options)) *core {
	t.Helper()
	return setupOn(t, dbtest.SQLite(t), change...)
}

// setupOn starts a core on the database.
func setupOn(t *testing.T, database string, change ...func(*httpapi.Options)) *core {
	t.Helper()
	c := &core{t: t, token: auth.NewToken(), log: &logText{}}
	log := slog.New(slog.NewTextHandler(c.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if c.db, err = store.Open(t.Context(), database, log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.db.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := auth.Bootstrap(t.Context(), c.db, c.token); err != nil {
		t.Fatal(err)
	}
	bell := &bus.Local{}
	derivers := append(append(fleet.Derivers(), health.Derivers()...), catalog.Derivers()...)
	recorder := entity.NewRecorder(c.db, bell, derivers...)
	c.fleet = fleet.New(c.db, recorder, bell, log)
	c.catalog = catalog.New(c.db, recorder, bell, checkschema.ValidateSpec, log)
	c.fleet.SetReplan(c.catalog.SatelliteChanged)
	c.ingest = health.NewIngest(c.db, recorder, log)
	c.accounts = auth.NewAccounts(c.db)
	audit := auth.NewAudit(c.db, log)
	c.run(audit.Run)
	c.run(c.fleet.Run)
	c.run(c.ingest.Run)

	options := httpapi.Options{
		Fleet: c.fleet, Catalog: c.catalog, Records: c.db, Ledger: health.NewLedger(c.db, 0), Auth: auth.New(c.accounts), Accounts: c.accounts, Audit: audit, Bells: bell, RunRequests: fleet.NewRunRequests(c.db, bell),
		Satellites: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUpgradeRequired) }),
		Ready:      []httpapi.Readiness{{Name: "database", Check: c.db.Ping}},
		Metrics:    prometheus.NewRegistry(), Version: "test", Page: interfaceFiles, Log: log,
		Automations: automation.NewService(c.db, recorder, automation.NewRegistry()),
	}
	for _, f := range change {
		f(&options)
	}
	c.api = httpapi.New(options)
	server := httptest.NewServer(c.api)
	t.Cleanup(server.Close)
	t.Cleanup(c.api.Drain)
	c.url, c.client = server.URL, server.Client()
	return c
}

func (c *core) run(part func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- part(ctx) }()
	c.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			c.t.Error(err)
		}
	})
}

// reply is an answer read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

// send sends a request as it is given, and holds the answer against what is true
// of every answer. A body that is text is sent as it is, anything else as JSON.
func (c *core) send(method, path string, body any, header ...string) reply {
	c.t.Helper()
	var text io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		text = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		text = bytes.NewReader(raw)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), deadline)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, text)
	if err != nil {
		c.t.Fatal(err)
	}
	if text != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.client.Do(req)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	r := reply{resp.StatusCode, resp.Header, string(got)}
	c.alwaysTrue(method+" "+path, r)
	return r
}

// alwaysTrue is what every answer of the API must be.
func (c *core) alwaysTrue(what string, r reply) {
	c.t.Helper()
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"} {
		if got := r.header.Get(name); got != want {
			c.t.Errorf("%s: %s = %q, want %q", what, name, got, want)
		}
	}
	if r.header.Get("X-Request-Id") == "" {
		c.t.Errorf("%s: no request id", what)
	}
	if policy := r.header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-ancestors 'none'") {
		c.t.Errorf("%s: Content-Security-Policy = %q", what, policy)
	}
	if strings.Contains(r.body, "$schema") && !strings.Contains(what, "/strategies") && !strings.Contains(what, "/automations/schema") {
		c.t.Errorf("%s: the answer has a $schema: %s", what, r.body)
	}
	if strings.Contains(r.body, c.token) || strings.Contains(r.body, auth.Digest(c.token)) {
		c.t.Errorf("%s: the answer has the caller's token: %s", what, r.body)
	}
	if r.status < 400 || strings.HasSuffix(what, "/readyz") || strings.HasSuffix(what, httpapi.SatellitePath) {
		return
	}
	var p httpapi.Problem
	if err := json.Unmarshal([]byte(r.body), &p); err != nil || r.header.Get("Content-Type") != "application/problem+json" {
		c.t.Errorf("%s: %d is no problem document but %s: %s", what, r.status, r.header.Get("Content-Type"), r.body)
		return
	}
	if p.Status != r.status || !strings.HasPrefix(p.Type, "urn:perigee:problem:") || p.Title == "" || p.Detail == "" {
		c.t.Errorf("%s: an incomplete problem: %s", what, r.body)
	}
}

// call sends a request of the REST API with the token, wants the status, and reads
// the answer into it when it is not nil.
func (c *core) call(method, path string, body any, status int, into any) reply {
	c.t.Helper()
	r := c.send(method, httpapi.Base+path, body, "Authorization", "Bearer "+c.token)
	if r.status != status {
		c.t.Fatalf("%s %s = %d, want %d: %s", method, path, r.status, status, r.body)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(r.body), into); err != nil {
			c.t.Fatalf("%s %s: %v in %s", method, path, err, r.body)
		}
	}
	return r
}

func (c *core) get(path string, into any) {
	c.t.Helper()
	c.call(http.MethodGet, path, nil, http.StatusOK, into)
}

func (c *core) post(path string, body, into any) reply {
	c.t.Helper()
	return c.call(http.MethodPost, path, body, http.StatusCreated, into)
}

// wrong sends a request that must fail, and gives the problem.
func (c *core) wrong(method, path string, body any, status int) httpapi.Problem {
	c.t.Helper()
	var p httpapi.Problem
	c.call(method, path, body, status, &p)
	return p
}

// places are the problem's errors, each as "location: message".
func places(p httpapi.Problem) []string {
	var all []string
	for _, e := range p.Errors {
		all = append(all, e.Location+": "+e.Message)
	}
	return all
}

// object is JSON as the test writes it.
type object = map[string]any

// list is a page as the API answers it.
type list[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"nextCursor"`
}

// satellite makes a satellite and gives it and its token.
func (c *core) satellite(name, region string) (fleet.Satellite, string) {
	c.t.Helper()
	var made httpapi.SatelliteToken
	c.post("/satellites", object{"name": name, "region": region}, &made)
	return made.Satellite, made.Token
}

// system makes a system.
func (c *core) system(name string) catalog.System {
	c.t.Helper()
	var made catalog.System
	c.post("/systems", object{"name": name}, &made)
	return made
}

// httpCheck is a check of a page that must answer 200.
func httpCheck(name string) object {
	return object{"name": name, "spec": object{
		"strategy": "healthcheck-http.http", "config": object{}, "interval": "10s",
		"collectors": []object{{
			"id": "page", "collector": "healthcheck-http.request", "config": object{"url": "https://example.com/"},
			"assertions": []object{{"field": "statusCode", "operator": "equals", "value": 200}},
		}},
	}}
}

// check makes a check.
func (c *core) check(name string) catalog.Check {
	c.t.Helper()
	var made catalog.Check
	c.post("/checks", httpCheck(name), &made)
	return made
}

// assign places the check to the system on the named satellites.
func (c *core) assign(name, check, system string, satellites ...string) catalog.Assignment {
	c.t.Helper()
	var made catalog.Assignment
	c.post("/assignments", object{"name": name, "check": check, "system": system, "includeLocal": false, "satellites": object{"names": satellites}}, &made)
	return made
}
