package satellite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"math"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// Status is what a satellite says of itself, on its own page and to tests.
type Status struct {
	Version     string    `json:"version"`
	SatelliteID string    `json:"satelliteId"`
	Cores       []string  `json:"cores"` // that it may connect to
	StartedAt   time.Time `json:"startedAt"`

	Link     LinkStatus     `json:"link"`
	Schedule ScheduleStatus `json:"schedule"`
	Spool    SpoolStatus    `json:"spool"`
	Packages PackageStatus  `json:"packages"`
	Observer ObserverStatus `json:"observer"`
	// OffsetMs is core clock minus satellite clock, UncertaintyMs its error bound.
	OffsetMs      *float64 `json:"clockOffsetMs"`
	UncertaintyMs *float64 `json:"clockUncertaintyMs"`
	// RefusedRecords is how many results or skips the core would not take.
	RefusedRecords int64  `json:"refusedRecords"`
	LastRefusal    string `json:"lastRefusal,omitempty"`
	// Recent results, newest first.
	Recent []RecentRun `json:"recent"`
	// Faults is how many runs failed because of the satellite itself.
	Faults    int64  `json:"faults"`
	LastFault string `json:"lastFault,omitempty"`
}

// LinkStatus is the connection to the core.
type LinkStatus struct {
	Connected bool `json:"connected"`
	// CoreURL is the core to which it is connected, or tries to connect.
	CoreURL string     `json:"coreUrl"`
	Since   *time.Time `json:"since"` // of the present session
	Remote  string     `json:"remote,omitempty"`
	// Core is perigee or original.
	Core            string     `json:"core,omitempty"`
	Features        []string   `json:"features,omitempty"`
	Epoch           int64      `json:"epoch,omitempty"`
	IgnoredMessages int64      `json:"ignoredMessages,omitempty"`
	LastError       string     `json:"lastError,omitempty"`
	LastErrorAt     *time.Time `json:"lastErrorAt"`
}

// ObserverStatus is how the satellite itself fares.
type ObserverStatus struct {
	protocol.Observer
	// Watched are the kinds of illness that would be noticed.
	Watched []protocol.IllnessKind `json:"watched"`
}

// ScheduleStatus is what is run.
type ScheduleStatus struct {
	Revision    int64                         `json:"revision"`
	Assignments int                           `json:"assignments"`
	Keys        int                           `json:"keys"`
	Running     int                           `json:"running"`
	Waiting     int                           `json:"waiting"`
	Skipped     map[protocol.SkipReason]int64 `json:"skipped,omitempty"` // slots, since the process started
	Refused     []protocol.AppliedError       `json:"refused,omitempty"`
	// Error: the assignments could not be written to disk.
	Error string `json:"error,omitempty"`
}

// RecentRun is one result in short.
type RecentRun struct {
	Check     string       `json:"check"`
	System    string       `json:"system"`
	Status    check.Status `json:"status"`
	LatencyMs float64      `json:"latencyMs"`
	Message   string       `json:"message,omitempty"`
	// Inconclusive is why the run says nothing about the system.
	Inconclusive string `json:"inconclusive,omitempty"`
	At           string `json:"at"`
}

// linkState is the live LinkStatus.
type linkState struct {
	mu     sync.Mutex
	status LinkStatus
	bell   chan struct{}
}

func (l *linkState) trying(url string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.CoreURL = url
}

func (l *linkState) connected(remote string, welcome *protocol.Welcome, features []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.status.Connected, l.status.Since, l.status.Remote = true, &now, remote
	l.status.Core, l.status.Epoch, l.status.Features = "original", 0, features
	if welcome != nil {
		l.status.Core, l.status.Epoch = "perigee", welcome.Epoch
	}
	ring(l.bell)
}

func (l *linkState) disconnected() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Connected, l.status.Since = false, nil
	ring(l.bell)
}

func (l *linkState) lost(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.status.LastError, l.status.LastErrorAt = err.Error(), &now
}

func (l *linkState) ignoredMessage() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.IgnoredMessages++
}

func (l *linkState) get() LinkStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

// schedulerStatus is the live ScheduleStatus. The scheduler writes it, others read.
type schedulerStatus struct {
	mu         sync.Mutex
	status     ScheduleStatus
	strategies map[protocol.Pair]string // of what was refused
}

func (s *schedulerStatus) set(d *desired, refused []protocol.AppliedError, keys int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Revision, s.status.Assignments, s.status.Keys = d.Revision, len(d.Assignments), keys
	s.status.Refused = refused
	s.strategies = make(map[protocol.Pair]string)
	for _, r := range refused {
		s.strategies[r.Pair] = ""
	}
	for i := range d.Assignments {
		if _, ok := s.strategies[d.Assignments[i].Pair()]; ok {
			s.strategies[d.Assignments[i].Pair()] = d.Assignments[i].StrategyID
		}
	}
}

func (s *schedulerStatus) strategyOf(p protocol.Pair) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.strategies[p]
}

func (s *schedulerStatus) revision() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status.Revision
}

func (s *schedulerStatus) busy(running, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Running, s.status.Waiting = running, waiting
}

func (s *schedulerStatus) skipped(reason protocol.SkipReason, slots int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.Skipped == nil {
		s.status.Skipped = make(map[protocol.SkipReason]int64)
	}
	s.status.Skipped[reason] += slots
}

// unsaved notes whether the assignments are on disk; it reports true for the
// first failure of a series.
func (s *schedulerStatus) unsaved(err error) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first = err != nil && s.status.Error == ""
	s.status.Error = ""
	if err != nil {
		s.status.Error = err.Error()
	}
	return first
}

func (s *schedulerStatus) isUnsaved() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status.Error != ""
}

func (s *schedulerStatus) get() ScheduleStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.status
	status.Skipped = maps.Clone(s.status.Skipped)
	return status
}

// recent keeps the last results for the page.
type recent struct {
	mu     sync.Mutex
	runs   []RecentRun
	faults int64
	last   string
}

const recentRuns = 50

func (r *recent) add(w *work, result *protocol.Result) {
	run := RecentRun{
		Check:     firstOf(w.assignment.ConfigName, result.ConfigID),
		System:    firstOf(w.assignment.SystemName, result.SystemID),
		Status:    result.Status,
		LatencyMs: *result.LatencyMs,
		Message:   check.Truncate(result.Result.Message, 500),
		At:        result.ExecutedAt,

		Inconclusive: result.Inconclusive,
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.runs) == recentRuns {
		r.runs = slices.Delete(r.runs, 0, 1)
	}
	r.runs = append(r.runs, run)
}

func firstOf(name, id string) string {
	if name != "" {
		return name
	}
	return id
}

func (r *recent) fault(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults++
	r.last = check.Truncate(err.Error(), 500)
}

// Clock says for people how the clock is off; "" when that is not known.
func (s Status) Clock() string {
	if s.OffsetMs == nil {
		return ""
	}
	side := "behind"
	if *s.OffsetMs < 0 {
		side = "ahead of"
	}
	return fmt.Sprintf("%.0f ms %s the core's, ± %.1f ms", math.Abs(*s.OffsetMs), side, *s.UncertaintyMs)
}

// Status is how things are now.
func (s *Satellite) Status() Status {
	st := Status{
		Version:     s.config.Version,
		SatelliteID: s.config.ID,
		Cores:       s.coreURLs(),
		StartedAt:   s.started,
		Link:        s.state.get(),
		Schedule:    s.scheduler.status.get(),
		Spool:       s.spool.Status(),
		Packages:    s.packages.get(),
		Observer:    ObserverStatus{*s.observer.report(), s.observer.watched()},
	}
	st.OffsetMs, st.UncertaintyMs = s.clock.estimate()
	st.RefusedRecords, st.LastRefusal = s.refusals.get()
	s.recent.mu.Lock()
	defer s.recent.mu.Unlock()
	st.Recent = slices.Clone(s.recent.runs)
	slices.Reverse(st.Recent)
	st.Faults, st.LastFault = s.recent.faults, s.recent.last
	return st
}

// serveStatus serves the page until the context ends.
func (s *Satellite) serveStatus(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.statusPage)
	mux.HandleFunc("GET /status.json", s.statusJSON)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the status page: %w", err)
	}
	return nil
}

func (s *Satellite) statusJSON(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(s.Status()); err != nil {
		s.log.Debug("status page not delivered", "error", err)
	}
}

func (s *Satellite) statusPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	if err := page.Execute(w, s.Status()); err != nil {
		s.log.Debug("status page not delivered", "error", err)
	}
}

var page = template.Must(template.New("status").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">
<meta name="viewport" content="width=device-width"><title>Satellite {{.SatelliteID}}</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top}
.bad{color:#c0392b}.good{color:#1e8449}
</style></head><body>
<h1>Satellite</h1>
<table>
<tr><th>Core</th><td>{{.Link.CoreURL}}{{range .Cores}}{{if ne . $.Link.CoreURL}}<br>else {{.}}{{end}}{{end}}</td></tr>
<tr><th>Link</th><td>{{with .Link}}{{if .Connected}}<span class="good">connected</span> to {{.Remote}} ({{.Core}} core) since {{.Since.Format "2006-01-02 15:04:05"}}{{if .Epoch}}, epoch {{.Epoch}}{{end}}{{else}}<span class="bad">not connected</span>{{end}}
{{if .LastError}}<br>last error: {{.LastError}}{{end}}{{end}}</td></tr>
<tr><th>Observer</th><td>{{with .Observer}}{{if .Ill}}{{range .Ill}}<span class="bad">ill: {{.Kind}}</span>: {{.Detail}}<br>{{end}}runs that fail for it are inconclusive{{else}}<span class="good">well</span>{{end}}; watched:{{range .Watched}} {{.}}{{end}}{{if .LagMs}}; slots up to {{.LagMs}} ms late{{end}}{{end}}</td></tr>
{{with .Clock}}<tr><th>Clock</th><td>{{.}}</td></tr>{{end}}
<tr><th>Assignments</th><td>{{with .Schedule}}{{.Assignments}}, revision {{.Revision}}; {{.Running}} running, {{.Waiting}} waiting
{{range $reason, $n := .Skipped}}<br>{{$n}} slots skipped: {{$reason}}{{end}}
{{range .Refused}}<br><span class="bad">not run: check {{.ConfigID}} of system {{.SystemID}}: {{.Message}}</span>{{end}}
{{if .Error}}<br><span class="bad">{{.Error}}</span>{{end}}{{end}}</td></tr>
<tr><th>Spool</th><td>{{with .Spool}}{{.Records}} records wait for the core; {{.Bytes}} of {{.Limit}} bytes{{if .Dropped}}; <span class="bad">{{.Dropped}} results dropped</span>{{end}}{{if .Error}}<br><span class="bad">{{.Error}}</span>{{end}}{{end}}</td></tr>
<tr><th>Packages</th><td>{{with .Packages}}{{if eq .State "error"}}<span class="bad">{{.State}}</span>{{else}}{{.State}}{{end}}{{if .Wanted}}, wanted {{.Wanted}}{{end}}{{if .Missing}}; {{.Fetched}} of {{.Missing}} fetched, {{.Bytes}} bytes{{end}}{{if .Active}}<br>in use {{.Active}}{{end}}{{if .Error}}<br><span class="bad">{{.Error}}</span>{{with .RetryAt}}; again at {{.Format "15:04:05"}}{{end}}{{end}}{{end}}</td></tr>
{{if .RefusedRecords}}<tr><th>Refused</th><td class="bad">{{.RefusedRecords}} records refused by the core; last: {{.LastRefusal}}</td></tr>{{end}}
{{if .Faults}}<tr><th>Faults</th><td class="bad">{{.Faults}}; last: {{.LastFault}}</td></tr>{{end}}
<tr><th>Version</th><td>{{.Version}}, started {{.StartedAt.Format "2006-01-02 15:04:05"}}</td></tr>
</table>
<h2>Last results</h2>
<table><tr><th>At</th><th>System</th><th>Check</th><th>Status</th><th>ms</th><th></th></tr>
{{range .Recent}}<tr><td>{{.At}}</td><td>{{.System}}</td><td>{{.Check}}</td><td class="{{if eq .Status "healthy"}}good{{else if not .Inconclusive}}bad{{end}}">{{if .Inconclusive}}inconclusive{{else}}{{.Status}}{{end}}</td><td>{{.LatencyMs}}</td><td>{{if .Inconclusive}}{{.Inconclusive}}; {{.Status}}: {{end}}{{.Message}}</td></tr>
{{end}}</table></body></html>
`))
