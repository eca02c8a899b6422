package selector

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// parser reads a selector from left to right; pos is the next character.
type parser struct {
	text []rune
	pos  int
}

func (p *parser) selector() ([]requirement, error) {
	var all []requirement
	for {
		r, err := p.requirement()
		if err != nil {
			return nil, err
		}
		all = append(all, r)
		p.space()
		if p.pos == len(p.text) {
			return all, nil
		}
		if !p.take(",") {
			return nil, p.expected("a comma")
		}
	}
}

func (p *parser) requirement() (requirement, error) {
	if p.take("!") {
		key, err := p.word("a label name after !")
		return requirement{key: key, op: absent}, err
	}
	key, err := p.word("a label name")
	if err != nil {
		return requirement{}, err
	}
	switch {
	case p.take("!="):
		return p.one(key, notIn)
	case p.take("=="), p.take("="):
		return p.one(key, in)
	case p.takeWord(string(in)):
		return p.set(key, in)
	case p.takeWord(string(notIn)):
		return p.set(key, notIn)
	}
	return requirement{key: key, op: exists}, nil
}

// one reads a single value.
func (p *parser) one(key string, op operator) (requirement, error) {
	value, err := p.word("a value")
	return requirement{key: key, op: op, values: []string{value}}, err
}

// set reads values in parentheses.
func (p *parser) set(key string, op operator) (requirement, error) {
	if !p.take("(") {
		return requirement{}, p.expected("( after " + string(op))
	}
	var values []string
	for {
		value, err := p.word("a value")
		if err != nil {
			return requirement{}, err
		}
		values = append(values, value)
		if p.take(")") {
			break
		}
		if !p.take(",") {
			return requirement{}, p.expected("a comma or )")
		}
	}
	slices.Sort(values)
	return requirement{key: key, op: op, values: slices.Compact(values)}, nil
}

// word reads a bare or quoted word.
func (p *parser) word(what string) (string, error) {
	p.space()
	if p.pos < len(p.text) && p.text[p.pos] == '"' {
		return p.quoted()
	}
	start := p.pos
	for p.pos < len(p.text) && isWord(p.text[p.pos]) {
		p.pos++
	}
	if p.pos == start {
		return "", p.expected(what)
	}
	return string(p.text[start:p.pos]), nil
}

func (p *parser) quoted() (string, error) {
	start := p.pos
	var b strings.Builder
	for p.pos++; p.pos < len(p.text); p.pos++ {
		switch r := p.text[p.pos]; {
		case r == '"':
			p.pos++
			return b.String(), nil
		case r == '\\' && p.pos+1 < len(p.text) && strings.ContainsRune(`"\`, p.text[p.pos+1]):
			p.pos++
			b.WriteRune(p.text[p.pos])
		case r == '\\':
			return "", p.expected(`\" or \\`)
		default:
			b.WriteRune(r)
		}
	}
	return "", &Error{Column: start + 1, Message: "the quote is not closed"}
}

func (p *parser) space() {
	for p.pos < len(p.text) && unicode.IsSpace(p.text[p.pos]) {
		p.pos++
	}
}

// take consumes the sign if it comes next.
func (p *parser) take(sign string) bool {
	p.space()
	for i, r := range []rune(sign) {
		if p.pos+i >= len(p.text) || p.text[p.pos+i] != r {
			return false
		}
	}
	p.pos += utf8.RuneCountInString(sign)
	return true
}

// takeWord consumes the word if exactly it comes next.
func (p *parser) takeWord(word string) bool {
	before := p.pos
	if p.take(word) && (p.pos == len(p.text) || !isWord(p.text[p.pos])) {
		return true
	}
	p.pos = before
	return false
}

func (p *parser) expected(what string) *Error {
	p.space()
	if p.pos >= len(p.text) {
		return &Error{Column: len(p.text) + 1, Message: "expected " + what + ", found the end"}
	}
	return &Error{Column: p.pos + 1, Message: fmt.Sprintf("expected %s, found %q", what, p.text[p.pos])}
}

func isWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || strings.ContainsRune("._-/:@+", r)
}
