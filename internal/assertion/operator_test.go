package assertion

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
)

// evaluate holds one assertion against an object that is given as JSON.
func evaluate(t *testing.T, object string, a check.Assertion) string {
	t.Helper()
	d := document{raw: readObject(json.RawMessage(object))}
	if d.raw == nil {
		t.Fatalf("%s is no object", object)
	}
	failure, _ := d.evaluate(a)
	return failure
}

// value is the Go value of a JSON text, nil for "".
func value(t *testing.T, text string) any {
	t.Helper()
	if text == "" {
		return nil
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestOperators(t *testing.T) {
	t.Parallel()
	const pass = ""
	for _, c := range []struct {
		operator string
		actual   string // JSON of the field; "" leaves it out
		expected string // JSON of the value; "" leaves it out
		want     string // failure text after "f: "
	}{
		{"equals", `200`, `200`, pass},
		{"equals", `200`, `"200"`, pass},
		{"equals", `"200"`, `200`, pass},
		{"equals", `"2e2"`, `200`, pass},
		{"equals", `200`, `404`, `expected to equal 404, got 200`},
		{"equals", `200`, `"ok"`, `expected to equal "ok", got 200`},
		{"equals", `"OK"`, `"OK"`, pass},
		{"equals", `"OK"`, `"ok"`, `expected to equal "ok", got "OK"`},
		{"equals", `"1.0"`, `"1"`, `expected to equal "1", got "1.0"`},
		{"equals", `true`, `true`, pass},
		{"equals", `true`, `"true"`, pass},
		{"equals", `true`, `1`, `expected to equal 1, got true`},
		{"equals", `0`, `""`, `expected to equal "", got 0`},
		{"equals", `null`, `""`, pass},
		{"equals", ``, `""`, pass},
		{"equals", `null`, `"null"`, `expected to equal "null", got null`},
		{"equals", ``, `0`, `expected to equal 0, got undefined`},
		{"equals", `["a"]`, `"a"`, pass},
		{"equals", `["a","b"]`, `"a,b"`, pass},
		{"equals", `["a",1]`, `["a",1]`, pass},
		{"equals", `["a",1]`, `[1,"a"]`, `expected to equal [1,"a"], got ["a",1]`},
		{"equals", `{"a":1}`, `{"a":1}`, pass},
		{"equals", `{"a":1}`, `"{\"a\":1}"`, pass},
		{"equals", `1`, ``, `expected to equal null, got 1 (there is no value to compare with)`},
		{"notEquals", `200`, `500`, pass},
		{"notEquals", `200`, `"200"`, `expected not to equal "200", got 200`},
		{"notEquals", ``, `500`, pass},

		{"lessThan", `1.5`, `2`, pass},
		{"lessThan", `2`, `2`, `expected to be less than 2, got 2`},
		{"lessThan", `"1.5"`, `"2"`, pass},
		{"lessThan", `" 1 "`, `2`, pass},
		{"lessThan", `"10"`, `"9"`, `expected to be less than "9", got "10"`},
		{"lessThan", `true`, `2`, pass},
		{"lessThan", `null`, `2`, `expected to be less than 2, got null`},
		{"lessThan", ``, `2`, `expected to be less than 2, got undefined`},
		{"lessThan", `""`, `2`, `expected to be less than 2, got ""`},
		{"lessThan", `"fast"`, `2`, `expected to be less than 2, got "fast"`},
		{"lessThan", `"-Infinity"`, `2`, `expected to be less than 2, got "-Infinity"`},
		{"lessThan", `"NaN"`, `2`, `expected to be less than 2, got "NaN"`},
		{"lessThan", `1`, `"NaN"`, `expected to be less than "NaN", got 1`},
		{"lessThan", `[1]`, `2`, `expected to be less than 2, got [1]`},
		{"lessThan", `{}`, `2`, `expected to be less than 2, got {}`},
		{"lessThanOrEqual", `2`, `2`, pass},
		{"lessThanOrEqual", `2.1`, `2`, `expected to be at most 2, got 2.1`},
		{"greaterThan", `3`, `2`, pass},
		{"greaterThan", `2`, `2`, `expected to be greater than 2, got 2`},
		{"greaterThanOrEqual", `2`, `2`, pass},
		{"greaterThanOrEqual", `1.9`, `2`, `expected to be at least 2, got 1.9`},

		{"contains", `"all is well"`, `"is"`, pass},
		{"contains", `"all is well"`, `"Is"`, `expected to contain "Is", got "all is well"`},
		{"contains", `404`, `"40"`, pass},
		{"contains", `404`, `40`, pass},
		{"contains", `["10.0.0.1","10.0.0.2"]`, `"10.0.0.2"`, pass},
		{"contains", `{"a":{"b":1}}`, `"\"b\":1"`, pass},
		{"contains", `{"url":"/?a=1&b=<2>"}`, `"a=1&b=<2>"`, pass},
		{"matches", `[{"url":"/?a=1&b=2"}]`, `"a=1&b"`, pass},
		{"contains", `"<p>"`, `"<a>"`, `expected to contain "<a>", got "<p>"`},
		{"contains", ``, `"x"`, `expected to contain "x", got undefined`},
		{"contains", `"x"`, ``, `expected to contain null, got "x" (there is no value to compare with)`},
		{"startsWith", `"SSH-2.0-x"`, `"SSH-2.0"`, pass},
		{"startsWith", `"SSH-1.9"`, `"SSH-2.0"`, `expected to start with "SSH-2.0", got "SSH-1.9"`},
		{"startsWith", `200`, `2`, pass},
		{"endsWith", `"a.example"`, `".example"`, pass},
		{"endsWith", `null`, `".example"`, `expected to end with ".example", got null`},

		{"matches", `"v1.26"`, `"^v1\\.\\d+$"`, pass},
		{"matches", `"v2"`, `"^v1"`, `expected to match pattern "^v1", got "v2"`},
		{"matches", `200`, `"^2"`, pass},
		{"matches", ``, `"^$"`, pass},
		{"matches", `"a"`, `"("`, "expected to match pattern \"(\", got \"a\" (invalid pattern: missing closing ): `(`)"},
		{"matches", `"a"`, `"(?=a)"`, "expected to match pattern \"(?=a)\", got \"a\" (invalid pattern: invalid or unsupported Perl syntax: `(?=`)"},

		{"isTrue", `true`, ``, pass},
		{"isTrue", `false`, ``, `expected to be true, got false`},
		{"isTrue", `"true"`, ``, `expected to be true, got "true"`},
		{"isTrue", `1`, ``, `expected to be true, got 1`},
		{"isFalse", `false`, ``, pass},
		{"isFalse", ``, ``, `expected to be false, got undefined`},
		{"isFalse", `0`, ``, `expected to be false, got 0`},

		{"isEmpty", `""`, ``, pass},
		{"isEmpty", `" \n\t"`, ``, pass},
		{"isEmpty", `[]`, ``, pass},
		{"isEmpty", `{}`, ``, pass},
		{"isEmpty", `null`, ``, pass},
		{"isEmpty", ``, ``, pass},
		{"isEmpty", `0`, ``, `expected to be empty, got 0`},
		{"isEmpty", `false`, ``, `expected to be empty, got false`},
		{"isEmpty", `[0]`, ``, `expected to be empty, got [0]`},
		{"isEmpty", `{"a":null}`, ``, `expected to be empty, got {"a":null}`},
		{"isNotEmpty", `["x"]`, ``, pass},
		{"isNotEmpty", `0`, ``, pass},
		{"isNotEmpty", `[]`, ``, `expected not to be empty, got []`},
		{"isNotEmpty", ``, ``, `expected not to be empty, got undefined`},

		{"exists", `""`, ``, pass},
		{"exists", `false`, ``, pass},
		{"exists", `null`, ``, `expected to exist, got null`},
		{"exists", ``, ``, `expected to exist, got undefined`},
		{"notExists", `null`, ``, pass},
		{"notExists", ``, ``, pass},
		{"notExists", `0`, ``, `expected not to exist, got 0`},

		{"includes", `["a","b"]`, `"b"`, pass},
		{"includes", `[1,2]`, `"2"`, pass},
		{"includes", `[{"a":1}]`, `{"a":1}`, pass},
		{"includes", `["ab"]`, `"b"`, `expected to include "b", got ["ab"]`},
		{"includes", `[]`, `"b"`, `expected to include "b", got []`},
		{"includes", `"abc"`, `"b"`, `expected to include "b", got "abc" (it is not a list)`},
		{"includes", ``, `"b"`, `expected to include "b", got undefined (it is not a list)`},
		{"notIncludes", `["a"]`, `"b"`, pass},
		{"notIncludes", `["b"]`, `"b"`, `expected not to include "b", got ["b"]`},
		{"notIncludes", ``, `"b"`, `expected not to include "b", got undefined (it is not a list)`},
		{"lengthEquals", `[1,2]`, `2`, pass},
		{"lengthEquals", `[1,2]`, `"2"`, pass},
		{"lengthEquals", `"äö"`, `2`, pass},
		{"lengthEquals", `[1,2]`, `3`, `expected to have length 3, got [1,2]`},
		{"lengthEquals", `12`, `2`, `expected to have length 2, got 12 (it has no length)`},
		{"lengthEquals", `[1]`, `"many"`, `expected to have length "many", got [1]`},
		{"lengthGreaterThan", `[1,2]`, `1`, pass},
		{"lengthGreaterThan", `[1]`, `1`, `expected to have length greater than 1, got [1]`},
		{"lengthLessThan", `[]`, `1`, pass},
		{"lengthLessThan", `[1]`, `1`, `expected to have length less than 1, got [1]`},

		{"resembles", `1`, `1`, `expected resembles 1, got 1 (unknown operator)`},
		{"", `1`, ``, `expected  null, got 1 (unknown operator)`},
	} {
		object := "{}"
		if c.actual != "" {
			object = `{"f":` + c.actual + `}`
		}
		got := evaluate(t, object, check.Assertion{Field: "f", Operator: c.operator, Value: value(t, c.expected)})
		want := c.want
		if want != "" {
			want = "f: " + want
		}
		if got != want {
			t.Errorf("%s %s %s:\n got %q\nwant %q", c.actual, c.operator, c.expected, got, want)
		}
	}
}

func TestEveryOperatorIsTested(t *testing.T) {
	t.Parallel()
	// Spec F.5 names these and no others.
	want := strings.Fields(`contains endsWith equals exists greaterThan greaterThanOrEqual includes isEmpty isFalse
		isNotEmpty isTrue lengthEquals lengthGreaterThan lengthLessThan lessThan lessThanOrEqual matches
		notEquals notExists notIncludes startsWith`)
	if diff := cmp.Diff(want, Operators()); diff != "" {
		t.Errorf("operators (-want +got):\n%s", diff)
	}
}

func TestValuesWrittenInGo(t *testing.T) {
	t.Parallel()
	for _, v := range []any{200, int64(200), uint8(200), json.Number("200"), 200.0} {
		if got := evaluate(t, `{"f":200}`, check.Assertion{Field: "f", Operator: "equals", Value: v}); got != "" {
			t.Errorf("%T: %s", v, got)
		}
	}
	if got := evaluate(t, `{"f":["a"]}`, check.Assertion{Field: "f", Operator: "equals", Value: []string{"a"}}); got != "" {
		t.Error(got)
	}
	got := evaluate(t, `{"f":1}`, check.Assertion{Field: "f", Operator: "equals", Value: func() {}})
	if want := "f: expected to equal null, got 1 (there is no value to compare with)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestM37_TextsAreBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 1<<15)
	object := `{"f":"` + long + `"}`
	for _, a := range []check.Assertion{
		{Field: "f", Operator: "equals", Value: "x"},
		{Field: "f", Operator: "equals", Value: long + "x"},
		{Field: "f", Operator: "matches", Value: long},
		{Field: "f", Operator: "exists", JSONPath: "$." + long},
	} {
		got := evaluate(t, object, a)
		if len(a.JSONPath) < maxPath && len(got) > 1000 || got == "" {
			t.Errorf("%s: a text of %d bytes", a.Operator, len(got))
		}
		if strings.Contains(got, "�") {
			t.Errorf("%s: a character was cut in half: %s", a.Operator, got)
		}
	}
}
