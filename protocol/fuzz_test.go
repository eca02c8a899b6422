package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// seed gives a fuzz target every golden frame, and some that are wrong in a
// telling way.
func seed(f *testing.F) {
	files, err := filepath.Glob(goldenFile("*"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		pretty, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var frame bytes.Buffer
		if err := json.Compact(&frame, pretty); err != nil {
			f.Fatal(err)
		}
		f.Add(pretty)
		f.Add(frame.Bytes())
		f.Add(frame.Bytes()[:frame.Len()/2])
	}
	for _, frame := range []string{
		``, `{`, `[}`, `{]`, `{"type"`, `{"type":"`, `{"type":"heartbeat"`, `{"type":"heartbeat",}`, `{,,"type":"heartbeat"}`,
		`{"type":"result","result":[}}`, `{"type":"perigee_results","records":[}]}`, `{"type":"perigee_results","records":[{"seq":1},{"seq":2]}`,
		`{"a":"\\","type":"result"}`, `{"a":"\"}","type":"result"}`, `{"TYPE":"result","type":"heartbeat","VERSION":"1","uptimeSeconds":1}`,
		`{"type":"heartbeat","version":"\ud800","uptimeSeconds":-0}`, `{"type":"heartbeat","version":"\u0000","uptimeSeconds":1e400}`,
	} {
		f.Add([]byte(frame))
	}
}

// FuzzDecodeFromAgent: whatever arrives, the decoder answers with a message or
// one of its two errors, it agrees with encoding/json about what is JSON and what
// is in it, and a message survives being sent on.
func FuzzDecodeFromAgent(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, frame []byte) { decodesSteadily(t, DecodeFromAgent, frame) })
}

func FuzzDecodeFromCore(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, frame []byte) { decodesSteadily(t, DecodeFromCore, frame) })
}

func decodesSteadily[M Message](t *testing.T, decode func([]byte) (M, error), frame []byte) {
	m, err := decode(frame)
	if err != nil {
		wrong, ok := errors.AsType[*InvalidError](err)
		if !ok && !errors.Is(err, ErrUnknownType) {
			t.Fatalf("got an error of another kind: %v", err)
		}
		if ok && wrong.Reason == notJSON().Reason && json.Valid(frame) {
			t.Fatalf("refused what encoding/json takes: %v", err)
		}
		if len(err.Error()) > MaxName+len(frame) {
			t.Fatalf("the error is %d bytes long", len(err.Error()))
		}
		return
	}
	if !json.Valid(frame) {
		t.Fatal("decoded what encoding/json does not take for JSON")
	}
	if err := m.Validate(); err != nil {
		t.Fatalf("decoded, and not valid: %v", err)
	}
	if marksBadRecords(m) {
		return
	}
	once, err := Encode(m)
	if err != nil {
		t.Fatalf("decoded, and cannot be encoded: %v", err)
	}
	if !bytes.HasPrefix(once, []byte(`{"type":"`+m.Type()+`"`)) {
		t.Fatalf("the type is not first in %s", once)
	}
	again, err := decode(once)
	if err != nil {
		t.Fatalf("encoded as %s, which is refused: %v", once, err)
	}
	other := reflect.New(reflect.TypeOf(m).Elem()).Interface()
	if err := json.Unmarshal(once, other); err != nil {
		t.Fatalf("encoded as %s, which encoding/json refuses: %v", once, err)
	}
	if diff := cmp.Diff(other, any(again)); diff != "" {
		t.Fatalf("not what encoding/json makes of it (-want +got)\n%s", diff)
	}
	twice, err := Encode(again)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(once, twice) {
		t.Fatalf("not steady:\n%s\n%s", once, twice)
	}
}

// marksBadRecords reports whether m is a batch with records that were left out
// on purpose; such a batch says less than its frame did.
func marksBadRecords(m Message) bool {
	batch, ok := m.(*Results)
	if !ok {
		return false
	}
	for _, r := range batch.Records {
		if r.Invalid != nil {
			return true
		}
	}
	return false
}

// FuzzNullable: absent, null and a value stay what they are.
func FuzzNullable(f *testing.F) {
	for _, v := range []string{`null`, `"a"`, `""`, `7`, `"\u0000"`, `"<&>"`, ` null `, `{}`} {
		f.Add([]byte(v))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		type holder struct {
			V Nullable[string] `json:"v,omitzero"`
		}
		var first holder
		if json.Unmarshal([]byte(`{"v":`+string(value)+`}`), &first) != nil {
			return
		}
		text, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		var second holder
		if err := json.Unmarshal(text, &second); err != nil {
			t.Fatal(err)
		}
		if first.V.Present != second.V.Present || (first.V.Value == nil) != (second.V.Value == nil) || first.V.OrZero() != second.V.OrZero() {
			t.Fatalf("%s became %s", value, text)
		}
	})
}
