// Bench starts a real core on a real database, connects protocol-true satellites
// to it over loopback, and prints what was reached beside what is aimed at. The
// satellite's footprint is measured on the real program.
//
//	go run ./bench                         # every scenario on both engines
//	go run ./bench -engines sqlite -scenarios ingest -for 20s
//
// Core, database and load share the machine, so absolute figures say little;
// compare runs on one machine, or the columns of one run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

type settings struct {
	satellites int
	span       time.Duration
	dial       int
	senders    int
	window     int
	batch      int
	records    int
	runs       int
	events     int
}

// figure is one measurement and what design and issue ask of it.
type figure struct {
	scenario, engine string
	what             string
	reached          float64
	unit             string
	bar, goal        float64
	less             bool // smaller is better
	note             string
}

func main() {
	var s settings
	var engines, scenarios string
	flag.IntVar(&s.satellites, "satellites", 2000, "how many satellites connect")
	flag.DurationVar(&s.span, "for", 10*time.Second, "how long heartbeats and results are sent")
	flag.IntVar(&s.dial, "dial", 2000, "how many satellites connect at the same time: a fleet whose core comes back does it all at once")
	flag.IntVar(&s.senders, "senders", 100, "how many of the satellites send results, as fast as they are acknowledged")
	flag.IntVar(&s.window, "window", 4, "batches of results in flight for each satellite")
	flag.IntVar(&s.batch, "batch", 50, "results in one batch")
	flag.IntVar(&s.records, "records", 100_000, "how many satellites the records hold when some fall silent")
	flag.IntVar(&s.runs, "runs", 1_000_000, "how many runs the database holds when a core starts")
	flag.IntVar(&s.events, "events", 50_000, "how many events automations decide; a tenth of them as runs")
	flag.StringVar(&engines, "engines", "sqlite,postgres", "databases to run on")
	flag.StringVar(&scenarios, "scenarios", "storm,heartbeats,ingest,pushes,silence,start,revocation,opinion,automations,footprint,checks", "what to run")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	figures, err := run(ctx, s, strings.Split(engines, ","), strings.Split(scenarios, ","))
	print(figures, s)
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings, engines, scenarios []string) ([]figure, error) {
	binary, cleanup, err := build(ctx)
	if err != nil {
		return nil, err
	}
	defer cleanup()
	var all []figure
	if slices.Contains(scenarios, "checks") { // without a core
		if all, err = checks(ctx, s, binary+"-pace"); err != nil {
			return all, fmt.Errorf("checks: %w", err)
		}
	}
	for _, engine := range engines {
		figures, err := measure(ctx, s, binary, engine, scenarios)
		all = append(all, figures...)
		if err != nil {
			return all, fmt.Errorf("%s: %w", engine, err)
		}
		figures, err = measureAlone(ctx, s, binary, engine, scenarios)
		all = append(all, figures...)
		if err != nil {
			return all, fmt.Errorf("%s: %w", engine, err)
		}
	}
	return all, nil
}

// measureAlone runs the scenarios that need a core of their own.
func measureAlone(ctx context.Context, s settings, binary, engine string, scenarios []string) (figures []figure, err error) {
	for _, scenario := range []struct {
		name string
		run  func(ctx context.Context, s settings, binary, engine string) ([]figure, error)
	}{{"silence", silence}, {"start", start}, {"revocation", revocation}, {"opinion", opinion}, {"automations", automations}, {"footprint", footprint}} {
		if !slices.Contains(scenarios, scenario.name) || scenario.name == "footprint" && engine != "sqlite" && slices.Contains(scenarios, "storm") {
			continue // the satellite does not know what its core keeps its records in
		}
		progress("%s: %s", engine, scenario.name)
		got, err := scenario.run(ctx, s, binary, engine)
		for i := range got {
			got[i].scenario, got[i].engine = scenario.name, engine
		}
		figures = append(figures, got...)
		if err != nil {
			return figures, fmt.Errorf("%s: %w", scenario.name, err)
		}
	}
	return figures, nil
}

// measure runs the scenarios against one core on one engine.
func measure(ctx context.Context, s settings, binary, engine string, scenarios []string) (figures []figure, err error) {
	if !slices.ContainsFunc(scenarios, func(name string) bool {
		return slices.Contains([]string{"storm", "heartbeats", "ingest", "pushes"}, name)
	}) {
		return nil, nil
	}
	progress("%s: starting a core", engine)
	c, err := startCoreOn(ctx, binary, engine, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	progress("%s: creating %d satellites", engine, s.satellites)
	f, err := enroll(ctx, c, s.satellites)
	if err != nil {
		return nil, err
	}
	defer f.disconnect()
	idle, err := c.memory()
	if err != nil {
		return nil, err
	}
	for _, scenario := range []struct {
		name string
		run  func(context.Context, settings, *core, *fleet) ([]figure, error)
	}{{"storm", storm}, {"heartbeats", heartbeats}, {"ingest", ingest}, {"pushes", pushes}} {
		if !slices.Contains(scenarios, scenario.name) {
			continue
		}
		progress("%s: %s", engine, scenario.name)
		got, err := scenario.run(ctx, s, c, f)
		for i := range got {
			got[i].scenario, got[i].engine = scenario.name, engine
		}
		figures = append(figures, got...)
		if err != nil {
			return figures, fmt.Errorf("%s: %w", scenario.name, err)
		}
		if scenario.name == "storm" {
			busy, err := c.memory()
			if err != nil {
				return figures, err
			}
			figures = append(figures, figure{
				scenario: "storm", engine: engine, what: "core memory for each connected satellite",
				reached: (busy - idle) / 1024 / float64(s.satellites), unit: "KiB", bar: 20, goal: 10, less: true,
				note: "growth of heap and stacks in use, garbage not yet collected included",
			})
		}
	}
	return figures, nil
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }

func print(figures []figure, s settings) {
	fmt.Printf("%d satellites, %d CPUs, %s; core, database and load on the same machine\n\n", s.satellites, runtime.NumCPU(), runtime.Version())
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "scenario\tengine\tfigure\treached\tfirst bar\tgoal\tof the bar\tnote")
	for _, f := range figures {
		ratio := "-"
		if f.bar > 0 && f.reached > 0 {
			r := f.reached / f.bar
			if f.less {
				r = f.bar / f.reached
			}
			ratio = fmt.Sprintf("%.1f×", r)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.scenario, f.engine, f.what, number(f.reached, f.unit), aim(f.bar, f.unit), aim(f.goal, f.unit), ratio, f.note)
	}
	_ = w.Flush()
}

func aim(v float64, unit string) string {
	if v == 0 {
		return "-"
	}
	return number(v, unit)
}

func number(v float64, unit string) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f %s", v, unit)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}
