package probe

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"

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

func (s *containerSession) collect(ctx context.Context, id string, _ json.RawMessage) (any, error) {
	if id == check.ContainerStats {
		return s.stats(ctx)
	}
	var told struct {
		State struct {
			Status    string
			Running   bool
			OOMKilled bool
			ExitCode  int
			Health    *struct{ Status string }
		}
		RestartCount int
	}
	_, err := s.get(ctx, below(s.base, "/containers/"+s.name+"/json"), &told)
	if answered(err) == http.StatusNotFound {
		return &check.ContainerStatusResult{}, nil
	}
	if err != nil {
		return nil, err
	}
	result := &check.ContainerStatusResult{
		Exists: true, Running: &told.State.Running, State: cut(told.State.Status, 100), Health: "none",
		ExitCode: &told.State.ExitCode, RestartCount: &told.RestartCount, OOMKilled: &told.State.OOMKilled,
	}
	if h := told.State.Health; h != nil && h.Status != "" {
		result.Health = strings.ToLower(cut(h.Status, 100))
	}
	return result, nil
}

// cpuStats are counters since the container began, in nanoseconds.
type cpuStats struct {
	CPUUsage struct {
		TotalUsage float64 `json:"total_usage"`
	} `json:"cpu_usage"`
	SystemUsage float64 `json:"system_cpu_usage"`
	OnlineCPUs  float64 `json:"online_cpus"`
}

// stats asks once; the runtime takes a second or two, because it measures over one.
func (s *containerSession) stats(ctx context.Context) (any, error) {
	var told struct {
		CPU    cpuStats `json:"cpu_stats"`
		Before cpuStats `json:"precpu_stats"`
		Memory struct {
			Usage float64            `json:"usage"`
			Limit float64            `json:"limit"`
			Stats map[string]float64 `json:"stats"`
		} `json:"memory_stats"`
	}
	_, err := s.get(ctx, below(s.base, "/containers/"+s.name+"/stats?stream=false"), &told)
	if answered(err) == http.StatusNotFound {
		return nil, errors.New("there is no such container")
	}
	if err != nil {
		return nil, err
	}
	result := &check.ContainerStatsResult{}
	used, all := told.CPU.CPUUsage.TotalUsage-told.Before.CPUUsage.TotalUsage, told.CPU.SystemUsage-told.Before.SystemUsage
	if told.Before.SystemUsage > 0 && all > 0 && used >= 0 {
		share := hundredths(used / all * max(told.CPU.OnlineCPUs, 1) * 100)
		result.CPUPercent = &share
	}
	if usage := told.Memory.Usage; usage > 0 {
		// The page cache is given back when somebody needs memory: cgroups v2, then v1.
		for _, name := range []string{"inactive_file", "total_inactive_file"} {
			if cache, ok := told.Memory.Stats[name]; ok && cache < usage {
				usage -= cache
				break
			}
		}
		result.MemoryUsageBytes = &usage
		if limit := told.Memory.Limit; limit > 0 {
			share := percent(usage, limit)
			result.MemoryLimitBytes, result.MemoryPercent = &limit, &share
		}
	}
	return result, nil
}
