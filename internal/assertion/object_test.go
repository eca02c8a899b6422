package assertion

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzObject: objects are read and written as package json does it.
func FuzzObject(f *testing.F) {
	for _, text := range []string{
		`{}`, ` { } `, `null`, `[]`, `"x"`, ``, `{`, `{"a":1}}`, `{"a":1,}`,
		`{"a":1,"b":"x","c":null,"d":true,"e":-1.5e3,"f":[1,"]",{"g":"}"}],"h":{"i":{}}}`,
		" {\n\t\"a\" : [ 1 , 2 ] ,\r\n \"b\" : \"x\\\"y\\\\\" , \"\\u0041\\n\" : 1e999 } ",
		`{"a":1,"a":2}`, `{"":""}`, `{"body":"{\"status\":\"ok\"}","x":"<&>"}`, "{\"\xff\":\"\xff\"}", `{"\ud800":"\ud800"}`,
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
			if got := readObject(json.RawMessage(text)); (got == nil) != (members == nil) || len(got) != len(members) {
				t.Fatalf("%q is read as %d members, want %d", text, len(got), len(members))
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
		got := map[string]any{}
		for name := range read {
			got[name] = doc.field(name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
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
