package assertion

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
)

// JSON has numbers with as many digits as who writes them likes, a float64 has about
// sixteen. A number that is too large for each whole one to have a float64 of its own is kept
// as it was written, a json.Number, and compared by its digits.

// maxWhole is the number from which on float64s leave whole numbers out.
const maxWhole = 1 << 53

// numeral reads a number: a float64, or what was written where that could lose some of it.
func numeral(text []byte) any {
	n, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.Abs(n) >= maxWhole {
		return json.Number(text)
	}
	return n
}

// decode reads JSON, with its numbers as numeral reads them.
func decode(text []byte) (value any, err error) {
	if !maybeLarge(text) {
		return value, json.Unmarshal(text, &value)
	}
	if !json.Valid(text) { // a decoder stops where the first value ends
		return nil, errors.New("it is not JSON")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	return numbers(value, func(n json.Number) any { return numeral([]byte(n)) }), nil
}

// maybeLarge reports whether a number may be in the text that is maxWhole or more: one with
// as many digits, or an exponent. Most texts have none, and are read in half the time.
func maybeLarge(text []byte) bool {
	run := 0
	for _, c := range text {
		switch {
		case '0' <= c && c <= '9':
			if run++; run == len("9007199254740992") {
				return true
			}
			continue
		case (c == 'e' || c == 'E') && run > 0:
			return true
		}
		run = 0
	}
	return false
}

// numbers replaces the numbers that value holds.
func numbers(value any, by func(json.Number) any) any {
	switch v := value.(type) {
	case json.Number:
		return by(v)
	case []any:
		for i := range v {
			v[i] = numbers(v[i], by)
		}
	case map[string]any:
		for name := range v {
			v[name] = numbers(v[name], by)
		}
	}
	return value
}

func isNumber(v any) bool {
	switch v.(type) {
	case float64, json.Number:
		return true
	}
	return false
}

// number coerces as the numeric operators demand: truth values are 1 and 0,
// texts are read, and everything else (missing, empty, structured) is not a number.
// The original takes null and "" for 0; a measurement that is not there must not
// pass as a small one. What is too large for a float64 is infinite.
func number(v any) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case json.Number:
		n, _ := strconv.ParseFloat(string(v), 64) // it is one: all that can be wrong is its size
		return n
	case string:
		v = strings.TrimSpace(v)
		if n, err := strconv.ParseFloat(v, 64); err == nil && !math.IsInf(n, 0) || isNumeral([]byte(v)) {
			return n
		}
	case bool:
		if v {
			return 1
		}
		return 0
	}
	return math.NaN()
}

// compare says how the numbers that a and b are are ordered; ok is whether both are numbers.
func compare(a, b any) (order int, ok bool) {
	x, y := number(a), number(b)
	switch {
	case math.IsNaN(x) || math.IsNaN(y):
		return 0, false
	case x != y: // rounding does not change their order
		return cmp.Compare(x, y), true
	case math.Abs(x) < maxWhole:
		return 0, true
	}
	if decimalOf(a, -1) == decimalOf(b, -1) {
		return 0, true
	}
	return decimalOf(a, 0).compare(decimalOf(b, 0)), true
}

// decimal is a number by its digits, of which neither the first nor the last is zero:
// 0.digits × 10^point.
type decimal struct {
	negative bool
	digits   string
	point    int
}

// decimalOf is v, which is a number, as it was written. A float64 has the fewest digits that
// mean it, as somebody would have written it, with precision -1; with 0 it has all.
func decimalOf(v any, precision int) decimal {
	text, _ := v.(string)
	if written, ok := v.(json.Number); ok {
		text = string(written)
	}
	if text = strings.TrimSpace(text); !isNumeral([]byte(text)) {
		text = strconv.FormatFloat(number(v), 'f', precision, 64)
	}
	var d decimal
	text, d.negative = strings.CutPrefix(text, "-")
	mantissa, exponent := text, 0
	if at := strings.IndexAny(text, "eE"); at >= 0 {
		mantissa = text[:at]
		exponent, _ = strconv.Atoi(text[at+1:]) // or the largest
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	d.point = len(digits) - len(fraction) + min(exponent, math.MaxInt32)
	d.digits = strings.TrimRight(digits, "0")
	return d
}

// compare orders two numbers of the same sign.
func (d decimal) compare(other decimal) int {
	order := cmp.Or(cmp.Compare(d.point, other.point), strings.Compare(d.digits, other.digits))
	if d.negative {
		return -order
	}
	return order
}

// same compares structured values by content, and the numbers in them as numbers.
func same(a, b any) bool {
	switch a := a.(type) {
	case float64, json.Number:
		order, _ := compare(a, b)
		return isNumber(b) && order == 0
	case []any:
		list, ok := b.([]any)
		if !ok || len(a) != len(list) {
			return false
		}
		for i := range a {
			if !same(a[i], list[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		object, ok := b.(map[string]any)
		if !ok || len(a) != len(object) {
			return false
		}
		for name := range a {
			if other, ok := object[name]; !ok || !same(a[name], other) {
				return false
			}
		}
		return true
	}
	return a == b // texts, truth values and null
}
