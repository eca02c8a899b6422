package server

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/hub"
)

// registry holds everything that /metrics shows.
func registry(s *Server, h *hub.Metrics) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(h, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, c := range []struct {
		name, help string
		value      *atomic.Int64
	}{
		{"runs_total", "Results made durable.", &s.ingest.Counts.Runs},
		{"duplicate_runs_total", "Results whose run id was there already.", &s.ingest.Counts.Duplicates},
		{"skips_total", "Reports of slots that were due and not run.", &s.ingest.Counts.Skips},
		{"inconclusive_runs_total", "Results of runs that failed because the satellite itself was ill.", &s.ingest.Counts.Inconclusive},
		{"batches_total", "Transactions of results.", &s.ingest.Counts.Batches},
		{"failures_total", "Transactions of results that failed.", &s.ingest.Counts.Failures},
	} {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "perigee", Subsystem: "ingest", Name: c.name, Help: c.help},
			func() float64 { return float64(c.value.Load()) }))
	}
	for name, of := range map[string]struct {
		help  string
		value func(bus.Status) int64
	}{
		"sent_total":       {"Messages to the other cores.", func(b bus.Status) int64 { return b.Sent }},
		"received_total":   {"Messages of other cores.", func(b bus.Status) int64 { return b.Received }},
		"lost_total":       {"Messages that could not be sent.", func(b bus.Status) int64 { return b.Lost }},
		"coalesced_total":  {"Rings that needed no message of their own.", func(b bus.Status) int64 { return b.Coalesced }},
		"reconnects_total": {"Times that the other cores were not heard and are again.", func(b bus.Status) int64 { return b.Reconnects }},
	} {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "perigee", Subsystem: "bus", Name: name, Help: of.help},
			func() float64 { return float64(of.value(s.bell.Status())) }))
	}
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "perigee", Subsystem: "bus", Name: "connected", Help: "1 when bells of other cores arrive."}, func() float64 {
		if s.bell.Status().Connected {
			return 1
		}
		return 0
	}))
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "perigee", Name: "database_up", Help: "1 when the database answers."}, s.databaseUp))
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "perigee", Name: "build_info", Help: "1, with the version as a label.",
		ConstLabels: prometheus.Labels{"version": s.config.Version},
	})
	build.Set(1)
	r.MustRegister(build)
	return r
}

func (s *Server) databaseUp() float64 {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if s.db.Ping(ctx) != nil {
		return 0
	}
	return 1
}
