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

// turns is how often each prober has its turn. Of rates and memory the figures are those of
// its median turn; of processor time, to which others on the machine only add, of its best.
const turns = 5

// peers are whose probe code is measured beside ours.
var peers = []struct{ program, name string }{{"blackbox", "blackbox_exporter"}, {"gatus", "Gatus"}}

// checks lets our probe code and that of others carry out the same check of the same
// target, by turns, each in a process of its own: that a page answers 200 and has a word in
// its body, that a port can be connected to. Every check makes a connection of its own:
// ours and blackbox_exporter's always do, and Gatus has to, because the target closes each
// after its answer. What Gatus gains where it need not is a row of its own.
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
	for _, kind := range []string{"http", "kept http", "tcp", "script"} {
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
				r, err := probed(ctx, filepath.Join(dir, program), strings.TrimPrefix(kind, "kept "), targets[kind], s.span/turns)
				if err != nil {
					return figures, fmt.Errorf("%s by %s: %w", kind, program, err)
				}
				reports[program] = append(reports[program], r)
			}
		}
		if kind == "kept http" {
			figures = append(figures, compared("http checks where the target keeps connections", reports)[1])
			continue
		}
		figures = append(figures, compared(kind+" checks", reports)...)
	}
	return figures, nil
}

// checked are targets that answer at once, and close; that of "kept http" keeps.
func checked() (targets map[string]string, end func(), err error) {
	targets = map[string]string{}
	var closers []io.Closer
	end = func() {
		for _, c := range closers {
			c.Close()
		}
	}
	body := strings.Repeat("all is well\n", 100)
	for _, kind := range []string{"http", "kept http", "tcp"} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			end()
			return nil, nil, err
		}
		targets[kind] = "http://" + listener.Addr().String()
		if kind == "tcp" {
			targets[kind] = listener.Addr().String()
			closers = append(closers, listener)
			go greet(listener) // until it is closed
			continue
		}
		server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })}
		server.SetKeepAlivesEnabled(kind == "kept http")
		closers = append(closers, server)
		go func() { _ = server.Serve(listener) }() // until it is closed
	}
	return targets, end, nil
}

// greet accepts connections and closes them.
func greet(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		conn.Close()
	}
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

// quantity is one of the figures of a prober.
type quantity struct {
	what, unit string
	less       bool
	of         func([]pace.Report) float64
}

const mebibyte = 1 << 20

var quantities = []quantity{
	{"", "/s", false, func(all []pace.Report) float64 {
		return median(all, func(r pace.Report) float64 { return float64(r.Checks) / r.Seconds })
	}},
	{", processor time of each", "µs", true, func(all []pace.Report) float64 {
		return least(all, func(r pace.Report) float64 { return r.CPU * 1e6 / float64(max(r.Checks, 1)) })
	}},
	{", resident set while they go on", "MiB", true, func(all []pace.Report) float64 {
		return median(all, func(r pace.Report) float64 { return r.Resident / mebibyte })
	}},
	{", of it anonymous", "MiB", true, func(all []pace.Report) float64 {
		return median(all, func(r pace.Report) float64 { return r.Anonymous / mebibyte })
	}},
}

// compared sets our figures beside those of the best of the others.
func compared(what string, reports map[string][]pace.Report) (figures []figure) {
	for _, q := range quantities {
		f := figure{scenario: "checks", engine: "-", what: what + q.what, unit: q.unit, less: q.less, reached: q.of(reports["perigee"])}
		var notes []string
		for _, p := range peers {
			all := reports[p.program]
			if len(all) == 0 {
				continue
			}
			is := q.of(all)
			if f.bar == 0 || f.less == (is < f.bar) {
				f.bar = is
			}
			notes = append(notes, p.name+" "+number(is, f.unit))
		}
		f.note = strings.Join(notes, ", ")
		figures = append(figures, f)
	}
	figures[0].note = strings.TrimSuffix("16 at once, "+figures[0].note, ", ")
	heap := func(all []pace.Report) string {
		return number(median(all, func(r pace.Report) float64 { return r.Heap / mebibyte }), "MiB")
	}
	anonymous := &figures[len(figures)-1]
	anonymous.note = strings.TrimPrefix(anonymous.note+"; heap in use "+heap(reports["perigee"]), "; ")
	for _, p := range peers {
		if all := reports[p.program]; len(all) > 0 {
			anonymous.note += ", " + p.name + " " + heap(all)
		}
	}
	if child := median(reports["perigee"], func(r pace.Report) float64 { return r.Child / mebibyte }); child > 0 {
		anonymous.note += ", and each child up to " + number(child, "MiB")
	}
	return figures
}

func least(all []pace.Report, of func(pace.Report) float64) float64 {
	is := of(all[0])
	for _, r := range all[1:] {
		is = min(is, of(r))
	}
	return is
}

func median(all []pace.Report, of func(pace.Report) float64) float64 {
	var values []float64
	for _, r := range all {
		values = append(values, of(r))
	}
	slices.Sort(values)
	return values[len(values)/2]
}
