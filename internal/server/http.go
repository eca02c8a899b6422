package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/web"
)

const (
	// A peer has this long for the header of a request. Bodies and answers have
	// deadlines of their own in httpapi, because event streams have no end.
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 120 * time.Second
	maxHeaderBytes    = 64 << 10
)

// readiness is what /readyz tells. Without the bus a core is slower, and of use.
func (s *Server) readiness() []httpapi.Readiness {
	all := []httpapi.Readiness{
		{Name: "database", Check: s.db.Ping},
		// A core with the wrong root key still does everything else.
		{Name: "secrets", Optional: true, Check: s.secrets.Check},
	}
	if s.alone() {
		return all
	}
	return append(all, httpapi.Readiness{Name: "bus", Optional: true, Check: func(context.Context) error {
		if !s.bell.Status().Connected {
			return errors.New("the other cores are not heard; slow polls carry")
		}
		return nil
	}})
}

// wireHTTP makes the API and the server that runs it.
func (s *Server) wireHTTP(metrics *prometheus.Registry) {
	s.api = httpapi.New(httpapi.Options{
		Fleet: s.fleet, Catalog: s.Catalog, Secrets: s.secrets, Sandbox: s.sandbox, Packages: s.packages, Records: s.db, Incidents: s.incidents, Automations: s.automations, HookSecret: s.hookSecret, Channels: s.channels, Ledger: health.NewLedger(s.db, s.config.Keep.Runs), Auth: auth.New(s.accounts), Accounts: s.accounts, Audit: s.audit, About: s.about, Bells: s.bell, RunRequests: s.runs, Trials: s.trials, Satellites: s.hub,
		TrustForwarded: s.config.TrustForwarded,
		Ready:          s.readiness(),
		Draining:       s.hub.Draining,
		Metrics:        metrics, Version: s.config.Version, Page: web.Files(), Log: s.log,
	})
	s.http = &http.Server{
		Handler: s.api, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.http.RegisterOnShutdown(s.api.Drain)
}
