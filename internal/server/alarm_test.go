package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/internal/perigeetest"
	"github.com/perigee-monitoring/perigee/internal/satellite"
	"github.com/perigee-monitoring/perigee/internal/server"
)

// many is how much suffers from each cause in TestOneAlarmPerCause.
const many = 30

// receiver keeps the titles of messages. It refuses the first, which is tried again.
type receiver struct {
	mu     sync.Mutex
	titles []string // guarded by mu
	calls  int      // guarded by mu
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	var m struct{ Title string }
	err := json.NewDecoder(q.Body).Decode(&m)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls++; r.calls == 1 || err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	r.titles = append(r.titles, m.Title)
}

// take gives the titles since the last call.
func (r *receiver) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.titles
	r.titles = nil
	return taken
}

func (r *receiver) some() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.titles) == 0 {
		return errors.New("there is no message")
	}
	return nil
}

// With the automations that come with Perigee, one cause is one message, however much
// suffers from it: a system of thirty checks, a blind region that watches thirty systems,
// a dead satellite that does.
func TestOneAlarmPerCause(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	core, api := start(t, server.Config{DataDir: dir})
	w := &reacting{t: t, core: core, api: api, database: filepath.Join(dir, "perigee.db")}
	var shut atomic.Bool
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/big" && shut.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(shop.Close)
	address := strings.TrimPrefix(shop.URL, "http://")
	_, port, _ := net.SplitHostPort(address)
	network := perigeetest.NewNetwork(t, map[string]string{"shop.test": address})
	places, leave := []*perigeetest.Place{}, map[string]func(){}
	for _, name := range []string{"eu-1", "eu-2"} {
		place := network.Place()
		places = append(places, place)
		leave[name] = w.joinAt(name, place.Nameserver, satellite.ObserverConfig{Names: []string{"shop.test"}, Resolver: &net.Resolver{
			PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "udp", place.Nameserver)
			},
		}}, nil)
	}
	online(t, api, "eu-1", "eu-2")
	documents := defaultAutomations(t)
	document := func(kind, name string, spec map[string]any) {
		documents = append(documents, map[string]any{"apiVersion": "perigee/v1", "kind": kind, "metadata": map[string]any{"name": name}, "spec": spec})
	}
	page := func(name, path string) {
		document("Check", name, map[string]any{
			"strategy": "healthcheck-http.http", "config": map[string]any{}, "interval": "2s",
			"collectors": []any{map[string]any{
				"id": "page", "collector": "healthcheck-http.request", "config": map[string]any{"url": "http://shop.test:" + port + path, "timeout": 5000},
				"assertions": []any{map[string]any{"field": "statusCode", "operator": "equals", "value": 200}},
			}},
		})
	}
	assign := func(name, check, system, satellite string) {
		document("Assignment", name, map[string]any{
			"check": check, "system": system, "includeLocal": false, "satellites": map[string]any{"names": []string{satellite}},
		})
	}
	page("page", "/")
	document("System", "big", map[string]any{})
	for i := range many {
		name := fmt.Sprintf("part-%02d", i)
		page(name, "/big")
		assign(name, name, "big", "eu-2")
		name = fmt.Sprintf("small-%02d", i)
		document("System", name, map[string]any{})
		assign(name, "page", name, "eu-1")
	}
	told := &receiver{}
	hook := httptest.NewServer(told)
	t.Cleanup(hook.Close)
	w.post("/channels", map[string]any{"name": "hook", "type": "webhook", "config": map[string]any{"url": hook.URL}})
	w.post("/apply", map[string]any{"documents": documents})
	w.systems(check.Healthy, many+1)
	w.automate("marks", map[string]any{
		"triggers": []any{map[string]any{"event": "check.created"}}, "mode": "queued",
		"actions": []any{map[string]any{"action": "log", "config": map[string]any{"message": "so far"}}},
	})
	marks := 0
	message := func(cause string, want ...string) {
		t.Helper()
		eventually(t, "a message of "+cause, told.some)
		// Events are decided in their order: when this one is, all before it are.
		marks++
		w.post("/checks", map[string]any{"name": fmt.Sprint("mark-", marks), "spec": map[string]any{"strategy": "healthcheck-tcp.tcp", "interval": "1h", "config": map[string]any{"host": "127.0.0.1", "port": 9}}})
		eventually(t, "the mark", func() error {
			if n := len(w.runs("marks")); n < marks {
				return fmt.Errorf("%d of %d", n, marks)
			}
			return nil
		})
		eventually(t, "all to be decided", w.quiet)
		if diff := cmp.Diff(want, told.take()); diff != "" {
			t.Errorf("%s is told so (-want +got):\n%s", cause, diff)
		}
	}

	shut.Store(true)
	w.systems(check.Unhealthy, 1)
	eventually(t, "all checks to fail", func() error {
		var status httpapi.SystemStatus
		if err := api.Get(t.Context(), "/systems/big/status", nil, &status); err != nil {
			return err
		}
		for _, c := range status.Checks {
			if c.Status != check.Unhealthy {
				return fmt.Errorf("%s is %s", c.Check, c.Status)
			}
		}
		return nil
	})
	message("a system", "System big is unhealthy")
	shut.Store(false)
	w.systems(check.Healthy, many+1)
	message("its recovery", "System big is healthy again")

	for _, p := range places {
		p.Names(perigeetest.NamesFailing)
	}
	eventually(t, "a message of a blind region", told.some)
	w.sql(`UPDATE locations SET received_at = received_at - 60000000`) // what was seen before is old by now
	w.systems(check.Unknown, many+1)
	message("a blind region", "Region eu is blind")
	for _, p := range places {
		p.Names(perigeetest.NamesKnown)
	}
	w.systems(check.Healthy, many+1)
	message("its sight", "Region eu sees again")

	leave["eu-1"]()
	w.systems(check.Degraded, many)
	message("a lost satellite", "Satellite eu-1 is lost in region eu")
}

// systems waits until so many have the status.
func (w *reacting) systems(status check.Status, want int) {
	w.t.Helper()
	eventually(w.t, fmt.Sprintf("%d systems to be %s", want, status), func() error {
		var all struct {
			Items []struct{ Status check.Status }
		}
		if err := w.api.Get(w.t.Context(), "/status", nil, &all); err != nil {
			return err
		}
		got := map[check.Status]int{}
		for _, s := range all.Items {
			got[s.Status]++
		}
		if got[status] < want {
			return fmt.Errorf("there are %v", got)
		}
		return nil
	})
}

// quiet reports that no run goes on.
func (w *reacting) quiet() error {
	for _, status := range []automation.RunStatus{automation.RunPending, automation.RunRunning, automation.RunWaiting} {
		all, err := client.All[automation.Run](w.t.Context(), w.api, "/automation-runs", map[string][]string{"status": {string(status)}}, 0, nil)
		if err != nil {
			return err
		}
		if len(all) > 0 {
			return fmt.Errorf("%d runs are %s", len(all), status)
		}
	}
	return nil
}

// defaultAutomations are those that come with Perigee, with a second where they wait a
// minute.
func defaultAutomations(t *testing.T) []any {
	t.Helper()
	text, err := os.ReadFile("../../cmd/perigee/automations.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "{minutes: 1}") {
		t.Error("nothing waits for a minute")
	}
	read := yaml.NewDecoder(strings.NewReader(strings.ReplaceAll(string(text), "{minutes: 1}", "{seconds: 1}")))
	var all []any
	for {
		var doc map[string]any
		if err := read.Decode(&doc); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, doc)
	}
}
