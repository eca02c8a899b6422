package assertion

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzObject: objects are read and written as package json does it.
func FuzzObject(f *testing.F) {
	for _, text := range []string{
		`{}`, ` { } `, `null`, `[]`, `"x"`, ``, `{`, `{"a":1}}`, `{"a":1,}`,
		`{"a":1,"b":"x","c":null,"d":true,"e":-1.5e3,"f":[1,"]",{"g":"}"}],"h":{"i":{}}}`,
		" {\n\t\"a\" : [ 1 , 2 ] ,\r\n \"b\" : \"x\\\"y\\\\\" , \"\\u0041\\n\" : 1e999 } ",
		`{"a":1,"a":2}`, `{"a":1,"b":2,"a":3,"b":4,"c":5}`, `{"a":01}`, `{"a":1e}`, `{"a":nul}`, `{"a":"\x"}`, `{"a":"\u12g4"}`, `{"a":[1}}`, `{"a":{"b"}}`,
		`{"a":-}`, `{"a" 1}`, `{"a":}`, `{"a":"`, `{"a":"\`, `{"a":"\u00`, `{,}`, `{"a":1 "b":2}`, `{a:1}`, "{\"a\":\"\n\"}", "{\"a\\u0009\":1,\"\":2}", `{"a":1}x`, `{"a":falsey}`,
		`{"":""}`, "{}\f", `{"body":"{\"status\":\"ok\"}","x":"<&>"}`, "{\"\xff\":\"\xff\"}", `{"\ud800":"\ud800"}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var want map[string]any
		if json.Unmarshal([]byte(text), &want) != nil {
			// Numbers that are too large are still members.
			var members map[string]json.RawMessage
			if json.Unmarshal([]byte(text), &members) != nil {
				members = nil
			}
			read := readObject(json.RawMessage(text))
			if (read == nil) != (members == nil) {
				t.Fatalf("%q is read as %d members, want %d", text, len(read), len(members))
			}
			for name := range members {
				if read.get(name) == nil {
					t.Errorf("%q has no member %q", text, name)
				}
			}
			return
		}
		read := readObject(json.RawMessage(text))
		if want == nil {
			if read != nil {
				t.Fatalf("%q is read as an object", text)
			}
			return
		}
		doc := document{raw: read}
		decoder, exact := json.NewDecoder(strings.NewReader(text)), map[string]any{}
		decoder.UseNumber()
		if err := decoder.Decode(&exact); err != nil {
			t.Fatal(err)
		}
		numbers(exact, func(n json.Number) any { return numeral([]byte(n)) })
		got := map[string]any{}
		for _, m := range read {
			got[string(m.name)] = doc.field(string(m.name))
		}
		if diff := cmp.Diff(exact, got); diff != "" {
			t.Errorf("%q is read otherwise than by package json (-want +got):\n%s", text, diff)
		}
		var again map[string]any
		if err := json.Unmarshal(read.text(), &again); err != nil {
			t.Fatalf("%q is written as %q: %v", text, read.text(), err)
		}
		if diff := cmp.Diff(want, again); diff != "" {
			t.Errorf("%q is written otherwise than it was (-want +got):\n%s", text, diff)
		}
	})
}

// FuzzOutcomes: outcomes are written as package json does it.
func FuzzOutcomes(f *testing.F) {
	for _, text := range []string{"", "statusCode", `"<&>\`, "é\u2028\x00\x7f", "\xff", "\n\r\t"} {
		for _, number := range []float64{0, math.Copysign(0, -1), 200, -1, 0.5, 1e15, 1e15 - 1, -1e20, 1e21, 1e-7, math.Inf(1), math.NaN()} {
			f.Add(text, text, number, text != "")
		}
	}
	f.Fuzz(func(t *testing.T, field, text string, number float64, passed bool) {
		for _, value := range []any{nil, text, number, passed, []any{text, number}, map[string]any{text: number}} {
			o := outcome{Field: field, JSONPath: text, Operator: text, Value: value, Expression: field, Passed: passed, Message: text, Got: field}
			want, err := json.Marshal(o)
			if err != nil { // a number that JSON does not have
				o.Value = json.RawMessage("null")
				want, _ = json.Marshal(o)
				o.Value = value
			}
			if diff := cmp.Diff(string(want), string(o.append(nil))); diff != "" {
				t.Errorf("the outcome is written otherwise than by package json (-want +got):\n%s", diff)
			}
		}
	})
}
