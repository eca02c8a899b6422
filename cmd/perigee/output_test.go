package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/secret"
)

func TestPrint(t *testing.T) {
	t.Parallel()
	v := struct {
		Name  string  `json:"name"`
		Text  string  `json:"text"`
		Big   int64   `json:"big"`
		Tags  []int   `json:"tags"`
		Other *string `json:"other"`
	}{Name: "yes", Text: "a < b & 1", Big: 1 << 60, Tags: []int{}}
	for format, want := range map[string]string{
		"json": `{
  "name": "yes",
  "text": "a < b & 1",
  "big": 1152921504606846976,
  "tags": [],
  "other": null
}
`,
		"yaml": `name: "yes"
text: a < b & 1
big: 1152921504606846976
tags: []
other: null
`,
		"table": "NAME  TEXT\nyes   a < b & 1 �[31m\n",
	} {
		var out bytes.Buffer
		a := &app{out: &out, format: format}
		err := a.print(v, func(w *tabwriter.Writer) {
			row(w, "NAME", "TEXT", "")
			row(w, v.Name, v.Text+"\n\x1b[31m", "")
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
	}
}

func TestPrintReportsAFullDisk(t *testing.T) {
	t.Parallel()
	full := errors.New("no space left on device")
	for _, format := range []string{"table", "json", "yaml"} {
		a := &app{out: failing{full}, format: format}
		err := a.print([]int{1}, func(w *tabwriter.Writer) { row(w, "A") })
		if !errors.Is(err, full) {
			t.Errorf("%s: error %v, want %v", format, err, full)
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestAgo(t *testing.T) {
	t.Parallel()
	a := &app{now: func() time.Time { return now }}
	for _, tt := range []struct {
		before time.Duration
		want   string
	}{
		{0, "0s ago"},
		{59 * time.Second, "59s ago"},
		{119 * time.Second, "1m ago"},
		{47 * time.Hour, "47h ago"},
		{72 * time.Hour, "3d ago"},
		{-5 * time.Minute, "in 5m"},
	} {
		if got := a.ago(now.Add(-tt.before)); got != tt.want {
			t.Errorf("%s before now is %q, want %q", tt.before, got, tt.want)
		}
	}
	if got := a.ago(time.Time{}); got != "-" {
		t.Errorf("never is %q, want -", got)
	}
}

func TestProgressIsForPeopleWhoWait(t *testing.T) {
	t.Parallel()
	clock := now
	var errs bytes.Buffer
	a := &app{errw: &errs, interactive: true, now: func() time.Time { return clock }}
	seen, done := a.progress()
	seen(1000)
	clock = clock.Add(2 * time.Second)
	seen(2000)
	done()
	if got, want := errs.String(), "\r2000 read…\r\x1b[K"; got != want {
		t.Errorf("shown %q, want %q", got, want)
	}
	a.interactive = false
	if seen, done = a.progress(); seen != nil {
		t.Error("progress is shown to nobody")
	}
	done()
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]bool{"y\n": true, "Yes\n": true, "n\n": false, "\n": false, "": false} {
		var errs bytes.Buffer
		a := &app{in: strings.NewReader(answer), errw: &errs, interactive: true}
		if got := a.confirm(false, "Delete it?", "perigee delete --yes") == nil; got != want {
			t.Errorf("the answer %q means %t, want %t", answer, got, want)
		}
		if got, want := errs.String(), "Delete it? [y/N] "; got != want {
			t.Errorf("asked %q, want %q", got, want)
		}
	}
	if err := (&app{errw: io.Discard}).confirm(true, "", ""); err != nil {
		t.Errorf("yes beforehand: %v", err)
	}
}

func TestATokenIsNotShown(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ args, want []string }{
		{[]string{"--token", "s", "x"}, []string{"--token", "…", "x"}},
		{[]string{"serve", "--admin-token=s", "x"}, []string{"serve", "--admin-token=…", "x"}},
		{[]string{"", "x", "it's"}, []string{"''", "x", `'it'\''s'`}},
		{[]string{"--token-file", "f"}, []string{"--token-file", "f"}},
	} {
		if got, want := shown(tt.args), strings.Join(tt.want, " "); got != want {
			t.Errorf("shown(%q) = %s, want %s", tt.args, got, want)
		}
	}
}

func TestMoment(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                          "",
		"15m":                       "2026-11-22T04:45:00Z",
		"2026-11-22T06:00:00+02:00": "2026-11-22T04:00:00Z",
	} {
		if got, err := moment("--from", text, now); err != nil || got != want {
			t.Errorf("moment(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "-5m", "2026-11-22"} {
		var f *failure
		if _, err := moment("--from", text, now); !errors.As(err, &f) || f.code != exitUsage {
			t.Errorf("moment(%q) fails with %v, want a wrong command line", text, err)
		}
	}
}

func TestPlain(t *testing.T) {
	t.Parallel()
	if got, want := plain("a\tb\r\nc\x1b\u202ed é"), fmt.Sprintf("a b  c%c%cd é", '�', '�'); got != want {
		t.Errorf("plain = %q, want %q", got, want)
	}
}

func TestACredentialOfTheCheckIsNamedByItsPlace(t *testing.T) {
	t.Parallel()
	got := leased(secret.Lease{CheckID: "c1", Names: []string{"API_TOKEN@1", "check:c1:strategy:authPassword@2", "check:c2:strategy:x@1"}})
	if want := []string{"API_TOKEN@1", "strategy:authPassword@2", "check:c2:strategy:x@1"}; !slices.Equal(want, got) {
		t.Errorf("got %v, want %v", got, want)
	}
}
