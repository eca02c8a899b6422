package scriptpkg

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"testing"
)

// exact versions are ranges of themselves.
type exact struct{}

func (exact) Satisfies(version, constraint string) bool { return version == constraint }
func (exact) Compare(a, b string) int                   { return cmp.Compare(a, b) }

// Whatever depends on whatever, each package finds by Node's algorithm the version
// that it needs.
func TestM84_EveryDependencyResolves(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		var entries []Entry
		said := map[string]needs{}
		for i := range 12 {
			e := Entry{Name: fmt.Sprintf("@s/p%d", i/3), Version: fmt.Sprintf("%d.0.0", i%3)}
			n := needs{ranges: map[string]string{}}
			for range random.IntN(3) {
				if below := i / 3; below > 0 { // of packages before it: no cycles of versions
					n.ranges[fmt.Sprintf("@s/p%d", random.IntN(below))] = fmt.Sprintf("%d.0.0", random.IntN(3))
				}
			}
			entries = append(entries, e)
			said[e.Name+e.Version] = n
		}
		places, err := layout(entries, func(e Entry) (needs, error) { return said[e.Name+e.Version], nil }, exact{})
		if err != nil {
			t.Fatal(err)
		}
		at := map[string]int{}
		for _, p := range places {
			at[p.Path] = p.Entry
		}
		for _, p := range places {
			e := entries[p.Entry]
			for name, want := range said[e.Name+e.Version].ranges {
				if got, ok := resolve(p.Path, name, at); !ok || entries[got].Version != want {
					t.Errorf("seed %d: %s finds %s in version %s, want %s", seed, p.Path, name, entries[got].Version, want)
				}
			}
		}
	}
}
