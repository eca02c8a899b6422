package assertion

import (
	"encoding/json"
	"math/big"
	"strconv"
	"testing"

	"github.com/perigee-monitoring/perigee/check"
)

// What a float64 does not hold is neither lost nor taken for its neighbour.
func TestLargeNumbers(t *testing.T) {
	t.Parallel()
	const pass = ""
	for _, c := range []struct {
		actual, operator, expected, want string
	}{
		{`1e400`, "exists", ``, pass},
		{`1e400`, "isNotEmpty", ``, pass},
		{`1e400`, "greaterThan", `5`, pass},
		{`-1e400`, "lessThan", `-5`, pass},
		{`1e400`, "lessThan", `5`, `expected to be less than 5, got 1e400`},
		{`1e400`, "equals", `5`, `expected to equal 5, got 1e400`},
		{`1e400`, "equals", `"10e399"`, pass},
		{`1e400`, "lessThan", `"1e401"`, pass},
		{`1e99999999999999999999`, "greaterThan", `"1e401"`, pass},
		{`9007199254740993`, "equals", `"9007199254740993"`, pass},
		{`9007199254740993`, "equals", `"9007199254740992"`, `expected to equal "9007199254740992", got 9007199254740993`},
		{`9007199254740992`, "equals", `"9007199254740993"`, `expected to equal "9007199254740993", got 9007199254740992`},
		{`9007199254740993`, "equals", `9007199254740992`, `expected to equal 9007199254740992, got 9007199254740993`},
		{`9007199254740993`, "notEquals", `9007199254740992`, pass},
		{`9007199254740992`, "equals", `9007199254740992`, pass},
		{`9007199254740991`, "equals", `9007199254740991`, pass},
		{`9007199254740993`, "greaterThan", `9007199254740992`, pass},
		{`9007199254740993`, "lessThanOrEqual", `9007199254740992`, `expected to be at most 9007199254740992, got 9007199254740993`},
		{`-9007199254740993`, "lessThan", `-9007199254740992`, pass},
		{`9007199254740993.0`, "equals", `"9007199254740993"`, pass},
		{`9007199254740993.5`, "greaterThan", `"9007199254740993"`, pass},
		{`9.007199254740993e15`, "equals", `"9007199254740993"`, pass},
		{`1e23`, "equals", `1e23`, pass}, // as somebody wrote it
		{`1152921504606846976`, "equals", `1152921504606846976`, pass},
		{`1152921504606846977`, "equals", `1152921504606846976`, `expected to equal 1152921504606847000, got 1152921504606846977`},
		{`18446744073709551615`, "equals", `"18446744073709551615"`, pass},
		{`"18446744073709551615"`, "equals", `"18446744073709551615"`, pass},
		{`12345678901234567890`, "contains", `"67890"`, pass},
		{`[9007199254740993]`, "includes", `"9007199254740993"`, pass},
		{`[9007199254740993]`, "includes", `"9007199254740992"`, `expected to include "9007199254740992", got [9007199254740993]`},
		{`{"a":[9007199254740993,true,null,"x"]}`, "equals", `{"a":[9007199254740992,true,null,"x"]}`, `expected to equal {"a":[9007199254740992,true,null,"x"]}, got {"a":[9007199254740993,true,null,"x"]}`},
		{`{"a":[1e23,true,null,"x"]}`, "equals", `{"a":[1e23,true,null,"x"]}`, pass},
		{`{"a":1}`, "equals", `{"b":1}`, `expected to equal {"b":1}, got {"a":1}`},
		{`[1]`, "equals", `[1,2]`, `expected to equal [1,2], got [1]`},
		{`[1]`, "equals", `{"a":1}`, `expected to equal {"a":1}, got [1]`},
		{`[1]`, "equals", `["1"]`, `expected to equal ["1"], got [1]`},
	} {
		want := c.want
		if want != pass {
			want = "f: " + want
		}
		a := check.Assertion{Field: "f", Operator: c.operator, Value: value(t, c.expected)}
		if got := evaluate(t, `{"f":`+c.actual+`}`, a); got != want {
			t.Errorf("%s %s %s:\n got %q\nwant %q", c.actual, c.operator, c.expected, got, want)
		}
	}
	// One number does not make the whole document unreadable, and is found in it as it is.
	body, _ := json.Marshal(`{"limit":1e400,"id":9007199254740993,"ok":true}`)
	for path, a := range map[string]check.Assertion{
		"$.ok":    {Operator: "isTrue"},
		"$.limit": {Operator: "greaterThan", Value: 5.0},
		"$.id":    {Operator: "equals", Value: "9007199254740993"},
	} {
		a.Field, a.JSONPath = "body", path
		if got := evaluate(t, `{"body":`+string(body)+`}`, a); got != pass {
			t.Error(got)
		}
	}
}

// A number that JSON has given up some digits of before it came here is not taken for a value.
func TestLargeNumbersAreWrittenAsTexts(t *testing.T) {
	t.Parallel()
	for _, operator := range []string{"equals", "notEquals", "includes", "notIncludes"} {
		for value, ok := range map[any]bool{9007199254740992.0: false, -1e300: false, 9007199254740991.0: true, "9007199254740993": true} {
			if err := Validate(check.Assertion{Field: "f", Operator: operator, Value: value}); (err == nil) != ok {
				t.Errorf("%s %v: %v", operator, value, err)
			}
		}
	}
	if err := Validate(check.Assertion{Field: "f", Operator: "lessThan", Value: 1e18}); err != nil {
		t.Errorf("a bound: %v", err)
	}
}

// FuzzCompare: numbers are ordered as exact arithmetic orders them.
func FuzzCompare(f *testing.F) {
	for _, text := range []string{"0", "-0", "1", "9007199254740992", "9007199254740993", "-9007199254740993.50", "1e23", "100000000000000000000000", "1E+2", "0.1e17", "1e300", "12e-3"} {
		f.Add(text, "9007199254740992")
		f.Add(text, "1e23")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, text := range []string{a, b} {
			if n, err := strconv.ParseFloat(text, 64); len(text) > 50 || !isNumeral([]byte(text)) || err != nil || n != 0 && n < 1e-300 && n > -1e-300 {
				return
			}
		}
		x, _ := new(big.Rat).SetString(a)
		y, _ := new(big.Rat).SetString(b)
		want := x.Cmp(y)
		p, q := numeral([]byte(a)), numeral([]byte(b))
		if p, ok := p.(float64); ok && p == q { // fractions are no more exact than float64s
			want = 0
		}
		if got, ok := compare(p, q); !ok || got != want {
			t.Errorf("%s and %s are ordered %d, %v, want %d", a, b, got, ok, want)
		}
	})
}
