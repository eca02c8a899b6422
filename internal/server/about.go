package server

import (
	"cmp"
	"context"
	"runtime"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

// about is what this core says of itself. What the database cannot tell, or not in
// time, is an error: a page that says less than it should would pass for the truth.
func (s *Server) about(ctx context.Context) (httpapi.About, error) {
	began := time.Now()
	if err := s.db.Ping(ctx); err != nil {
		return httpapi.About{}, err
	}
	latency := time.Since(began)
	facts, err := s.db.Facts(ctx)
	if err != nil {
		return httpapi.About{}, err
	}
	about := httpapi.About{
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, StartedAt: s.startedAt,
		Core: s.fleet.Core(), Cores: []httpapi.RunningCore{}, Bus: s.bell.Status(), Sessions: len(s.hub.Sessions()), Settings: s.settings(),
		Database: httpapi.AboutDatabase{
			Engine: s.db.Engine(), Version: facts.Version, Schema: facts.Schema, SizeBytes: facts.SizeBytes,
			LatencyMs: float64(latency.Microseconds()) / 1000,
		},
	}
	for _, c := range facts.Cores {
		about.Cores = append(about.Cores, httpapi.RunningCore{ID: c.ID, SeenAt: c.SeenAt})
	}
	return about, nil
}

// settings are the flags in force, without addresses that may hold passwords.
func (s *Server) settings() []httpapi.InForce {
	c := s.config
	onOff := map[bool]string{true: "on", false: "off"}
	blobs, _, _ := strings.Cut(c.Blobs, ":")
	return []httpapi.InForce{
		{Name: "--keep-runs", Value: inShort(c.Keep.Runs), Means: "how long single results and skips are kept"},
		{Name: "--keep-details", Value: inShort(c.Keep.Details), Means: "how long the evidence of healthy results is kept that followed healthy ones"},
		{Name: "--keep-minutes", Value: inShort(c.Keep.Minutes), Means: "how long history is kept by the minute"},
		{Name: "--keep-hours", Value: inShort(c.Keep.Hours), Means: "how long history is kept by the hour"},
		{Name: "--keep-days", Value: inShort(c.Keep.Days), Means: "how long history is kept by the day"},
		{Name: "--keep-transitions", Value: inShort(c.KeepTransitions), Means: "how long it is known what happened to satellites and systems"},
		{Name: "--keep-audit", Value: inShort(c.KeepAudit), Means: "how long it is known who changed what"},
		{Name: "--disconnect-grace", Value: c.Grace.String(), Means: "how long a satellite may be away before that is told"},
		{Name: "--placement-hold-off", Value: cmp.Or(c.HoldOff, catalog.DefaultHoldOff).String(), Means: "how long a satellite may be lost before its seats move"},
		{Name: "--max-clock-skew", Value: cmp.Or(c.MaxClockSkew, fleet.DefaultMaxSkew).String(), Means: "how far a satellite's clock may be off before that is told"},
		{Name: "--drain-span", Value: c.DrainSpan.String(), Means: "over how long a stop lets satellites go to the other cores"},
		{Name: "--local", Value: onOff[c.Local], Means: "the built-in satellite"},
		{Name: "--local-scripts", Value: onOff[c.LocalScripts], Means: "shell scripts on the built-in satellite"},
		{Name: "--trust-forwarded", Value: onOff[c.TrustForwarded], Means: "believe X-Forwarded-For, behind a proxy"},
		{Name: "--blobs", Value: map[string]string{"": "db"}[blobs] + blobs, Means: "where the bytes of script packages are kept"},
		{Name: "--vault-addr", Value: onOff[c.Vault != nil], Means: "secrets are fetched from a vault"},
	}
}

// inShort is a duration without the zeroes behind it: 168h, 30m.
func inShort(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}
