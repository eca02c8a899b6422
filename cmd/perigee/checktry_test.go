package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

const pageSpec = `apiVersion: perigee/v1
kind: Check
metadata: {name: page}
spec:
  strategy: healthcheck-http.http
  interval: 1m
  collectors:
    - id: page
      collector: healthcheck-http.request
      config: {url: "https://shop.example/"}
      assertions:
        - {field: statusCode, operator: equals, value: 200}
        - {field: body, jsonPath: $.articles, operator: greaterThan, value: 5}
`

const pageTrial = `{
  "satellite": {"id": "s1", "name": "eu-1", "region": "eu-west"}, "status": "unhealthy", "latencyMs": 42, "connected": true,
  "message": "Check failed: Assertion failed: body $.articles: expected to be greater than 5, got 3",
  "timings": {"connectMs": 1.25, "waitMs": 38}, "executedAt": "2026-11-22T05:00:00Z",
  "collectors": [{
    "id": "page", "collector": "healthcheck-http.request", "status": "unhealthy", "tookMs": 41.2, "fence": "files closed; no network",
    "result": {"statusCode": 200, "body": "{\"articles\":\n 3}"},
    "assertions": [
      {"field": "statusCode", "operator": "equals", "value": 200, "passed": true, "got": "200"},
      {"expression": "result.statusCode < 300", "passed": true, "got": "result.statusCode = 200"},
      {"field": "body", "jsonPath": "$.articles", "operator": "greaterThan", "value": 5, "passed": false, "got": "3", "message": "body $.articles: expected to be greater than 5, got 3"}
    ]
  }]
}`

// A check is tried from a file, and what was found stands in lines that line up.
func TestACheckIsTriedFromAFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "page.yaml")
	if err := os.WriteFile(file, []byte(pageSpec), 0o600); err != nil {
		t.Fatal(err)
	}
	a, core, out := setup(t, "table", map[string]string{"POST /checks/try": pageTrial})
	try := CheckTryCmd{File: file, From: "eu-1", Check: "page"}
	if err := try.Run(t.Context(), a); !errors.Is(err, errDifferent) {
		t.Errorf("it ended with %v", err)
	}
	want := `From          eu-1 (eu-west)
Status        unhealthy
Message       Check failed: Assertion failed: body $.articles: expected to be greater than 5, got 3
Took          42 ms [connect 1.2 ms, wait 38.0 ms]
Collector     page (healthcheck-http.request): unhealthy, 41.2 ms
  fence       files closed; no network
  body        {"articles": 3}
  statusCode  200
  passed      statusCode equals 200, got 200
  passed      result.statusCode < 300, with result.statusCode = 200
  FAILED      body $.articles: expected to be greater than 5, got 3
`
	if diff := gocmp.Diff(want, out.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	sent, _ := core.received("POST /checks/try")
	for _, part := range []string{`"from":"eu-1"`, `"check":"page"`, `"name":"page"`, `"strategy":"healthcheck-http.http"`} {
		if !strings.Contains(sent, part) {
			t.Errorf("the request lacks %s: %s", part, sent)
		}
	}

	a, _, out = setup(t, "json", map[string]string{"POST /checks/try": strings.Replace(pageTrial, `"status": "unhealthy"`, `"status": "healthy"`, 1)})
	if err := try.Run(t.Context(), a); err != nil {
		t.Errorf("a healthy trial ended with %v", err)
	}
	if !strings.Contains(out.String(), `"got": "3"`) {
		t.Errorf("JSON: %s", out)
	}

	// What is wrong with it is told at its place in the file.
	a, _, _ = setup(t, "table", map[string]string{"POST /checks/try": `{"status":422,"title":"x","detail":"the check is not valid","errors":[{"location":"spec.collectors[0].config.url","message":"is not nice"}]}`})
	if err := try.Run(t.Context(), a); err == nil || !strings.Contains(err.Error(), "10:") || !strings.Contains(err.Error(), "is not nice") {
		t.Errorf("a refusal is shown as %v", err)
	}
}
