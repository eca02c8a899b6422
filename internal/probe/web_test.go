package probe

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
)

// site serves documents by path and query, and says 404 for others.
func site(t *testing.T, documents map[string]string, sign func(*http.Request) bool) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sign != nil && !sign(r) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		text, ok := documents[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			text = `{"message":"There is nothing here"}`
		}
		w.Header().Set("X-Jenkins", "2.516.3")
		fmt.Fprint(w, text)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// tryAt is try for strategies whose config is not a host and a port.
func tryAt(t *testing.T, strategy, config string, trials []trial) {
	t.Helper()
	p := New(Options{})
	for _, c := range trials {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			with := config
			if c.more != "" {
				with = strings.TrimSuffix(config, "}") + "," + c.more + "}"
			}
			wantFound(t, p.Execute(t.Context(), assignment(strategy, with, c.collector, c.config), nil, nil), c)
		})
	}
}

func TestJenkins(t *testing.T) {
	t.Parallel()
	against(check.Jenkins, "stand-in", "answers in the form of Jenkins' remote API: Debian, the Go modules and npm have clients alone")
	hour := time.Now().Add(-time.Hour).UnixMilli()
	url := site(t, map[string]string{
		"/ci/api/json":                        `{"_class":"hudson.model.Hudson","mode":"NORMAL","numExecutors":2,"usableWorkers":1,"jobs":[{"name":"a"},{"name":"b"}]}`,
		"/ci/metrics/currentUser/metrics":     `{"version":"4.0.0","gauges":{"vm.count":{"value":61},"vm.uptime.milliseconds":{"value":12179131}},"counters":{}}`,
		"/ci/queue/api/json":                  fmt.Sprintf(`{"items":[{"blocked":true,"inQueueSince":%d},{"buildable":true,"inQueueSince":%d}]}`, hour, hour),
		"/ci/job/team/job/ship%20it/api/json": "",
		"/ci/job/team/job/ship it/api/json": fmt.Sprintf(`{"name":"ship it","buildable":true,"color":"blue","inQueue":false,
			"lastBuild":{"number":7,"result":"SUCCESS","duration":1200,"timestamp":%d},
			"builds":[{"number":7,"result":"SUCCESS","duration":1200},{"number":6,"result":"FAILURE","duration":600},
			{"number":5,"result":"UNSTABLE","duration":900},{"number":4,"result":"ABORTED","duration":100}]}`, hour),
		"/ci/job/broken/api/json":          `{"name":"broken","buildable":true,"color":"red","lastBuild":{"number":3,"result":"FAILURE","duration":5,"timestamp":1}}`,
		"/ci/job/empty/api/json":           `{"name":"empty","buildable":true,"color":"notbuilt","lastBuild":null,"builds":[]}`,
		"/ci/computer/api/json":            `{"busyExecutors":1,"totalExecutors":4,"computer":[{"offline":false},{"offline":true}]}`,
		"/ci/computer/(built-in)/api/json": `{"displayName":"Built-In Node","offline":false,"numExecutors":2,"executors":[{"idle":false},{"idle":true}]}`,
		"/ci/computer/broken/api/json":     `{"displayName":"broken","offline":true,"offlineCauseReason":"disk full","numExecutors":2,"executors":[]}`,
	}, func(r *http.Request) bool {
		user, token, _ := r.BasicAuth()
		return user == "u" && token == "right"
	})
	config := fmt.Sprintf(`{"baseUrl":"%s/ci/","username":"u","apiToken":"right"}`, url)
	tryAt(t, check.Jenkins, config, []trial{
		{"connecting signs in", "", "", "", "", nil},
		{"server", "", check.JenkinsServerInfo, `{}`, "", map[string]any{
			"jenkinsVersion": "2.516.3", "mode": "NORMAL", "numExecutors": 2.0, "usableWorkers": 1.0, "totalJobs": 2.0, "uptime": 3.38,
		}},
		{"queue", "", check.JenkinsQueueInfo, `{}`, "", map[string]any{
			"queueLength": 2.0, "blockedCount": 1.0, "buildableCount": 1.0, "stuckCount": 0.0, "oldestWaitingMs": some, "avgWaitingMs": some,
		}},
		{"job", "", check.JenkinsJobStatus, `{"jobName":"team/ship it"}`, "", map[string]any{
			"jobName": "ship it", "buildable": true, "inQueue": false, "color": "blue", "lastBuildNumber": 7.0, "lastBuildResult": "SUCCESS",
			"lastBuildDurationMs": 1200.0, "lastBuildTimestamp": float64(hour), "timeSinceLastBuildMs": some,
		}},
		{"job alone", "", check.JenkinsJobStatus, `{"jobName":"broken","checkLastBuild":false}`, "", map[string]any{
			"jobName": "broken", "buildable": true, "inQueue": false, "color": "red",
		}},
		{"failed job", "", check.JenkinsJobStatus, `{"jobName":"broken"}`, "Check failed: the last build, 3, ended with FAILURE", map[string]any{
			"jobName": "broken", "buildable": true, "inQueue": false, "color": "red", "lastBuildNumber": 3.0, "lastBuildResult": "FAILURE",
			"lastBuildDurationMs": 5.0, "lastBuildTimestamp": 1.0, "timeSinceLastBuildMs": some,
		}},
		{"no such job", "", check.JenkinsJobStatus, `{"jobName":"gone"}`, "Check failed: there is no job gone, or this user may not see it", nil},
		{"builds", "", check.JenkinsBuildHistory, `{"jobName":"team/ship it"}`, "", map[string]any{
			"totalBuilds": 4.0, "successCount": 1.0, "failureCount": 1.0, "unstableCount": 1.0, "abortedCount": 1.0, "successRate": 25.0,
			"avgDurationMs": 700.0, "minDurationMs": 100.0, "maxDurationMs": 1200.0, "lastSuccessBuildNumber": 7.0, "lastFailureBuildNumber": 6.0,
		}},
		{"no builds", "", check.JenkinsBuildHistory, `{"jobName":"empty"}`, "", map[string]any{
			"totalBuilds": 0.0, "successCount": 0.0, "failureCount": 0.0, "unstableCount": 0.0, "abortedCount": 0.0, "successRate": 0.0,
			"avgDurationMs": 0.0, "minDurationMs": 0.0, "maxDurationMs": 0.0,
		}},
		{"nodes", "", check.JenkinsNodeHealth, `{}`, "Check failed: 1 of 2 nodes are offline", map[string]any{
			"totalNodes": 2.0, "onlineNodes": 1.0, "offlineNodes": 1.0, "busyExecutors": 1.0, "idleExecutors": 3.0, "totalExecutors": 4.0, "executorUtilization": 25.0,
		}},
		{"node", "", check.JenkinsNodeHealth, `{"nodeName":"(built-in)"}`, "", map[string]any{
			"totalNodes": 1.0, "onlineNodes": 1.0, "offlineNodes": 0.0, "busyExecutors": 1.0, "idleExecutors": 1.0, "totalExecutors": 2.0, "executorUtilization": 50.0,
			"nodeDisplayName": "Built-In Node", "nodeOffline": false,
		}},
		{"broken node", "", check.JenkinsNodeHealth, `{"nodeName":"broken"}`, "Check failed: the node is offline: disk full", map[string]any{
			"totalNodes": 1.0, "onlineNodes": 0.0, "offlineNodes": 1.0, "busyExecutors": 0.0, "idleExecutors": 2.0, "totalExecutors": 2.0, "executorUtilization": 0.0,
			"nodeDisplayName": "broken", "nodeOffline": true, "nodeOfflineReason": "disk full",
		}},
	})
	plain := site(t, map[string]string{"/api/json": `{"mode":"EXCLUSIVE","jobs":[]}`}, nil)
	tryAt(t, check.Jenkins, fmt.Sprintf(`{"baseUrl":%q,"username":"u","apiToken":"t"}`, plain), []trial{
		{"without metrics", "", check.JenkinsServerInfo, `{}`, "", map[string]any{
			"jenkinsVersion": "2.516.3", "mode": "EXCLUSIVE", "numExecutors": 0.0, "usableWorkers": 0.0, "totalJobs": 0.0,
		}},
	})
	tryAt(t, check.Jenkins, fmt.Sprintf(`{"baseUrl":"%s/ci/","username":"u","apiToken":"wrong"}`, url), []trial{
		{"wrong token", "", check.JenkinsServerInfo, `{}`, "the server answered 401 Unauthorized", nil},
	})
}

func TestPrometheus(t *testing.T) {
	t.Parallel()
	path := program(t, "prometheus")
	against(check.Prometheus, "program", versionOf(t, path, "--version"))
	dir := t.TempDir()
	s := child(t, func(port int) []string {
		return []string{
			path, "--config.file=" + write(t, dir, "prometheus.yml", "scrape_configs: []\n"), "--storage.tsdb.path=" + filepath.Join(dir, "data"),
			fmt.Sprintf("--web.listen-address=127.0.0.1:%d", port),
		}
	})
	for ready := false; !ready; {
		response, err := http.Get("http://" + s.address() + "/-/ready")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		ready = response.StatusCode == http.StatusOK
	}
	query := func(text string) string {
		config, _ := json.Marshal(map[string]string{"query": text})
		return string(config)
	}
	tryAt(t, check.Prometheus, fmt.Sprintf(`{"baseUrl":"http://%s"}`, s.address()), []trial{
		{"vector", "", check.PrometheusQuery, query("vector(1.5)"), "", map[string]any{
			"value": 1.5, "valueString": "1.5", "resultType": "vector", "seriesCount": 1.0,
		}},
		{"labels", "", check.PrometheusQuery, query(`label_replace(vector(2), "job", "shop", "", "")`), "", map[string]any{
			"value": 2.0, "valueString": "2", "labels": map[string]any{"job": "shop"}, "resultType": "vector", "seriesCount": 1.0,
		}},
		{"scalar", "", check.PrometheusQuery, query("40 + 2"), "", map[string]any{"value": 42.0, "valueString": "42", "resultType": "scalar", "seriesCount": 1.0}},
		{"no number", "", check.PrometheusQuery, query("0 / 0"), "", map[string]any{"valueString": "NaN", "resultType": "scalar", "seriesCount": 1.0}},
		{"nothing", "", check.PrometheusQuery, query("up == 0"), "", map[string]any{"resultType": "vector", "seriesCount": 0.0}},
		{"wrong expression", "", check.PrometheusQuery, query("sum("), "Check failed: the server answered 400 Bad Request: invalid parameter \"query\": …", nil},
		{"ranges", "", check.PrometheusQuery, query("up[5m]"), "Check failed: the query gives ranges; …", map[string]any{"resultType": "matrix", "seriesCount": 0.0}},
	})
	secured := site(t, map[string]string{"/api/v1/query": `{"status":"success","data":{"resultType":"scalar","result":[1,"3"]}}`}, func(r *http.Request) bool {
		return r.Header.Get("Authorization") == "Bearer right"
	})
	tryAt(t, check.Prometheus, fmt.Sprintf(`{"baseUrl":%q}`, secured), []trial{
		{"token", `"token":"right"`, check.PrometheusQuery, query("3"), "", map[string]any{"value": 3.0, "valueString": "3", "resultType": "scalar", "seriesCount": 1.0}},
		{"wrong password", `"username":"u","password":"wrong"`, check.PrometheusQuery, query("3"), "Check failed: the server answered 401 Unauthorized", nil},
	})
}

func TestComposite(t *testing.T) {
	t.Parallel()
	against(check.Composite, "module", "net/http")
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "s1"})
		w.Header().Set("X-Csrf", "c1")
		fmt.Fprint(w, `{"user":{"token":"t1","id":7}}`)
	})
	mux.HandleFunc("GET /users/7", func(w http.ResponseWriter, r *http.Request) {
		cookie, _ := r.Cookie("session")
		if r.Header.Get("Authorization") != "t1" || r.Header.Get("X-Csrf") != "c1" || cookie == nil || cookie.Value != "s1" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprint(w, "balance: 12.50 EUR")
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	login := `{"name":"sign in","method":"POST","url":"` + s.URL + `/login","carry":[{"name":"token","jsonPath":"$.user.token"},{"name":"id","jsonPath":"$.user.id"},{"name":"csrf","header":"X-Csrf"}]}`
	account := `{"name":"account","url":"` + s.URL + `/users/{{ carried.id }}","headers":[{"name":"Authorization","value":"{{ carried.token }}"},{"name":"X-Csrf","value":"{{carried.csrf}}"}],
		"expectText":"EUR","carry":[{"name":"balance","pattern":"balance: ([0-9.]+)"}]}`
	journey := func(steps ...string) string { return `{"steps":[` + strings.Join(steps, ",") + `]}` }
	found := func(passed, status float64, failed, body string, steps ...string) map[string]any {
		want := map[string]any{"success": failed == "", "stepCount": float64(len(steps)), "stepsPassed": passed, "statusCode": status, "body": body, "steps": some}
		if failed != "" {
			want["failedStep"] = failed
		}
		return want
	}
	tryAt(t, check.Composite, `{}`, []trial{
		{"all the way", "", check.CompositeJourney, journey(login, account), "", found(2, 200, "", "balance: 12.50 EUR", login, account)},
		{
			"without signing in", "", check.CompositeJourney, journey(`{"name":"account","url":"`+s.URL+`/users/7"}`, login),
			"Check failed: account: the server answered 403 Forbidden", found(0, 403, "account", "", login, account),
		},
		{
			"another status", "", check.CompositeJourney, journey(`{"name":"none","url":"` + s.URL + `/none","expectStatus":404}`), "",
			found(1, 404, "", "404 page not found\n", login),
		},
		{
			"nothing to carry", "", check.CompositeJourney, journey(strings.Replace(login, "$.user.id", "$.nobody", 1)),
			"Check failed: sign in: id: the body has nothing at $.nobody", found(0, 200, "sign in", `{"user":{"token":"t1","id":7}}`, login),
		},
		{
			"never carried", "", check.CompositeJourney, journey(account),
			"Check failed: account: url: {{ carried.id }} has no value in this run",
			map[string]any{"success": false, "stepCount": 1.0, "stepsPassed": 0.0, "failedStep": "account", "body": "", "steps": some},
		},
		{"no steps", "", check.CompositeJourney, `{"steps":[]}`, "Check failed: the config cannot be used: steps must not be empty", nil},
	})
	r := New(Options{}).Execute(t.Context(), assignment(check.Composite, `{}`, check.CompositeJourney, journey(login, account)), nil, nil)
	var entry check.JourneyResult
	if err := json.Unmarshal(r.Metadata.Collectors["e"], &entry); err != nil {
		t.Fatal(err)
	}
	for i := range entry.Steps {
		entry.Steps[i].ResponseTimeMs = 0
	}
	want := []check.JourneyStepResult{{Name: "sign in", StatusCode: 200}, {Name: "account", StatusCode: 200}}
	if diff := cmp.Diff(want, entry.Steps); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}
