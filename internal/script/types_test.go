package script

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// language are the globals of the engine itself. TypeScript's own library declares
// them, and what it has not ECMAScript has not either.
const language = `AggregateError Array ArrayBuffer Atomics BigInt BigInt64Array BigUint64Array Boolean DataView Date Error EvalError
FinalizationRegistry Float16Array Float32Array Float64Array Function Infinity Int16Array Int32Array Int8Array InternalError Iterator JSON Map Math NaN Number Object
Promise Proxy RangeError ReferenceError Reflect RegExp Set SharedArrayBuffer String Symbol SyntaxError TypeError URIError Uint16Array Uint32Array
Uint8Array Uint8ClampedArray WeakMap WeakRef WeakSet decodeURI decodeURIComponent encodeURI encodeURIComponent escape eval globalThis isFinite isNaN
parseFloat parseInt undefined unescape`

var declared = regexp.MustCompile(`(?m)^declare (?:var|function|class) (\w+)`)

// What perigee.d.ts declares is what a script finds: no name more, no name less.
func TestTypesAreThoseOfTheRuntime(t *testing.T) {
	t.Parallel()
	got, err := run(t, `return Object.getOwnPropertyNames(globalThis).filter((n) => !n.startsWith("__")).join(" ")`)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, name := range strings.Fields(got.Message) {
		found[name] = true
	}
	for _, name := range strings.Fields(language) {
		delete(found, name)
	}
	says := map[string]bool{}
	for _, m := range declared.FindAllStringSubmatch(Types, -1) {
		says[m[1]] = true
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(found)), slices.Sorted(maps.Keys(says))); diff != "" {
		t.Errorf("globals (-at run time +declared):\n%s", diff)
	}
}
