package httpapi_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden list of routes and the document")

type operation struct {
	OperationID string
	Summary     string
	Tags        []string
	Responses   map[string]struct {
		Content map[string]struct{ Schema json.RawMessage }
	}
}

// The list of routes is the API's promise: a line that goes breaks somebody.
func TestOpenAPIDescribesEveryRoute(t *testing.T) {
	t.Parallel()
	c := setup(t)
	r := c.send(http.MethodGet, "/api/v1/openapi.json", nil)
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]operation
	}
	if err := json.Unmarshal([]byte(r.body), &doc); err != nil || r.status != http.StatusOK {
		t.Fatalf("%d %v", r.status, err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") {
		t.Errorf("openapi = %s", doc.OpenAPI)
	}
	var routes []string
	for path, operations := range doc.Paths {
		for method, op := range operations {
			routes = append(routes, strings.ToUpper(method)+" "+path+" "+op.OperationID)
			if op.Summary == "" || len(op.Tags) == 0 {
				t.Errorf("%s %s has no summary or no tag", method, path)
			}
			described(t, method+" "+path, op)
		}
	}
	slices.SortFunc(routes, func(a, b string) int { return strings.Compare(a[strings.Index(a, " "):], b[strings.Index(b, " "):]) })
	golden := filepath.Join("testdata", "routes.txt")
	got := strings.Join(routes, "\n") + "\n"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("routes (-want +got); run with -update when that is meant:\n%s", diff)
	}
}

// The whole document is beside it, because the types of the web interface are made from it.
func TestOpenAPIDocumentIsWrittenDown(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := json.Indent(&out, []byte(setup(t).send(http.MethodGet, "/api/v1/openapi.json", nil).body), "", " "); err != nil {
		t.Fatal(err)
	}
	golden, got := filepath.Join("testdata", "openapi.json"), out.String()+"\n"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("document (-want +got); run with -update when that is meant:\n%s", diff)
	}
}

// described holds an operation's answers: one that succeeds, with a schema unless
// it has no body, and problems.
func described(t *testing.T, what string, op operation) {
	t.Helper()
	succeeds := false
	for code, response := range op.Responses {
		switch {
		case code == "204":
			succeeds = true
		case strings.HasPrefix(code, "2"):
			succeeds = len(response.Content) == 1
			for _, content := range response.Content {
				succeeds = succeeds && len(content.Schema) > 2
			}
		default:
			problem := response.Content["application/problem+json"].Schema
			if !strings.Contains(string(problem), "schemas/Problem") {
				t.Errorf("%s: answer %s is %s", what, code, problem)
			}
		}
	}
	if !succeeds || len(op.Responses) < 2 {
		t.Errorf("%s: answers = %+v", what, op.Responses)
	}
}
