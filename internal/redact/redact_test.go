package redact_test

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/redact"
)

func TestL254_ValuesAreMaskedInEveryForm(t *testing.T) {
	t.Parallel()
	const value = `p@ss "word"/<tag>\`
	r := redact.New(value, "hunter2-hunter2", "hunter2-hunter2-longer", "abc")
	escaped, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":                                 "",
		"nothing here":                     "nothing here",
		"x " + value + " y " + value:       "x **** y ****",
		"json " + string(escaped):          `json "****"`,
		"url ?q=" + url.QueryEscape(value): "url ?q=****",
		"path /" + url.PathEscape(value):   "path /****",
		"hunter2-hunter2-longer":           "****", // longest first
		"hunter2-hunter2.":                 "****.",
		"abc":                              "****", // a short value is masked where it is the whole text
		"abcdef":                           "abcdef",
	} {
		if got := r.String(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	basic := base64.StdEncoding.EncodeToString([]byte("user:hunter2-hunter2"))
	if got := r.String("Authorization: Basic " + basic); strings.Contains(got, basic) || !strings.Contains(got, redact.Mask) {
		t.Errorf("basic authentication became %q", got)
	}
}

func TestKeysOfManyLinesAreMaskedLineByLine(t *testing.T) {
	t.Parallel()
	r := redact.New("-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----\n")
	if got := r.String("line 2 is MIIEvQIBADANBg."); got != "line 2 is ****." {
		t.Errorf("got %q", got)
	}
}

func TestM36_ResultsAreMaskedKeysIncluded(t *testing.T) {
	t.Parallel()
	r := redact.New("canary-value", "42", "1234567")
	res := &check.Result{
		Message: "Check failed: canary-value",
		Metadata: check.Metadata{
			Error: "exit with canary-value",
			Collectors: map[string]json.RawMessage{
				"e1": json.RawMessage(`{"_collectorId":"x","stdout":"a canary-value b","canary-value":[{"n":1234567,"m":1.5e3,"k":42,"s":"42","esc":"\u0063anary-value"}]}`),
				"e2": json.RawMessage(`{"n":12345678901234567890}`),
			},
		},
	}
	r.Result(res)
	want := &check.Result{
		Message: "Check failed: ****",
		Metadata: check.Metadata{
			Error: "exit with ****",
			Collectors: map[string]json.RawMessage{
				"e1": json.RawMessage(`{"****":[{"esc":"****","k":"****","m":1.5e3,"n":"****","s":"****"}],"_collectorId":"x","stdout":"a **** b"}`),
				"e2": json.RawMessage(`{"n":"****890****890"}`),
			},
		},
	}
	if diff := cmp.Diff(want, res); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestWithoutValuesNothingIsMasked(t *testing.T) {
	t.Parallel()
	raw := json.RawMessage(`{ "a" : 1 }`)
	for _, r := range []*redact.Redactor{nil, redact.New(), redact.New("")} {
		if !r.Empty() || r.String("****x") != "****x" || string(r.JSON(raw)) != string(raw) {
			t.Error("a redactor without values changes something")
		}
		r.Result(&check.Result{})
	}
}

func TestNoValueIsLeftInJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.StringMatching(`[A-Za-z0-9+/"\\<>é]{4,24}`).Draw(t, "value")
		before, after := rapid.String().Draw(t, "before"), rapid.String().Draw(t, "after")
		raw, err := json.Marshal(map[string]any{"k": before + value + after, value: []string{value}})
		if err != nil {
			t.Fatal(err)
		}
		clean := redact.New(value).JSON(raw)
		var back map[string]any
		if err := json.Unmarshal(clean, &back); err != nil {
			t.Fatalf("no JSON any more: %s", clean)
		}
		for key, v := range back {
			text, _ := v.(string)
			if strings.Contains(key, value) || strings.Contains(text, value) && !strings.Contains(before+redact.Mask+after, value) {
				t.Fatalf("%q is left in %s", value, clean)
			}
		}
	})
}

func BenchmarkResult(b *testing.B) {
	r := redact.New("canary-value-of-some-length", "another-value")
	body := json.RawMessage(`{"_collectorId":"x","stdout":"` + strings.Repeat("some output ", 80) + `"}`)
	b.ReportAllocs()
	for b.Loop() {
		r.Result(&check.Result{Message: "fine", Metadata: check.Metadata{Collectors: map[string]json.RawMessage{"e1": body}}})
	}
}
