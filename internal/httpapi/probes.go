package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Readiness is one thing that must work for the core to be of use.
type Readiness struct {
	Name  string
	Check func(context.Context) error
	// Optional is shown when it does not work, and the core is ready all the same.
	Optional bool
}

// readyTimeout bounds all of them together.
const readyTimeout = 3 * time.Second

// addProbes serves what load balancers and Prometheus ask, without a token.
func (a *API) addProbes(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", a.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.Metrics, promhttp.HandlerOpts{Registry: a.Metrics, Timeout: 10 * time.Second}))
}

// ready says what is missing; the causes, which may name hosts and accounts, go to the log.
func (a *API) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	checks, code, status := map[string]string{}, http.StatusOK, "ready"
	for _, c := range a.Ready {
		checks[c.Name] = "ok"
		if err := c.Check(ctx); err != nil {
			a.Log.Warn("a part of the core does not work", "check", c.Name, "optional", c.Optional, "error", err)
			checks[c.Name] = "unavailable"
			if !c.Optional {
				code, status = http.StatusServiceUnavailable, "not ready"
			}
		}
	}
	if a.Draining != nil && a.Draining() {
		code, status = http.StatusServiceUnavailable, "draining"
	}
	if code != http.StatusOK {
		w.Header().Set("Retry-After", retryAfter)
	}
	writeJSON(w, code, map[string]any{"status": status, "checks": checks})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the client has gone
}
