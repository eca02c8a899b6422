// Perigee lets the probe code of our satellite carry out checks, and judge them.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"time"

	"github.com/perigee-monitoring/perigee/bench/pace"
	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/assertion"
	"github.com/perigee-monitoring/perigee/internal/probe"
	"github.com/perigee-monitoring/perigee/internal/resident"
	"github.com/perigee-monitoring/perigee/protocol"
)

func main() {
	resident.Restrain() // as in the satellite
	pace.Main(func(kind, target string) (func() error, error) {
		a, err := assignment(kind, target)
		if err != nil {
			return nil, err
		}
		p := probe.New(probe.Options{Version: "bench"})
		if err := p.Check(a); err != nil {
			return nil, err
		}
		assertions, collectors := map[string][]check.Assertion{}, map[string]string{}
		for _, c := range a.Collectors {
			assertions[c.ID], collectors[c.ID] = c.Assertions, c.CollectorID
		}
		resident.Release() // as the satellite does when it has started
		return func() error {
			// As satellites do: the last fence is behind the limits of the checks themselves.
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			r := p.Execute(ctx, a, nil, nil)
			assertion.Judge(assertions, collectors, &r)
			if r.Status != check.Healthy {
				return fmt.Errorf("%s: %s", r.Status, r.Message)
			}
			return nil
		}, nil
	})
}

func assignment(kind, target string) (*protocol.Assignment, error) {
	a := &protocol.Assignment{ConfigID: "check", SystemID: "system", IntervalSeconds: 10, Config: json.RawMessage(`{}`)}
	switch kind {
	case "http":
		a.StrategyID = check.HTTP
		a.Collectors = []protocol.Collector{{
			ID: "page", CollectorID: check.HTTPRequest, Config: json.RawMessage(fmt.Sprintf(`{"url":%q}`, target)),
			Assertions: []check.Assertion{{Field: "statusCode", Operator: "equals", Value: 200.0}, {Field: "body", Operator: "contains", Value: "well"}},
		}}
	case "tcp":
		host, port, err := net.SplitHostPort(target)
		if err != nil {
			return nil, err
		}
		a.StrategyID, a.Config = check.TCP, json.RawMessage(fmt.Sprintf(`{"host":%q,"port":%s}`, host, port))
	case "script":
		a.StrategyID = check.Script
		a.Collectors = []protocol.Collector{{ID: "script", CollectorID: check.ScriptInline, Config: json.RawMessage(
			`{"script":"const xs: number[] = [1, 2, 3]\nreturn { value: xs.reduce((a, b) => a + b) }"}`)}}
	default:
		return nil, fmt.Errorf("there is no check for %q", kind)
	}
	return a, nil
}
