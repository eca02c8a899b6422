// Blackbox lets the probe code of blackbox_exporter carry out checks.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/blackbox_exporter/config"
	"github.com/prometheus/blackbox_exporter/prober"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/perigee-monitoring/perigee/bench/pace"
)

func main() {
	pace.Main(func(kind, target string) (func() error, error) {
		probe, module := prober.Probers[kind], config.DefaultModule
		if probe == nil {
			return nil, fmt.Errorf("blackbox_exporter has no probe for %q", kind)
		}
		module.HTTP.ValidStatusCodes = []int{200}
		module.HTTP.FailIfBodyNotMatchesRegexp = []config.Regexp{config.MustNewRegexp("well")}
		log := slog.New(slog.DiscardHandler)
		return func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			if !probe(ctx, target, module, prometheus.NewRegistry(), log) {
				return errors.New("the probe failed")
			}
			return nil
		}, nil
	})
}
