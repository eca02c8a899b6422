// Command perigee-satellite is the agent: it runs checks close to what they watch
// and ships the results to a core.
//
//	perigee-satellite --core https://core.example.org --id UUID --token-file FILE
//
// Every flag has an environment variable (see --help); the names that the original
// agent reads (CHECKSTACK_*) work as well.
//
// Exit codes: 0 after a stop by SIGTERM or SIGINT, 1 when something failed, 2 when
// the command line is wrong, 3 when the core refused the satellite for good (wrong
// or replaced credentials, or the satellite was deleted), 4 when a newer process
// with the same identity took its place. After 3 and 4 a restart does not help:
//
//	[Service]
//	Restart=always
//	RestartPreventExitStatus=2 3 4
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/perigee-monitoring/perigee/internal/fence"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/internal/probe"
	"github.com/perigee-monitoring/perigee/internal/resident"
	"github.com/perigee-monitoring/perigee/internal/satellite"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
	"github.com/perigee-monitoring/perigee/internal/stray"
	"github.com/perigee-monitoring/perigee/protocol"
)

// version is set by the release build (-ldflags "-X main.version=…").
var version = ""

const (
	exitOK         = 0
	exitFailure    = 1
	exitUsage      = 2
	exitRefused    = 3
	exitSuperseded = 4
)

// stopWithin is the longest that a stop may take; then the process ends as it is,
// which loses nothing that was recorded.
const stopWithin = 9500 * time.Millisecond

func main() {
	resident.Restrain()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() {
		stop() // a second signal ends the process at once
		time.AfterFunc(stopWithin, func() {
			fmt.Fprintln(os.Stderr, "perigee-satellite: the stop took too long")
			os.Exit(exitFailure)
		})
	})
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var f flags
	exited := -1
	parser, err := kong.New(&f,
		kong.Name("perigee-satellite"),
		kong.Description(description),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
		kong.Vars{
			"version":             buildVersion(),
			"spool_bytes":         strconv.Itoa(satellite.DefaultSpoolBytes),
			"concurrency":         strconv.Itoa(satellite.DefaultConcurrency),
			"run_timeout":         satellite.DefaultRunTimeout.String(),
			"reference_share":     strconv.FormatFloat(satellite.DefaultReferenceShare, 'g', -1, 64),
			"max_lag":             satellite.DefaultMaxLag.String(),
			"max_clock_offset":    satellite.DefaultMaxClockOffset.String(),
			"package_cache_bytes": strconv.Itoa(scriptpkg.DefaultCacheBytes),
		},
	)
	if err != nil {
		return complain(stderr, exitFailure, err)
	}
	_, err = parser.Parse(args)
	switch {
	case exited >= 0: // --help, --version
		return exited
	case err != nil:
		return complain(stderr, exitUsage, err)
	}
	settings, err := f.settle()
	if err != nil {
		return complain(stderr, exitUsage, err)
	}
	log := logger(stderr, f.LogFormat, settings.debug)
	stray.To(log)
	for _, w := range settings.warnings {
		log.Warn(w)
	}
	var s *satellite.Satellite // runs begin only once it is there
	prober := probe.New(probe.Options{
		Log: log, Version: settings.config.Version, AllowScripts: settings.scripts, Nameservers: settings.names, Egress: settings.egress,
		ScriptDir: func(ctx context.Context) (string, func(), error) { return s.ScriptDir(ctx) },
		Fence:     func() fence.Rules { return s.ScriptRules() },
		Closed:    settings.closed,
	})
	s, err = satellite.New(settings.config, prober, settings.routes(), log)
	if err != nil {
		return complain(stderr, exitFailure, err)
	}
	log.Info("satellite started", "version", settings.config.Version, "core", strings.Join(settings.cores, " "), "data_dir", settings.config.DataDir)
	resident.Release() // a small machine has better uses for what only a start needs
	err = s.Run(ctx)
	switch {
	case err == nil:
		log.Info("satellite stopped")
		return exitOK
	case errors.Is(err, satellite.ErrRemoved):
		return complain(stderr, exitRefused, fmt.Errorf("%w; perigee satellite create makes a new one", err))
	case errors.Is(err, satellite.ErrRefused):
		return complain(stderr, exitRefused, fmt.Errorf("%w; check --id and the token (perigee satellite rotate-token makes a new one)", err))
	case errors.Is(err, satellite.ErrSuperseded):
		return complain(stderr, exitSuperseded, fmt.Errorf("%w; run one process for each satellite", err))
	}
	return complain(stderr, exitFailure, err)
}

func complain(w io.Writer, code int, err error) int {
	fmt.Fprintf(w, "perigee-satellite: %v\n", err)
	return code
}

// dialer connects to the core. The silence is that of the base protocol: a dead
// path is noticed within it (spec M21).
func dialer(url string) satellite.Dialer {
	options := link.Options{Silence: protocol.OfflineThreshold, Proxy: http.ProxyFromEnvironment}
	return func(ctx context.Context) (link.Conn, error) { return link.Dial(ctx, url, options) }
}

// routes are the cores and the ways to them.
func (s *settings) routes() []satellite.Core {
	cores := make([]satellite.Core, len(s.cores))
	for i, core := range s.cores {
		cores[i] = satellite.Core{URL: core, Dial: dialer(s.urls[i])}
	}
	return cores
}

func logger(w io.Writer, format string, debug bool) *slog.Logger {
	options := &slog.HandlerOptions{}
	if debug {
		options.Level = slog.LevelDebug
	}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// buildVersion is what the release build set, else what Go knows of the build.
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision := ""
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			revision = "+" + s.Value[:12]
		}
	}
	if info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev" + revision
	}
	return info.Main.Version
}
