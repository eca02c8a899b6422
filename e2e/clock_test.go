package e2e

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/internal/probe"
	agent "github.com/perigee-monitoring/perigee/internal/satellite"
	"github.com/perigee-monitoring/perigee/protocol"
)

// clockVariable makes a satellite of the test's own program, with a clock that is
// ahead by as much as it says. It takes the flags that the tests use.
const clockVariable = "PERIGEE_E2E_CLOCK"

func satelliteWithClock(text string) int {
	ahead, err := time.ParseDuration(text)
	if err == nil {
		err = runWithClock(ahead, os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runWithClock(ahead time.Duration, args []string) error {
	flags := flag.NewFlagSet("satellite", flag.ContinueOnError)
	core := flags.String("core", "", "")
	id := flags.String("id", "", "")
	dir := flags.String("data-dir", "", "")
	nameserver := flags.String("nameserver", "", "")
	name := flags.String("observer-name", "", "")
	reference := flags.String("reference", "", "")
	flags.Bool("no-watch-gateway", true, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	url, err := link.URL(*core)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	nameservers := []string{*nameserver}
	s, err := agent.New(agent.Config{
		ID: *id, Token: os.Getenv("PERIGEE_SATELLITE_TOKEN"), DataDir: *dir, Version: "test",
		Observer: agent.ObserverConfig{Resolver: probe.Resolver(nameservers), Names: []string{*name}, References: []string{*reference}},
		Now:      func() time.Time { return time.Now().Add(ahead) },
	}, probe.New(probe.Options{Log: log, Version: "test", Nameservers: nameservers}), []agent.Core{{URL: *core, Dial: func(ctx context.Context) (link.Conn, error) {
		return link.Dial(ctx, url, link.Options{Silence: protocol.OfflineThreshold})
	}}}, log)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return s.Run(ctx)
}
