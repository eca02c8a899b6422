package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/server"
	"github.com/perigee-monitoring/perigee/internal/server/servertest"
	"github.com/perigee-monitoring/perigee/verdict"
)

// A recount that finds nothing proves something only if it finds what is wrong. What a
// real core says of a shop that was open, shut and open again agrees; each single lie in
// it is found, and named.
func TestLiesAreFound(t *testing.T) {
	t.Parallel()
	core, w := shopThatWasShut(t)
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		if said, agree := recount(t, core, w, time.Minute, nil); !agree {
			t.Errorf("the recount does not agree:\n%s", said)
		}
	})
	for name, c := range map[string]struct {
		path string // of the answers that lie
		lie  func(map[string]any)
		want string
	}{
		"a fate":      {"/completeness", func(a map[string]any) { item(a, 0)["reported"] = number(item(a, 0)["reported"]) + 1 }, "reported: the core says"},
		"an uptime":   {"/completeness", func(a map[string]any) { item(a, 0)["unhealthy"] = 0 }, "unhealthy: the core says 0"},
		"a silence":   {"/completeness", func(a map[string]any) { a["items"] = []any{} }, "slots were due of which the core says nothing"},
		"a lost run":  {"/results", func(a map[string]any) { a["items"] = a["items"].([]any)[1:] }, "reported: the core says"},
		"a green run": {"/results", func(a map[string]any) { each(a, "status", "healthy") }, "healthy: the core says"},
		"a pause":     {"/eras", func(a map[string]any) { each(a, "state", "paused"); each(a, "intervalMs", 2000) }, "the core says"},
		"a verdict": {"/evidence/", func(a map[string]any) {
			if v := a["verdict"].(map[string]any); v["status"] == "unhealthy" {
				v["status"] = "degraded"
			}
		}, "does not follow from its evidence"},
		"evidence": {"/evidence/", func(a map[string]any) {
			for _, seat := range a["evidence"].(map[string]any)["seats"].([]any) {
				seat.(map[string]any)["runId"] = "another"
			}
		}, "the newest run of"},
		"a verdict that is kept back": {"/verdicts", func(a map[string]any) {
			var left []any
			for _, v := range a["items"].([]any) {
				if v.(map[string]any)["status"] != "unhealthy" {
					left = append(left, v)
				}
			}
			a["items"] = left
		}, "results say unhealthy"},
		"what was told": {"/events", func(a map[string]any) {
			for _, e := range a["items"].([]any) {
				if next, ok := e.(map[string]any)["next"].(map[string]any); ok && next["status"] == "unhealthy" {
					next["status"] = "degraded"
				}
			}
		}, "it was said to be degraded, and the worst of its checks was unhealthy"},
		"the light of now": {"/status", func(a map[string]any) { each(a, "status", "degraded") }, "is degraded with"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said, agree := recount(t, core, w, time.Second, func(path string, answer map[string]any) {
				if strings.Contains(path, c.path) {
					c.lie(answer)
				}
			})
			if agree || !strings.Contains(said, c.want) {
				t.Errorf("it agrees: %t; want %q in:\n%s", agree, c.want, said)
			}
		})
	}
}

func item(answer map[string]any, n int) map[string]any {
	return answer["items"].([]any)[n].(map[string]any)
}

func each(answer map[string]any, name string, value any) {
	for _, i := range answer["items"].([]any) {
		i.(map[string]any)[name] = value
	}
}

func number(v any) int64 { n, _ := v.(json.Number).Int64(); return n }

// recount audits the core, whose answers pass through lie, and gives what it prints.
func recount(t *testing.T, core string, w window, grace time.Duration, lie func(path string, answer map[string]any)) (said string, agree bool) {
	t.Helper()
	at, err := url.Parse(core)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(at); r.Out.Header.Del("Accept-Encoding") },
		ModifyResponse: func(r *http.Response) error {
			if lie == nil {
				return nil
			}
			decoder := json.NewDecoder(r.Body)
			decoder.UseNumber()
			var answer map[string]any
			if err := decoder.Decode(&answer); err != nil {
				return err
			}
			lie(r.Request.URL.Path, answer)
			text, err := json.Marshal(answer)
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
			r.Header.Del("Content-Length")
			return err
		},
	}
	between := httptest.NewServer(proxy)
	defer between.Close()
	var out strings.Builder
	agree, err = audit(t.Context(), &api{url: between.URL, token: servertest.Token, client: between.Client()}, w, grace, &out)
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	return out.String(), agree
}

// shopThatWasShut is a core that watches a shop by itself. The window ends with the shop
// open; it was shut for a few seconds.
func shopThatWasShut(t *testing.T) (core string, w window) {
	t.Helper()
	var shut atomic.Bool
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if shut.Load() {
			http.Error(w, "closed", http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(shop.Close)
	core, api := servertest.Core(t, server.Config{Local: true})
	w.from = time.Now()
	name := map[string]any{"name": "shop"}
	if err := api.Post(t.Context(), "/apply", map[string]any{"documents": []any{
		map[string]any{"apiVersion": "perigee/v1", "kind": "System", "metadata": name, "spec": map[string]any{}},
		map[string]any{"apiVersion": "perigee/v1", "kind": "Check", "metadata": name, "spec": map[string]any{
			"strategy": "healthcheck-http.http", "config": map[string]any{}, "interval": "1s",
			"collectors": []any{map[string]any{
				"id": "page", "collector": "healthcheck-http.request", "config": map[string]any{"url": shop.URL},
				"assertions": []any{map[string]any{"field": "statusCode", "operator": "equals", "value": 200}},
			}},
		}},
		map[string]any{"apiVersion": "perigee/v1", "kind": "Assignment", "metadata": name, "spec": map[string]any{"check": "shop", "system": "shop", "includeLocal": true}},
	}}, nil); err != nil {
		t.Fatal(err)
	}
	results := func(more int) { // the shop as it is has been seen so many times more
		before := -1
		wait(t, "results", func() error {
			runs, err := client.All[run](t.Context(), api, "/results", nil, 0, nil)
			if before < 0 {
				before = len(runs)
			}
			if err == nil && len(runs) < before+more {
				err = fmt.Errorf("there are %d", len(runs))
			}
			return err
		})
	}
	for i, now := range []bool{false, true, false} {
		shut.Store(now)
		wait(t, "a verdict", func() error {
			all, err := client.All[verdict.Verdict](t.Context(), api, "/checks/shop/verdicts", nil, 0, nil)
			if err == nil && len(all) < i+1 {
				err = fmt.Errorf("there are %d", len(all))
			}
			return err
		})
		results(5)
	}
	w.to = time.Now()
	results(2)
	return core, w
}

func wait(t *testing.T, what string, holds func() error) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		err := holds()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s: %v", what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
