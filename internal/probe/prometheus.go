package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// prometheusSession asks one server.
type prometheusSession struct {
	web
	run  run
	base string
}

func init() { offers[check.Prometheus] = offer{connect: (*Prober).connectPrometheus} }

func (p *Prober) connectPrometheus(_ context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.PrometheusConfig])
	if err != nil {
		return nil, err
	}
	return &prometheusSession{run: r, base: config.BaseURL, web: p.web(timeout(config.Timeout), func(r *http.Request) {
		switch {
		case config.Token != "":
			r.Header.Set("Authorization", "Bearer "+config.Token)
		case config.Username != "" || config.Password != "":
			r.SetBasicAuth(config.Username, config.Password)
		}
	})}, nil
}

// sample is a time and a value: [1700000000.123, "1.5"].
type sample [2]any

func (s sample) text() (string, error) {
	text, ok := s[1].(string)
	if !ok {
		return "", errors.New("the answer is not that of Prometheus' query API: a value is no text")
	}
	return text, nil
}

func (s *prometheusSession) collect(ctx context.Context, _ string, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.PrometheusQueryConfig])
	if err != nil {
		return nil, err
	}
	var told struct {
		Data struct {
			ResultType string          `json:"resultType"`
			Result     json.RawMessage `json:"result"`
		} `json:"data"`
	}
	start := time.Now()
	form := url.Values{"query": {config.Query}, "timeout": {fmt.Sprintf("%dms", s.limit.Milliseconds())}}
	if _, err := s.post(ctx, below(s.base, "/api/v1/query"), form, &told); err != nil {
		return nil, err
	}
	result := &check.PrometheusQueryResult{ResultType: cut(told.Data.ResultType, 100), ResponseTimeMs: precise(time.Since(start))}
	return result, s.read(result, told.Data.Result)
}

// read takes the first value out of what was found.
func (s *prometheusSession) read(result *check.PrometheusQueryResult, raw json.RawMessage) (err error) {
	odd := errors.New("the answer is not that of Prometheus' query API")
	switch result.ResultType {
	case "vector":
		var series []struct {
			Metric map[string]string `json:"metric"`
			Value  sample            `json:"value"`
		}
		if json.Unmarshal(raw, &series) != nil {
			return odd
		}
		if result.SeriesCount = len(series); len(series) == 0 {
			return nil
		}
		result.Labels = s.labels(series[0].Metric)
		result.ValueString, err = series[0].Value.text()
	case "scalar", "string":
		var value sample
		if json.Unmarshal(raw, &value) != nil {
			return odd
		}
		result.SeriesCount = 1
		result.ValueString, err = value.text()
	case "matrix":
		return errors.New("the query gives ranges; what can be judged is a value at one time, such as last_over_time or rate of it")
	default:
		return odd
	}
	result.ValueString = s.run.keep(result.ValueString)
	if n, bad := strconv.ParseFloat(result.ValueString, 64); bad == nil && result.ResultType != "string" && !math.IsNaN(n) && !math.IsInf(n, 0) {
		result.Value = &n
	}
	return err
}

// maxLabels bounds the labels that are kept.
const maxLabels = 64

func (s *prometheusSession) labels(all map[string]string) map[string]string {
	kept := map[string]string{}
	for name, value := range all {
		if len(kept) < maxLabels {
			kept[cut(name, 200)] = cut(value, 500)
		}
	}
	return kept
}
