// Package selector picks things by their labels, in the notation that people
// know from Kubernetes:
//
//	region in (eu, us), tier!=test, gpu, !old, name=eu-1
//
// Requirements are joined by commas and all of them must hold:
//
//	key            the label is there, whatever its value
//	!key           the label is not there
//	key = v        it is there and has the value ("==" is the same)
//	key != v       it is absent or has another value
//	key in (a, b)  it is there and has one of the values
//	key notin (a)  it is absent or has none of the values
//
// Keys and values are words of letters, digits and ._-/:@+ in any language;
// anything else stands in double quotes, where \" and \\ are escapes:
// name="Frankfurt (2)". There is no selector of everything: an empty text is an
// error, because nothing written must not mean everywhere.
package selector

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// MaxLength bounds the text of a selector in bytes.
const MaxLength = 4096

// Selector is a parsed selector. The zero value matches nothing.
type Selector struct {
	requirements []requirement // canonical: sorted, without duplicates
}

type operator string

const (
	exists operator = "exists"
	absent operator = "!"
	in     operator = "in"
	notIn  operator = "notin"
)

// requirement is one condition. Equality is membership of a set of one.
type requirement struct {
	key    string
	op     operator
	values []string // sorted, without duplicates; nil for exists and absent
}

// Error says where a selector is wrong.
type Error struct {
	// Column counts characters from 1.
	Column  int
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("column %d: %s", e.Column, e.Message) }

// Parse reads a selector. Every error is an *Error.
func Parse(text string) (Selector, error) {
	if len(text) > MaxLength {
		return Selector{}, &Error{Column: 1, Message: fmt.Sprintf("a selector has at most %d bytes", MaxLength)}
	}
	p := parser{text: []rune(text)}
	requirements, err := p.selector()
	if err != nil {
		return Selector{}, err
	}
	slices.SortFunc(requirements, compare)
	requirements = slices.CompactFunc(requirements, func(a, b requirement) bool { return compare(a, b) == 0 })
	return Selector{requirements: requirements}, nil
}

func compare(a, b requirement) int {
	return cmp.Or(strings.Compare(a.key, b.key), strings.Compare(string(a.op), string(b.op)), slices.Compare(a.values, b.values))
}

// Matches reports whether all requirements hold for the labels.
func (s Selector) Matches(labels map[string]string) bool {
	for _, r := range s.requirements {
		if !r.matches(labels) {
			return false
		}
	}
	return len(s.requirements) > 0
}

func (r requirement) matches(labels map[string]string) bool {
	value, ok := labels[r.key]
	switch r.op {
	case exists:
		return ok
	case absent:
		return !ok
	case in:
		return ok && slices.Contains(r.values, value)
	default:
		return !ok || !slices.Contains(r.values, value)
	}
}

// String is the canonical text: selectors that differ in spacing, order or
// repetition only have the same. It parses to the same selector.
func (s Selector) String() string {
	texts := make([]string, len(s.requirements))
	for i, r := range s.requirements {
		texts[i] = r.String()
	}
	return strings.Join(texts, ", ")
}

func (r requirement) String() string {
	key := quote(r.key)
	switch {
	case r.op == exists:
		return key
	case r.op == absent:
		return "!" + key
	case r.op == in && len(r.values) == 1:
		return key + "=" + quote(r.values[0])
	case r.op == notIn && len(r.values) == 1:
		return key + "!=" + quote(r.values[0])
	}
	values := make([]string, len(r.values))
	for i, v := range r.values {
		values[i] = quote(v)
	}
	return key + " " + string(r.op) + " (" + strings.Join(values, ", ") + ")"
}

func quote(word string) string {
	bare := word != "" && word != string(in) && word != string(notIn) && !strings.ContainsFunc(word, func(r rune) bool { return !isWord(r) })
	if bare {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}
