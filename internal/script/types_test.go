package script

import (
	_ "embed"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// declaredJSON is each global that perigee.d.ts and the library beside it in the editor
// declare, with its own members and those of what it makes. The editor's test writes it.
//
//go:embed testdata/declared.json
var declaredJSON string

// acceptedJSON are scripts, and whether they come to a result; the editor's test takes them
// too.
//
//go:embed testdata/accepted.json
var acceptedJSON []byte

// enumerate tells the members of what is declared: those that are missing, and those that
// the runtime has beside them.
const enumerate = `
const made = {
  AbortController: new AbortController(), AbortSignal: new AbortController().signal, AggregateError: new AggregateError([]), Array: [], CryptoKey: await crypto.subtle.importKey("raw", new Uint8Array(1), { name: "HMAC", hash: "SHA-256" }),
  DOMException: new DOMException(), Error: new Error("e", { cause: 1 }), Event: new Event("e"), Function: function () {}, Iterator: [].values(), RegExp: /x/, Request: new Request("http://a/"), Response: new Response("x"), String: new String("x"), Symbol: Symbol("s"),
}
for (const name of ["EvalError", "RangeError", "ReferenceError", "SyntaxError", "TypeError", "URIError"]) made[name] = new globalThis[name]("e", { cause: 1 })
const names = (value, last) => {
  const all = new Set()
  for (let at = Object(value); at && at !== last; at = Object.getPrototypeOf(at)) for (const n of Object.getOwnPropertyNames(at)) all.add(n)
  return all
}
const differ = { missing: [], beside: [] }
const compare = (name, value, members, last, ignored) => {
  for (const m of members) if (!m.endsWith("?") && !(m in Object(value))) differ.missing.push(name + m)
  for (const m of names(value, last)) if (!members.includes(m) && !members.includes(m + "?") && !ignored.includes(m)) differ.beside.push(name + m)
}
const globals = new Set(Object.getOwnPropertyNames(globalThis).filter((n) => !n.startsWith("__") && !["globalThis", "global", "self"].includes(n)))
for (const { name, own, made: instance } of declared) {
  globals.delete(name)
  const [outer, inner] = name.split(".")
  if (!(outer in globalThis)) { differ.missing.push(name); continue }
  const value = inner ? globalThis[outer][inner] : globalThis[outer]
  if (value === undefined) continue
  compare(name + ".", value, own, typeof value === "function" ? Object.getPrototypeOf(value) : Object.getPrototypeOf(Object(value)), ["name", "length", "prototype", "arguments", "caller"])
  if (typeof value !== "function" || !value.prototype) continue
  compare(name + "#", made[name] ?? value.prototype, instance, name === "Object" ? null : Object.prototype, ["constructor", "toString"])
}
differ.beside.push(...globals)
return JSON.stringify(differ)
`

// undeclared is what the runtime has and the types have not, on purpose: what is newer
// than the library of the editor or older than its standard, and what holds the runtime together.
const undeclared = `Atomics.pause CryptoKey#secret Date#getYear Date#setYear Date#toGMTString Function#columnNumber Function#fileName Function#lineNumber Function#prototype InternalError
Iterator.concat JSON.isRawJSON JSON.rawJSON Map#getOrInsert Map#getOrInsertComputed Math.sumPrecise Object#__defineGetter__ Object#__defineSetter__ Object#__lookupGetter__ Object#__lookupSetter__
Object#__proto__ RegExp.escape Set.groupBy SharedArrayBuffer#grow SharedArrayBuffer#growable SharedArrayBuffer#maxByteLength String#0 Uint8Array#setFromBase64 Uint8Array#setFromHex Uint8Array#toBase64
Uint8Array#toHex Uint8Array.fromBase64 Uint8Array.fromHex WeakMap#getOrInsert WeakMap#getOrInsertComputed`

// What is declared is what a script finds, member by member.
func TestTypesAreThoseOfTheRuntime(t *testing.T) {
	t.Parallel()
	got, err := runWithin(t, patient, Input{
		Source: "const declared = " + declaredJSON + enumerate, Context: json.RawMessage(`{"check":{},"system":{},"config":{}}`),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var differ struct{ Missing, Beside []string }
	if err := json.Unmarshal([]byte(got.Message), &differ); err != nil {
		t.Fatal(err)
	}
	if len(differ.Missing) > 0 {
		t.Errorf("declared, and not there at run time: %s", strings.Join(differ.Missing, " "))
	}
	slices.Sort(differ.Beside)
	if diff := cmp.Diff(strings.Fields(undeclared), differ.Beside); diff != "" {
		t.Errorf("there at run time, and not declared (-on purpose +found):\n%s", diff)
	}
}

// What the editor calls a mistake is one, and what it lets pass is none.
func TestAcceptedScripts(t *testing.T) {
	t.Parallel()
	var cases []struct {
		Source   string
		Accepted bool
	}
	if err := json.Unmarshal(acceptedJSON, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Source, func(t *testing.T) {
			t.Parallel()
			_, err := runWithin(t, patient, Input{Source: c.Source, Context: json.RawMessage(`{"system":{"name":"shop"}}`)}, nil)
			if errors.Is(err, ErrTimeout) {
				t.Fatal(err)
			}
			if (err == nil) != c.Accepted {
				t.Errorf("accepted %t, want %t: %v", err == nil, c.Accepted, err)
			}
		})
	}
}
