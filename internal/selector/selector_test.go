package selector_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/selector"
)

func TestMatches(t *testing.T) {
	t.Parallel()
	labels := map[string]string{"region": "eu", "tier": "prod", "gpu": "", "name": "Frankfurt (2)", "host": "db.example.com:5432", "in": "x"}
	for text, want := range map[string]bool{
		"region":                             true,
		"gpu":                                true,
		"!old":                               true,
		"!gpu":                               false,
		"old":                                false,
		"region=eu":                          true,
		"region == eu":                       true,
		"region=us":                          false,
		"region!=us":                         true,
		"region!=eu":                         false,
		"old!=eu":                            true, // absent has no value, hence not this one
		"old=eu":                             false,
		"region in (eu, us)":                 true,
		"region in (us)":                     false,
		"region notin (us,ap)":               true,
		"region notin (eu)":                  false,
		"old notin (eu)":                     true,
		"old in (eu)":                        false,
		"region in (eu, us), tier!=test":     true,
		"region in (eu, us), tier=test":      false,
		"region=eu,tier=prod,gpu,!old":       true,
		`name="Frankfurt (2)"`:               true,
		`name in ("Frankfurt (2)", "x\"\\")`: true,
		"host=db.example.com:5432":           true,
		`gpu=""`:                             true,
		`"in"=x`:                             true,
		"in in (x)":                          true,
		"in":                                 true,
		"inside":                             false,
		"region  \t=\n eu":                   true,
	} {
		s, err := selector.Parse(text)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		if got := s.Matches(labels); got != want {
			t.Errorf("%q matches %v: %v, want %v", text, labels, got, want)
		}
	}
}

func TestZeroMatchesNothing(t *testing.T) {
	t.Parallel()
	if (selector.Selector{}).Matches(map[string]string{"a": "b"}) {
		t.Error("the zero selector matches")
	}
}

func TestString(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"tier != test,region in( us,eu ,us)": "region in (eu, us), tier!=test",
		"b,a,b":                              "a, b",
		"!old , name==eu-1":                  "name=eu-1, !old",
		"region in (eu)":                     "region=eu",
		"region notin (eu)":                  "region!=eu",
		`name="eu-1"`:                        "name=eu-1",
		`name="a b"`:                         `name="a b"`,
		`"in"`:                               `"in"`,
		`x=""`:                               `x=""`,
		`x="\"\\"`:                           `x="\"\\"`,
	} {
		s, err := selector.Parse(text)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, s.String()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func TestErrorsNameTheColumn(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]selector.Error{
		"":                {Column: 1, Message: "expected a label name, found the end"},
		"  ":              {Column: 3, Message: "expected a label name, found the end"},
		"region=":         {Column: 8, Message: "expected a value, found the end"},
		"region in eu":    {Column: 11, Message: "expected ( after in, found 'e'"},
		"region in (":     {Column: 12, Message: "expected a value, found the end"},
		"region in ()":    {Column: 12, Message: "expected a value, found ')'"},
		"region in (eu":   {Column: 14, Message: "expected a comma or ), found the end"},
		"region in (a b)": {Column: 14, Message: "expected a comma or ), found 'b'"},
		"a,":              {Column: 3, Message: "expected a label name, found the end"},
		",a":              {Column: 1, Message: "expected a label name, found ','"},
		"a b":             {Column: 3, Message: "expected a comma, found 'b'"},
		"größe > 3":       {Column: 7, Message: "expected a comma, found '>'"},
		"!":               {Column: 2, Message: "expected a label name after !, found the end"},
		`a="b`:            {Column: 3, Message: "the quote is not closed"},
		`a="\n"`:          {Column: 4, Message: `expected \" or \\, found '\\'`},
	} {
		_, err := selector.Parse(text)
		got, ok := errors.AsType[*selector.Error](err)
		if !ok {
			t.Errorf("Parse(%q): %v, want a selector.Error", text, err)
			continue
		}
		if diff := cmp.Diff(want, *got); diff != "" {
			t.Errorf("Parse(%q) (-want +got):\n%s", text, diff)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"region in (eu, us), tier!=test, gpu, !old, name=eu-1", `a="\"\\"`, "a notin (b)", "in in (in)", "a b", "!", "\xff", "a\x00"} {
		f.Add(seed)
	}
	labels := map[string]string{"a": "b", "region": "eu"}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := selector.Parse(text)
		if err != nil {
			if e, ok := errors.AsType[*selector.Error](err); !ok || e.Column < 1 {
				t.Fatalf("Parse(%q): %v", text, err)
			}
			return
		}
		again, err := selector.Parse(s.String())
		if err != nil {
			if len(s.String()) > selector.MaxLength { // quoting may add a little
				return
			}
			t.Fatalf("canonical %q of %q: %v", s, text, err)
		}
		if again.String() != s.String() || again.Matches(labels) != s.Matches(labels) {
			t.Fatalf("%q, canonical %q, again %q", text, s, again)
		}
	})
}
