package probe

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// jenkinsSession asks one server. Of each document only the fields that count are asked for.
type jenkinsSession struct {
	web
	run  run
	base string
}

func init() { offers[check.Jenkins] = offer{connect: (*Prober).connectJenkins} }

func (p *Prober) connectJenkins(ctx context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.JenkinsConfig])
	if err != nil {
		return nil, err
	}
	s := &jenkinsSession{run: r, base: config.BaseURL, web: p.web(timeout(config.Timeout), func(r *http.Request) {
		r.SetBasicAuth(config.Username, config.APIToken)
	})}
	if _, err := s.ask(ctx, "", "mode", nil); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// ask gets fields of the document of a path.
func (s *jenkinsSession) ask(ctx context.Context, path, tree string, into any) (http.Header, error) {
	return s.get(ctx, below(s.base, path+"/api/json?tree="+url.QueryEscape(tree)), into)
}

func (s *jenkinsSession) collect(ctx context.Context, id string, raw json.RawMessage) (any, error) {
	switch id {
	case check.JenkinsServerInfo:
		return s.server(ctx)
	case check.JenkinsQueueInfo:
		return s.queue(ctx)
	case check.JenkinsJobStatus:
		return s.job(ctx, raw)
	case check.JenkinsBuildHistory:
		return s.builds(ctx, raw)
	}
	config, err := configure(s.run, raw, check.Decode[check.JenkinsNodeHealthConfig])
	if err != nil {
		return nil, err
	}
	if config.NodeName != "" {
		return s.node(ctx, config.NodeName)
	}
	return s.nodes(ctx)
}

func (s *jenkinsSession) server(ctx context.Context) (any, error) {
	var told struct {
		Mode          string     `json:"mode"`
		NumExecutors  int        `json:"numExecutors"`
		UsableWorkers int        `json:"usableWorkers"`
		Jobs          []struct{} `json:"jobs"`
	}
	header, err := s.ask(ctx, "", "mode,numExecutors,usableWorkers,jobs[name]", &told)
	if err != nil {
		return nil, err
	}
	uptime, err := s.uptime(ctx)
	if err != nil {
		return nil, err
	}
	return &check.JenkinsServerInfoResult{
		Uptime: uptime, JenkinsVersion: cut(cmp.Or(header.Get("X-Jenkins"), "unknown"), 100), Mode: cut(cmp.Or(told.Mode, "NORMAL"), 100),
		NumExecutors: told.NumExecutors, UsableWorkers: told.UsableWorkers, TotalJobs: len(told.Jobs),
	}, nil
}

// uptime is how many hours the server runs, nil where it does not tell this user: only
// its Metrics plugin knows, and only those who may view metrics are told.
func (s *jenkinsSession) uptime(ctx context.Context) (*float64, error) {
	var told struct {
		Gauges struct {
			Uptime *struct {
				Value float64 `json:"value"`
			} `json:"vm.uptime.milliseconds"`
		} `json:"gauges"`
	}
	_, err := s.get(ctx, below(s.base, "/metrics/currentUser/metrics"), &told)
	if code := answered(err); code == http.StatusNotFound || code == http.StatusForbidden || err == nil && told.Gauges.Uptime == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("asking how long the server runs: %w", err)
	}
	hours := hundredths(told.Gauges.Uptime.Value / float64(time.Hour/time.Millisecond))
	return &hours, nil
}

func (s *jenkinsSession) queue(ctx context.Context) (any, error) {
	var told struct {
		Items []struct {
			Blocked      bool    `json:"blocked"`
			Buildable    bool    `json:"buildable"`
			Stuck        bool    `json:"stuck"`
			InQueueSince float64 `json:"inQueueSince"`
		} `json:"items"`
	}
	if _, err := s.ask(ctx, "/queue", "items[blocked,buildable,stuck,inQueueSince]", &told); err != nil {
		return nil, err
	}
	result, now, sum := &check.JenkinsQueueInfoResult{QueueLength: len(told.Items)}, float64(time.Now().UnixMilli()), 0.0
	for _, item := range told.Items {
		result.BlockedCount += one(item.Blocked)
		result.BuildableCount += one(item.Buildable)
		result.StuckCount += one(item.Stuck)
		waiting := max(0, now-item.InQueueSince)
		result.OldestWaitingMs = max(result.OldestWaitingMs, waiting)
		sum += waiting
	}
	if n := len(told.Items); n > 0 {
		result.AvgWaitingMs = math.Round(sum / float64(n))
	}
	if result.StuckCount > 0 {
		return result, fmt.Errorf("%d of %d builds in the queue are stuck", result.StuckCount, result.QueueLength)
	}
	return result, nil
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}

// jobPath is the path of a job, each of whose folders is a job too.
func jobPath(name string) string {
	var path strings.Builder
	for part := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		path.WriteString("/job/" + url.PathEscape(part))
	}
	return path.String()
}

// jenkinsBuild is one build; the result is absent while it runs.
type jenkinsBuild struct {
	Number    int     `json:"number"`
	Result    string  `json:"result"`
	Duration  float64 `json:"duration"`
	Timestamp float64 `json:"timestamp"`
}

func (s *jenkinsSession) job(ctx context.Context, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.JenkinsJobStatusConfig])
	if err != nil {
		return nil, err
	}
	var told struct {
		Name      string        `json:"name"`
		Buildable bool          `json:"buildable"`
		Color     string        `json:"color"`
		InQueue   bool          `json:"inQueue"`
		LastBuild *jenkinsBuild `json:"lastBuild"`
	}
	if _, err := s.ask(ctx, jobPath(config.JobName), "name,buildable,color,inQueue,lastBuild[number,result,duration,timestamp]", &told); err != nil {
		return nil, noJob(err, config.JobName)
	}
	result := &check.JenkinsJobStatusResult{
		JobName: cut(cmp.Or(told.Name, config.JobName), 300), Buildable: told.Buildable, InQueue: told.InQueue, Color: cut(cmp.Or(told.Color, "notbuilt"), 100),
	}
	last := told.LastBuild
	if !config.CheckLastBuild || last == nil {
		return result, nil
	}
	result.LastBuildNumber, result.LastBuildResult = &last.Number, cut(cmp.Or(last.Result, "UNKNOWN"), 100)
	result.LastBuildDurationMs, result.LastBuildTimestamp = &last.Duration, &last.Timestamp
	if last.Timestamp > 0 {
		since := max(0, float64(time.Now().UnixMilli())-last.Timestamp)
		result.TimeSinceLastBuildMs = &since
	}
	if last.Result == "FAILURE" || last.Result == "ABORTED" {
		return result, fmt.Errorf("the last build, %d, ended with %s", last.Number, last.Result)
	}
	return result, nil
}

func noJob(err error, name string) error {
	if answered(err) == http.StatusNotFound {
		return fmt.Errorf("there is no job %s, or this user may not see it", cut(name, 200))
	}
	return err
}

func (s *jenkinsSession) builds(ctx context.Context, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.JenkinsBuildHistoryConfig])
	if err != nil {
		return nil, err
	}
	var told struct {
		Builds []jenkinsBuild `json:"builds"`
	}
	tree := "builds[number,result,duration,timestamp]{0," + strconv.Itoa(config.BuildCount) + "}"
	if _, err := s.ask(ctx, jobPath(config.JobName), tree, &told); err != nil {
		return nil, noJob(err, config.JobName)
	}
	result, sum := &check.JenkinsBuildHistoryResult{TotalBuilds: len(told.Builds)}, 0.0
	for i, b := range told.Builds {
		switch b.Result {
		case "SUCCESS":
			result.SuccessCount++
			if result.LastSuccessBuildNumber == nil {
				result.LastSuccessBuildNumber = &b.Number
			}
		case "FAILURE":
			result.FailureCount++
			if result.LastFailureBuildNumber == nil {
				result.LastFailureBuildNumber = &b.Number
			}
		case "UNSTABLE":
			result.UnstableCount++
		case "ABORTED":
			result.AbortedCount++
		}
		if i == 0 || b.Duration < result.MinDurationMs {
			result.MinDurationMs = b.Duration
		}
		result.MaxDurationMs = max(result.MaxDurationMs, b.Duration)
		sum += b.Duration
	}
	if n := float64(len(told.Builds)); n > 0 {
		result.SuccessRate, result.AvgDurationMs = math.Round(float64(result.SuccessCount)/n*100), math.Round(sum/n)
	}
	return result, nil
}

func (s *jenkinsSession) node(ctx context.Context, name string) (any, error) {
	var told struct {
		DisplayName string `json:"displayName"`
		Offline     bool   `json:"offline"`
		Reason      string `json:"offlineCauseReason"`
		Executors   []struct {
			Idle bool `json:"idle"`
		} `json:"executors"`
		NumExecutors int `json:"numExecutors"`
	}
	_, err := s.ask(ctx, "/computer/"+url.PathEscape(name), "displayName,offline,offlineCauseReason,numExecutors,executors[idle]", &told)
	if answered(err) == http.StatusNotFound {
		return nil, fmt.Errorf("there is no node %s, or this user may not see it", cut(name, 200))
	}
	if err != nil {
		return nil, err
	}
	result := &check.JenkinsNodeHealthResult{
		TotalNodes: 1, OnlineNodes: one(!told.Offline), OfflineNodes: one(told.Offline), TotalExecutors: told.NumExecutors,
		NodeDisplayName: cut(told.DisplayName, 300), NodeOffline: &told.Offline, NodeOfflineReason: cut(told.Reason, 500),
	}
	for _, e := range told.Executors {
		result.BusyExecutors += one(!e.Idle && !told.Offline)
	}
	utilize(result)
	if told.Offline {
		return result, fmt.Errorf("the node is offline: %s", cmp.Or(result.NodeOfflineReason, "no reason is given"))
	}
	return result, nil
}

func utilize(r *check.JenkinsNodeHealthResult) {
	r.IdleExecutors = max(0, r.TotalExecutors-r.BusyExecutors)
	if r.TotalExecutors > 0 {
		r.ExecutorUtilization = math.Round(float64(r.BusyExecutors) / float64(r.TotalExecutors) * 100)
	}
}

func (s *jenkinsSession) nodes(ctx context.Context) (any, error) {
	var told struct {
		Busy      int `json:"busyExecutors"`
		Total     int `json:"totalExecutors"`
		Computers []struct {
			Offline bool `json:"offline"`
		} `json:"computer"`
	}
	if _, err := s.ask(ctx, "/computer", "busyExecutors,totalExecutors,computer[offline]", &told); err != nil {
		return nil, err
	}
	if len(told.Computers) == 0 {
		return nil, errors.New("the server has no nodes, or this user may not see them")
	}
	result := &check.JenkinsNodeHealthResult{TotalNodes: len(told.Computers), BusyExecutors: told.Busy, TotalExecutors: told.Total}
	for _, c := range told.Computers {
		result.OfflineNodes += one(c.Offline)
	}
	result.OnlineNodes = result.TotalNodes - result.OfflineNodes
	utilize(result)
	if result.OfflineNodes > 0 {
		return result, fmt.Errorf("%d of %d nodes are offline", result.OfflineNodes, result.TotalNodes)
	}
	return result, nil
}
