package check_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
)

var values = map[string]any{
	"system":      map[string]any{"id": "s1", "metadata": map[string]any{"port": 8443.0, "tls": true, "tags": []any{"a"}, "none": nil}},
	"environment": map[string]any{"base-url": "https://prod.example", "empty": ""},
}

func TestFill(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain":                              "plain",
		"{{ environment.base-url }}/healthz": "https://prod.example/healthz",
		"{{environment.base-url}}:{{ system.metadata.port }}":             "https://prod.example:8443",
		"{{ system.metadata.tls }} {{system.metadata.tags}}":              `true ["a"]`,
		"[{{ environment.empty }}]":                                       "[]",
		"${{ secrets.TOKEN }} ${{ system.id }}":                           "${{ secrets.TOKEN }} ${{ system.id }}",
		`{{ name }} {{ user.name }} {{ if .x }} {{}} {{ }} {"a":{"b":1}}`: `{{ name }} {{ user.name }} {{ if .x }} {{}} {{ }} {"a":{"b":1}}`,
	} {
		got, err := check.Fill(text, values)
		if err != nil || got != want {
			t.Errorf("%s became %q (%v), want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"{{ environment.gone }}":         "{{ environment.gone }} has no value in this run",
		"{{ system.metadata.none }}":     "{{ system.metadata.none }} has no value in this run",
		"{{ system.metadata.port.x }}":   "{{ system.metadata.port.x }} has no value in this run",
		"{{ check.name }}":               "{{ check.name }} has no value in this run",
		"{{ system.a }}{{ system.b }}":   "{{ system.a }} has no value in this run",
		"{{ system.id }}{{ system.a.b}}": "{{ system.a.b }} has no value in this run",
	} {
		_, err := check.Fill(text, values)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestHoles(t *testing.T) {
	t.Parallel()
	got := check.Holes("{{ a.b }} ${{ secrets.c }} {{d}} {{ e f }}")
	if diff := cmp.Diff([]string{"a.b", "d"}, got); diff != "" {
		t.Errorf("holes (-want +got):\n%s", diff)
	}
}
