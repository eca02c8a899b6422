package catalog

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/selector"
	"github.com/perigee-monitoring/perigee/protocol"
)

// Limits of what people may define.
const (
	MaxName        = 200 // characters
	MaxDescription = 4000
	MaxLabels      = 64
	MaxLabelKey    = 100
	MaxLabelValue  = 200
	// MaxNamed is the most satellites that one assignment names; more want a selector.
	MaxNamed = 1000
	// MaxEnvironments is the most environments of one system, and MaxFields the most
	// fields of a system or an environment as JSON, in bytes.
	MaxEnvironments = 64
	MaxFields       = 16 << 10
	// MaxSeats is the most seats of one assignment.
	MaxSeats = protocol.MaxSeats
	// MaxSpec is the largest spec of a check as JSON, in bytes.
	MaxSpec = 256 << 10
	// MaxDocuments is the most documents of one Apply.
	MaxDocuments = 10_000
	// MaxImport is the most things of one Import.
	MaxImport = 200_000
)

// problems gathers what is wrong with one input.
type problems []fault.Field

func (p *problems) add(path string, value any, format string, args ...any) {
	*p = append(*p, fault.Field{Path: path, Message: fmt.Sprintf(format, args...), Value: value})
}

// fault is nil when nothing is wrong.
func (p problems) fault(format string, args ...any) error {
	if len(p) == 0 {
		return nil
	}
	err := fault.New(fault.Invalid, format, args...)
	err.Fields = p
	return err
}

// name checks the name of a definition. People name things as they speak of
// them, so any printable text will do; it stands in URLs and beside ids, so it
// has no slash and does not look like an id.
func (p *problems) name(path, name string) {
	switch n := utf8.RuneCountInString(name); {
	case n == 0:
		p.add(path, nil, "must not be empty")
	case n > MaxName:
		p.add(path, name, "must be at most %d characters", MaxName)
	case strings.TrimSpace(name) != name:
		p.add(path, name, "must not begin or end with a space")
	case !printable(name):
		p.add(path, name, "must be printable text")
	case strings.Contains(name, "/"):
		p.add(path, name, "must not contain a slash")
	case isID(name):
		p.add(path, name, "must not look like an id")
	}
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func (p *problems) description(path, text string) {
	switch {
	case utf8.RuneCountInString(text) > MaxDescription:
		p.add(path, nil, "must be at most %d characters", MaxDescription)
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		p.add(path, nil, "must be valid text")
	}
}

// labelKey is what selectors can name without quotes: app, example.com/tier.
var labelKey = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$`)

func (p *problems) labels(path string, labels map[string]string) {
	if len(labels) > MaxLabels {
		p.add(path, nil, "must be at most %d labels", MaxLabels)
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		switch value := labels[key]; {
		case len(key) > MaxLabelKey || !labelKey.MatchString(key):
			p.add(path+"."+key, nil, "a label's name is 1 to %d letters, digits and ._/- and begins and ends with a letter or digit", MaxLabelKey)
		case utf8.RuneCountInString(value) > MaxLabelValue || !printable(value):
			p.add(path+"."+key, value, "a label's value is printable text of at most %d characters", MaxLabelValue)
		}
	}
}

// policy checks when an assignment's results mean that something is wrong.
func (p *problems) policy(path string, policy check.Policy) {
	for _, wrong := range policy.Validate() {
		p.add(path+"."+wrong.Path, wrong.Value, "%s", wrong.Message)
	}
}

// selector checks where an assignment runs. Whether the named satellites exist
// is for the transaction to say.
func (p *problems) selector(path string, s Selector, includeLocal bool) {
	if len(s.Names) > MaxNamed {
		p.add(path+".names", nil, "must be at most %d names; a selector picks more", MaxNamed)
	}
	text := strings.TrimSpace(s.Selector)
	if text != "" {
		if _, err := selector.Parse(s.Selector); err != nil {
			p.add(path+".selector", s.Selector, "%s", err.Error())
		}
	}
	switch {
	case s.Count < 0 || s.Count > MaxSeats:
		p.add(path+".count", s.Count, "must be from 1 to %d, or 0 for all that match", MaxSeats)
	case s.Count > 0 && text == "":
		p.add(path+".count", s.Count, "counts what a selector picks: give a selector")
	case s.SpreadBy != "" && s.Count == 0:
		p.add(path+".spreadBy", s.SpreadBy, "spreads the seats of a count: give a count")
	case len(s.SpreadBy) > MaxLabelKey || s.SpreadBy != "" && !labelKey.MatchString(s.SpreadBy):
		p.add(path+".spreadBy", s.SpreadBy, "must be the name of a label")
	}
	if !includeLocal && len(s.Names) == 0 && text == "" {
		p.add(path, nil, "names no place to run: give names or a selector, or set includeLocal")
	}
}

// canonical is the form in which a selector is kept; one that cannot be read
// stays as it is.
func (s Selector) canonical() Selector {
	c := Selector{Names: sortedUnique(s.Names), Selector: strings.TrimSpace(s.Selector), Count: s.Count, SpreadBy: s.SpreadBy}
	if sel, err := selector.Parse(c.Selector); err == nil {
		c.Selector = sel.String()
	}
	return c
}

// sortedUnique is nil for no names, so that equal sets are equal values.
func sortedUnique(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}

// taken says that a name, or a pair, is held by another definition.
func taken(path string, value any, format string, args ...any) error {
	err := fault.New(fault.Conflict, format, args...)
	err.Fields = []fault.Field{{Path: path, Message: "is taken", Value: value}}
	return err
}
