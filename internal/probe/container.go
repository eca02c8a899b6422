package probe

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// containerSession asks a runtime about one container, in the version of the API that
// the runtime likes best: what is read here is in all of them.
type containerSession struct {
	web
	base, name string
}

func init() { offers[check.Container] = offer{connect: (*Prober).connectContainer} }

func (p *Prober) connectContainer(ctx context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.ContainerConfig])
	if err != nil {
		return nil, err
	}
	s := &containerSession{web: p.web(timeout(config.Timeout), nil), name: url.PathEscape(config.Container)}
	switch at, err := url.Parse(config.Endpoint); {
	case err == nil && at.Scheme == "unix" && at.Path != "":
		s.base = "http://runtime"
		s.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return p.dialer(nil).DialContext(ctx, "unix", at.Path)
		}
	case err == nil && (at.Scheme == "http" || at.Scheme == "https") && at.Host != "":
		s.base = config.Endpoint
	default:
		return nil, errors.New("the config cannot be used: endpoint must be a URL such as http://host:2375 or unix:///path/of.sock")
	}
	if _, err := s.get(ctx, below(s.base, "/_ping"), nil); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// containerState is what a runtime says of a container.
type containerState struct {
	State struct {
		Status    string
		Running   bool
		OOMKilled bool
		ExitCode  int
		Health    *struct{ Status string }
	}
	RestartCount int
}

func (s *containerSession) collect(ctx context.Context, id string, _ json.RawMessage) (any, error) {
	var told containerState
	_, err := s.get(ctx, below(s.base, "/containers/"+s.name+"/json"), &told)
	switch {
	case answered(err) == http.StatusNotFound && id == check.ContainerStats:
		return nil, errors.New("there is no such container")
	case answered(err) == http.StatusNotFound:
		return &check.ContainerStatusResult{}, nil
	case err != nil:
		return nil, err
	case id == check.ContainerStats && !told.State.Running: // Docker answers with zeros, Podman with nothing
		return &check.ContainerStatsResult{}, nil
	case id == check.ContainerStats:
		return s.stats(ctx)
	}
	result := &check.ContainerStatusResult{
		Exists: true, Running: &told.State.Running, State: cut(told.State.Status, 100), Health: "none",
		ExitCode: &told.State.ExitCode, RestartCount: &told.RestartCount, OOMKilled: &told.State.OOMKilled,
	}
	if result.State == "stopped" { // what Podman calls it until it has cleaned up
		result.State = "exited"
	}
	if h := told.State.Health; h != nil && h.Status != "" {
		result.Health = strings.ToLower(cut(h.Status, 100))
	}
	return result, nil
}

// containerUse is what a runtime says that a container uses.
type containerUse struct {
	Read time.Time `json:"read"`
	CPU  cpuUse    `json:"cpu_stats"`

	// Before is what Docker measured a moment earlier.
	ReadBefore time.Time `json:"preread"`
	Before     cpuUse    `json:"precpu_stats"`

	Memory struct {
		Usage float64            `json:"usage"`
		Limit float64            `json:"limit"`
		Stats map[string]float64 `json:"stats"`
	} `json:"memory_stats"`
}

// cpuUse counts nanoseconds since the container began.
type cpuUse struct {
	Usage struct {
		Total float64 `json:"total_usage"`
	} `json:"cpu_usage"`
}

// between is how long Docker measures, and how long we do.
const between = time.Second

// use asks what the container uses, at two moments: Docker measures over a second by
// itself, Podman gives one moment and is asked again.
func (s *containerSession) use(ctx context.Context) (use containerUse, err error) {
	address := below(s.base, "/containers/"+s.name+"/stats?stream=false")
	if _, err = s.get(ctx, address, &use); err != nil || !use.ReadBefore.IsZero() {
		return use, err
	}
	select {
	case <-ctx.Done():
		return use, explain(ctx, context.Cause(ctx), "measuring")
	case <-time.After(between):
	}
	before := use
	_, err = s.get(ctx, address, &use)
	use.ReadBefore, use.Before = before.Read, before.CPU
	return use, err
}

func (s *containerSession) stats(ctx context.Context) (any, error) {
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	use, err := s.use(ctx)
	if err != nil {
		return nil, err
	}
	result := &check.ContainerStatsResult{}
	// By the clock, because what runtimes count of the whole system is not the same.
	busy, took := use.CPU.Usage.Total-use.Before.Usage.Total, use.Read.Sub(use.ReadBefore)
	if took > 0 && busy >= 0 {
		share := hundredths(busy / float64(took) * 100)
		result.CPUPercent = &share
	}
	if usage := use.Memory.Usage; usage > 0 {
		// The page cache is given back when somebody needs memory: cgroups v2, then v1.
		for _, name := range []string{"inactive_file", "total_inactive_file"} {
			if cache, ok := use.Memory.Stats[name]; ok && cache < usage {
				usage -= cache
				break
			}
		}
		result.MemoryUsageBytes = &usage
		if limit := use.Memory.Limit; limit > 0 {
			share := percent(usage, limit)
			result.MemoryLimitBytes, result.MemoryPercent = &limit, &share
		}
	}
	return result, nil
}
