package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/bench/pace"
)

// turns is how often each prober has its turn; the figures are of its median round.
const turns = 5

// peers are whose probe code is measured beside ours.
var peers = []struct{ program, name string }{{"blackbox", "blackbox_exporter"}, {"gatus", "Gatus"}}

// checks lets our probe code and that of others carry out the same check of the same
// target, by turns, each in a process of its own: that a page answers 200 and has a word in
// its body, that a port can be connected to. Every check makes a connection of its own:
// ours and blackbox_exporter's always do, and Gatus has to, because the target closes each
// after its answer.
func checks(ctx context.Context, s settings, dir string) ([]figure, error) {
	for at, what := range map[string]string{".": "./bench/pace/perigee", "bench/peers": "./..."} {
		// The others' module follows ours where both want another version of something.
		build := exec.CommandContext(ctx, "go", "build", "-mod=mod", "-o", dir+"/", what)
		build.Dir = at
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building the probers: %w\n%s", err, out)
		}
	}
	targets, end, err := checked()
	if err != nil {
		return nil, err
	}
	defer end()
	var figures []figure
	for _, kind := range []string{"http", "tcp", "script"} {
		programs := []string{"perigee"}
		if kind != "script" { // the others have none
			for _, p := range peers {
				programs = append(programs, p.program)
			}
		}
		reports := map[string][]pace.Report{}
		for range turns {
			for _, program := range programs {
				progress("checks: %s by %s", kind, program)
				r, err := probed(ctx, filepath.Join(dir, program), kind, targets[kind], s.span/turns)
				if err != nil {
					return figures, fmt.Errorf("%s by %s: %w", kind, program, err)
				}
				reports[program] = append(reports[program], r)
			}
		}
		figures = append(figures, compared(kind, reports)...)
	}
	return figures, nil
}

// checked are targets that answer at once, and close.
func checked() (targets map[string]string, end func(), err error) {
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	greeter, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		web.Close()
		return nil, nil, err
	}
	body := strings.Repeat("all is well\n", 100)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })}
	server.SetKeepAlivesEnabled(false)
	go func() { _ = server.Serve(web) }() // until it is closed
	go func() {
		for {
			conn, err := greeter.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	return map[string]string{"http": "http://" + web.Addr().String(), "tcp": greeter.Addr().String()}, func() { server.Close(); greeter.Close() }, nil
}

func probed(ctx context.Context, program, kind, target string, span time.Duration) (r pace.Report, err error) {
	out, err := exec.CommandContext(ctx, program, "-kind", kind, "-target", target, "-for", span.String()).Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return r, fmt.Errorf("%w: %s", err, e.Stderr)
	}
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err == nil && r.Failed != "" {
		err = errors.New(r.Failed)
	}
	return r, err
}

// compared sets our figures beside those of the best of the others.
func compared(kind string, reports map[string][]pace.Report) []figure {
	rate := figure{what: kind + " checks", unit: "/s", note: "16 at once"}
	used := figure{what: kind + " checks, processor time of each", unit: "µs", less: true}
	memory := figure{what: kind + " checks, resident set while they go on", unit: "MiB", less: true}
	for _, p := range append([]struct{ program, name string }{{"perigee", ""}}, peers...) {
		all := reports[p.program]
		if len(all) == 0 {
			continue
		}
		is := []float64{
			median(all, func(r pace.Report) float64 { return float64(r.Checks) / r.Seconds }),
			median(all, func(r pace.Report) float64 { return r.CPU * 1e6 / float64(max(r.Checks, 1)) }),
			median(all, func(r pace.Report) float64 { return r.Resident / (1 << 20) }),
		}
		for i, f := range []*figure{&rate, &used, &memory} {
			switch {
			case p.name == "":
				f.reached = is[i]
			case f.bar == 0 || f.less == (is[i] < f.bar):
				f.bar = is[i]
			}
			if p.name != "" {
				f.note = strings.TrimPrefix(f.note+fmt.Sprintf(", %s %s", p.name, number(is[i], f.unit)), ", ")
			}
		}
	}
	heap := func(program string) string {
		return number(median(reports[program], func(r pace.Report) float64 { return r.Heap / (1 << 20) }), "MiB")
	}
	memory.note = strings.TrimPrefix(memory.note+"; heap in use "+heap("perigee"), "; ")
	if len(reports) > 1 {
		memory.note += fmt.Sprintf(", %s %s, %s %s", peers[0].name, heap(peers[0].program), peers[1].name, heap(peers[1].program))
	}
	if child := median(reports["perigee"], func(r pace.Report) float64 { return r.Child / (1 << 20) }); child > 0 {
		memory.note += ", and each child up to " + number(child, "MiB")
	}
	for _, f := range []*figure{&rate, &used, &memory} {
		f.scenario, f.engine = "checks", "-"
	}
	return []figure{rate, used, memory}
}

func median(all []pace.Report, of func(pace.Report) float64) float64 {
	var values []float64
	for _, r := range all {
		values = append(values, of(r))
	}
	slices.Sort(values)
	return values[len(values)/2]
}
