package manifest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/manifest"
)

func TestParse(t *testing.T) {
	t.Parallel()
	got := manifest.Documents(parseFile(t, "testdata/shop.yaml"))

	want := []catalog.Document{
		{
			APIVersion: "perigee/v1", Kind: "System",
			Metadata: catalog.Metadata{Name: "shop", Labels: map[string]string{"env": "prod", "app.kubernetes.io/name": "shop"}},
			Spec:     json.RawMessage(`{"description":"The shop"}`),
		},
		{
			APIVersion: "perigee/v1", Kind: "Check",
			Metadata: catalog.Metadata{Name: "front"},
			Spec: json.RawMessage(`{"strategy":"healthcheck-http.http","config":{"timeout":5000},"interval":"10s",` +
				`"collectors":[{"id":"root","collector":"healthcheck-http.request","config":{"url":"http://127.0.0.1:8081/"},` +
				`"assertions":[{"field":"statusCode","operator":"equals","value":200}]}]}`),
		},
		{
			APIVersion: "perigee/v1", Kind: "Assignment",
			Metadata: catalog.Metadata{Name: "front-shop"},
			Spec:     json.RawMessage(`{"check":"front","system":"shop","includeLocal":false,"satellites":{"names":["eu-1","eu-2"]}}`),
		},
	}
	if diff := cmp.Diff(want, got, rawJSON, plain); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
}

func TestLocate(t *testing.T) {
	t.Parallel()
	docs := parseFile(t, "testdata/shop.yaml")
	tests := []struct {
		doc  int
		path string
		want string
	}{
		{0, "", "2:1"},
		{0, "metadata.labels.env", "4:33"},
		{0, "metadata.labels.app.kubernetes.io/name", "4:44"}, // a key with dots
		{1, "kind", "8:1"},
		{1, "spec.collectors[0]", "15:7"},
		{1, "spec.collectors[0].config.url", "17:16"},
		{1, "spec.collectors[0].config.method", "17:7"}, // absent: its nearest ancestor
		{1, "spec.collectors[0].assertions[0].value", "18:58"},
		{1, "spec.collectors[7].config.url", "14:3"},
		{1, "spec.collectors[x", "14:3"},
		{1, "spec.interval.seconds", "13:3"},
		{1, "nonsense", "7:1"},
		{2, "spec.satellites.names[1]", "29:30"},
	}
	for _, tt := range tests {
		line, column := docs[tt.doc].Locate(tt.path)
		if got := fmt.Sprintf("%d:%d", line, column); got != tt.want {
			t.Errorf("Locate(%d, %q) = %s, want %s", tt.doc, tt.path, got, tt.want)
		}
	}
}

func TestParseAnchors(t *testing.T) {
	t.Parallel()
	docs := parse(t, `
apiVersion: perigee/v1
kind: Check
metadata: {name: front}
spec:
  config: &slow
    timeout: 5000
    follow: true
  collectors:
    - config:
        <<: *slow
        timeout: 100
    - *slow
    - config: {<<: [{a: 1}, {a: 2, b: 2}]}
`)
	want := `{"config":{"timeout":5000,"follow":true},"collectors":[{"config":{"timeout":100,"follow":true}},{"timeout":5000,"follow":true},{"config":{"a":1,"b":2}}]}`
	if got := string(docs[0].Spec); got != want {
		t.Errorf("spec\n got %s\nwant %s", got, want)
	}
	for path, want := range map[string]string{
		"spec.collectors[0].config.timeout": "12:9",
		"spec.collectors[0].config.follow":  "8:5", // where it is written
		"spec.collectors[1].timeout":        "7:5",
		"spec.collectors[2].config.b":       "14:36",
	} {
		line, column := docs[0].Locate(path)
		if got := fmt.Sprintf("%d:%d", line, column); got != want {
			t.Errorf("Locate(%q) = %s, want %s", path, got, want)
		}
	}
}

func TestParseScalars(t *testing.T) {
	t.Parallel()
	docs := parse(t, `
apiVersion: perigee/v1
kind: System
metadata: {name: "007"}
spec: {int: 12, big: 18446744073709551616, hex: 0x1F, float: 1.50, exp: 1e3, yes: yes, on: true,
  none: ~, date: 2026-01-02, text: "12", 200: ok, ? "quoted" : x, tagged: !!str 5}
`)
	want := `{"int":12,"big":18446744073709551616,"hex":31,"float":1.50,"exp":1e3,"yes":"yes","on":true,` +
		`"none":null,"date":"2026-01-02","text":"12","200":"ok","quoted":"x","tagged":"5"}`
	if got := string(docs[0].Spec); got != want {
		t.Errorf("spec\n got %s\nwant %s", got, want)
	}
}

func TestParseMistakes(t *testing.T) {
	t.Parallel()
	const head = "apiVersion: perigee/v1\nkind: System\nmetadata: {name: shop}\n"
	tests := []struct {
		name, text string
		want       []string
	}{
		{"syntax", head + "spec: {a: 1\n", []string{"f.yaml:4:1: did not find expected ',' or '}'"}},
		{"tab", head + "spec:\n\ta: 1\n", []string{"f.yaml:5:1: found character that cannot start any token"}},
		{"tab after text", head + "spec:\n  a: b\n\n \tc: d\n", []string{"f.yaml:7:2: found a tab character that violates indentation"}},
		{"list", "- a\n- b\n", []string{"f.yaml:1:1: a document is a mapping with apiVersion, kind, metadata and spec"}},
		{"twice", head + "spec:\n  a: 1\n  b: {c: 1, c: 2}\n  a: 3\n", []string{
			"f.yaml:6:13: spec.b.c: is given twice, first in line 6",
			"f.yaml:7:3: spec.a: is given twice, first in line 5",
		}},
		{"unknown fields", head + "specs: {}\n", []string{"f.yaml:4:1: specs: is not known here; there are apiVersion, kind, metadata, spec"}},
		{"empty mapping", "{}", []string{
			"f.yaml:1:1: apiVersion: is missing; it is perigee/v1",
			"f.yaml:1:1: kind: is missing; it is System, Check, Assignment, Maintenance, Satellite or Automation",
			"f.yaml:1:1: metadata: is missing; a document needs metadata: {name: …}",
		}},
		{"wrong words", "apiVersion: v1\nkind: Systm\nmetadata: {nam: shop, labels: [a]}\nspec: text\n", []string{
			`f.yaml:1:1: apiVersion: is "v1"; it must be perigee/v1`,
			`f.yaml:2:1: kind: is "Systm"; it must be System, Check, Assignment, Maintenance, Satellite or Automation`,
			"f.yaml:3:1: metadata.name: is missing",
			"f.yaml:3:12: metadata.nam: is not known here; there are name, labels",
			"f.yaml:3:23: metadata.labels: must be a mapping such as {env: prod}",
			"f.yaml:4:1: spec: must be a mapping",
		}},
		{"wrong types", "apiVersion: 1\nkind: [System]\nmetadata: {name: 7, labels: {a: 1, b: x}}\n", []string{
			"f.yaml:1:1: apiVersion: must be perigee/v1",
			"f.yaml:2:1: kind: must be System, Check, Assignment, Maintenance, Satellite or Automation",
			"f.yaml:3:12: metadata.name: must be text; put it in quotes",
			"f.yaml:3:30: metadata.labels.a: must be text; put it in quotes",
		}},
		{"values", head + "spec:\n  a: .inf\n  b: !!binary aGk=\n  c: !mine x\n  ? [a]\n  : b\n  d: !!set {x}\n", []string{
			"f.yaml:5:6: spec.a: .inf is not a number that can be sent",
			"f.yaml:6:6: spec.b: has the tag !!binary, which means nothing here",
			"f.yaml:7:6: spec.c: has the tag !mine, which means nothing here",
			"f.yaml:8:5: spec: a key must be text",
			"f.yaml:10:6: spec.d: has the tag !!set, which means nothing here",
		}},
		{"unknown anchor", head + "spec: {a: *b}\n", []string{"f.yaml:4:11: unknown anchor 'b' referenced"}},
		{"endless", head + "spec: &a {b: *a}\n", []string{
			"f.yaml:4:7: spec" + strings.Repeat(".b", 32) + ": is nested more than 64 deep",
		}},
		{"merge of text", head + "spec: {<<: text}\n", []string{"f.yaml:4:12: spec: << needs a mapping or a list of mappings"}},
		{"two documents", "kind: System\n---\nmetadata: []\n", []string{
			"f.yaml:1:1: apiVersion: is missing; it is perigee/v1",
			"f.yaml:1:1: metadata: is missing; a document needs metadata: {name: …}",
			"f.yaml:3:1: apiVersion: is missing; it is perigee/v1",
			"f.yaml:3:1: kind: is missing; it is System, Check, Assignment, Maintenance, Satellite or Automation",
			"f.yaml:3:1: metadata: must be a mapping such as {name: …}",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := manifest.Parse("f.yaml", strings.NewReader(tt.text))
			mistakes, ok := manifest.AsErrors(err)
			if !ok {
				t.Fatalf("error is %v, not Errors", err)
			}
			if diff := cmp.Diff(tt.want, strings.Split(mistakes.Error(), "\n")); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}

// An alias bomb is refused after a bounded amount of work.
func TestParseBomb(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("apiVersion: perigee/v1\nkind: System\nmetadata: {name: bomb}\nspec:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 30; i++ {
		fmt.Fprintf(&b, "  a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	_, err := manifest.Parse("bomb.yaml", strings.NewReader(b.String()))
	if err == nil || !strings.Contains(err.Error(), "holds more than 1000000 values") {
		t.Errorf("error is %.200v", err)
	}
}

func TestParseTooLarge(t *testing.T) {
	t.Parallel()
	_, err := manifest.Parse("big.yaml", strings.NewReader(strings.Repeat("# nothing\n", manifest.MaxBytes/10+1)))
	if got, want := fmt.Sprint(err), "big.yaml:1:1: is larger than 16 MiB; split it into several files"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	if err := manifest.Write(&got, manifest.Documents(parseFile(t, "testdata/shop.yaml"))); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/shop.written.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

func TestWriteTextsThatYAMLWouldChange(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", " ", "yes", "true", "null", "~", "12", "0x1f", "1e3", ".inf", "2026-01-02", "<<", "a: b", "# no", "-", "- a",
		"12:30:45", "two\nlines", "two\nlines\n", "\nfirst", "last\n\n", "a\n\nb", " in\nout", "trail \nx", "tab\tx", "tab\n\tx", "\x00\x1b[31m",
		"\u2028", "ä ö", "\ufeff", "'", `"`, "*a", "&a", "!x", "%", "@", "`", "a #b", "? x", "{a}", "[a]", "---", "...", "a\r\nb", "\u0085",
	} {
		spec, err := json.Marshal(map[string]any{"text": text, "list": []string{text}, text: 1})
		if err != nil {
			t.Fatal(err)
		}
		requireRoundTrip(t, []catalog.Document{{APIVersion: "perigee/v1", Kind: "Check", Metadata: catalog.Metadata{Name: "x"}, Spec: spec}})
	}
}

func requireRoundTrip(t *testing.T, docs []catalog.Document) {
	t.Helper()
	var text bytes.Buffer
	if err := manifest.Write(&text, docs); err != nil {
		t.Fatalf("writing %v: %v", docs, err)
	}
	back, err := manifest.Parse("written.yaml", bytes.NewReader(text.Bytes()))
	if err != nil {
		t.Fatalf("reading what was written: %v\n%s", err, text.String())
	}
	if diff := cmp.Diff(docs, manifest.Documents(back), rawJSON, plain, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("what was written reads differently (-wrote +read):\n%s\n%s", diff, text.String())
	}
}

func FuzzParse(f *testing.F) {
	shop, err := os.ReadFile("testdata/shop.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(shop)
	const head = "apiVersion: perigee/v1\nkind: Check\nmetadata: {name: x, labels: {a.b/c: '1'}}\nspec: "
	for _, spec := range []string{
		"{a: &a [1, 2.50, ~], b: *a}", "{<<: {a: 1}}", "|\n  text\n", "{a: &x {b: *x}}", "!!binary x", "{a: 0o17, b: .nan, c: 1_000, d: 0b1}",
		"{? a : b}", "{a: \"\\u2028\\0\"}", "{a: >-\n  folded\n   text\n\n}",
	} {
		f.Add([]byte(head + spec))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		docs, err := manifest.Parse("f.yaml", bytes.NewReader(text))
		if err != nil {
			if _, ok := manifest.AsErrors(err); !ok {
				t.Fatalf("error is no Errors: %v", err)
			}
			return
		}
		for _, d := range docs {
			d.Locate("spec.a.b[3].c")
			d.Locate("[0]..")
		}
		requireRoundTrip(t, manifest.Documents(docs))
	})
}

var plain = cmpopts.IgnoreUnexported(catalog.Document{})

// rawJSON compares JSON texts by what they say, numbers by their digits.
var rawJSON = cmp.Transformer("json", func(raw json.RawMessage) any {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return string(raw)
	}
	return value
})

func parseFile(t *testing.T, name string) []manifest.Doc {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	docs, err := manifest.Parse(name, f)
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

func parse(t *testing.T, text string) []manifest.Doc {
	t.Helper()
	docs, err := manifest.Parse("f.yaml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return docs
}
