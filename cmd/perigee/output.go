package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/perigee-monitoring/perigee/internal/manifest"
)

// print prints v as JSON or YAML, with the API's names, or as the table that the
// function writes: cells end with a tab, rows with a line break.
func (a *app) print(v any, table func(w *tabwriter.Writer)) error {
	if a.format == "table" {
		var text bytes.Buffer
		w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
		table(w)
		if err := w.Flush(); err != nil {
			return err
		}
		_, err := a.out.Write(trimmed(text.Bytes()))
		return err
	}
	text, err := encoded(v)
	if err != nil {
		return fmt.Errorf("printing the answer: %w", err)
	}
	if a.format == "yaml" {
		return manifest.WriteJSON(a.out, text)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", "  "); err != nil {
		return fmt.Errorf("printing the answer: %w", err)
	}
	_, err = indented.WriteTo(a.out)
	return err
}

// encoded is v as one line of JSON, without the escapes that only HTML needs.
func encoded(v any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return text.Bytes(), err
}

// trimmed takes off the blanks that the last, often empty, cell of a row leaves.
func trimmed(text []byte) []byte {
	lines := bytes.Split(text, []byte("\n"))
	for i := range lines {
		lines[i] = bytes.TrimRight(lines[i], " ")
	}
	return bytes.Join(lines, []byte("\n"))
}

// row writes one row of a table. What a core was told by others may hold anything;
// on a terminal it must be no more than text, and on one line.
func row(w *tabwriter.Writer, cells ...string) {
	for i, c := range cells {
		cells[i] = plain(c)
	}
	fmt.Fprintln(w, strings.Join(cells, "\t"))
}

// plain makes line breaks and tabs blanks, and control characters visible.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			return '�'
		}
		return r
	}, text)
}

// ago is how long before now t was: "5s ago". The zero time is "-".
func (a *app) ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := a.now().Sub(t)
	if d < 0 {
		return "in " + roughly(-d)
	}
	return roughly(d) + " ago"
}

// roughly is the duration in its largest unit.
func roughly(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// instant is a time as --from and --to take it.
func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// value is what p points to, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		return *new(T)
	}
	return *p
}

// pairs are labels as selectors write them, in the order of their keys.
func pairs(labels map[string]string) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		all = append(all, k+"="+labels[k])
	}
	return strings.Join(all, ",")
}

// dash stands for what is not there.
func dash(text string) string { return cmp.Or(text, "-") }

// milliseconds is a latency; "-" when there is none.
func milliseconds(ms *int64) string {
	if ms == nil {
		return "-"
	}
	return fmt.Sprintf("%d ms", *ms)
}
