package catalog_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/store"
)

func TestDependencies(t *testing.T) {
	t.Parallel()
	onBoth(t, validateSpec, func(t *testing.T, w *world, _ *store.DB) {
		docs := []catalog.Document{ // in any order
			doc(catalog.DocSystem, "shop", `{"dependsOn":["db","net"]}`), doc(catalog.DocSystem, "db", `{"dependsOn":["net"]}`), doc(catalog.DocSystem, "net", `{}`),
		}
		must(w.Apply(t.Context(), actor, docs, false))
		for name, action := range actions(must(w.Apply(t.Context(), actor, docs, false))) {
			if action != catalog.Unchanged {
				t.Errorf("%s is %s by the same documents", name, action)
			}
		}
		_, err := w.UpdateSystem(t.Context(), actor, "net", catalog.SystemInput{Name: "net", DependsOn: []string{"shop"}})
		if message := fields(err)["dependsOn"]; !fault.Is(err, fault.Invalid) || !strings.Contains(message, "net → shop → ") {
			t.Errorf("a circle is %v", err)
		}
		_, err = w.Apply(t.Context(), actor, []catalog.Document{doc(catalog.DocSystem, "net", `{"dependsOn":["db"]}`)}, false)
		if message := fields(err)["documents[0].spec.dependsOn"]; message != "would be a circle: net → db → net" {
			t.Errorf("a circle in documents is %v", err)
		}
		_, err = w.UpdateSystem(t.Context(), actor, "net", catalog.SystemInput{Name: "net", DependsOn: []string{"dv"}})
		if message := fields(err)["dependsOn[0]"]; message != `there is no system "dv"; did you mean db?` {
			t.Errorf("what there is not is %v", err)
		}
		types := w.eventTypes(func() { must(w.DeleteSystem(t.Context(), actor, "db")) })
		if diff := cmp.Diff([]string{"system.deleted", "system.updated"}, slices.Sorted(slices.Values(types))); diff != "" {
			t.Errorf("a system goes (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"net"}, must(w.System(t.Context(), "shop")).DependsOn); diff != "" {
			t.Errorf("shop depends on (-want +got):\n%s", diff)
		}
	})
}

// However long a chain is, and whatever its order, each system of it is looked at once; and
// of a circle, however long, one document is told.
func TestALongChainOfDependencies(t *testing.T) {
	t.Parallel()
	const n = 5000
	w := newWorld(t)
	name := func(i int) string { return "s" + strconv.Itoa(i) }
	var docs []catalog.Document
	for i := n - 1; i > 0; i-- {
		docs = append(docs, doc(catalog.DocSystem, name(i), `{"dependsOn":["`+name(i-1)+`"]}`))
	}
	docs = append(docs, doc(catalog.DocSystem, name(0), `{}`))
	must(w.Apply(t.Context(), actor, docs, false))

	docs[n-1] = doc(catalog.DocSystem, name(0), `{"dependsOn":["`+name(n-1)+`"]}`)
	_, err := w.Apply(t.Context(), actor, docs, false)
	want := map[string]string{"documents[0].spec.dependsOn": "would be a circle: s4999 → s4998 → s4997 → s4996 → s4995 → s4994 → s4993 → s4992 → s4991 → s4990 → " +
		"4980 more → s9 → s8 → s7 → s6 → s5 → s4 → s3 → s2 → s1 → s0 → s4999"}
	if diff := cmp.Diff(want, fields(err)); diff != "" {
		t.Errorf("a long circle (-want +got):\n%s", diff)
	}
}

// A circle is told of the document that is in it, and each of several is.
func TestCircles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.Apply(t.Context(), actor, []catalog.Document{
		doc(catalog.DocSystem, "shop", `{"dependsOn":["front"]}`),
		doc(catalog.DocSystem, "front", `{"dependsOn":["back"]}`), doc(catalog.DocSystem, "back", `{"dependsOn":["net", "front"]}`),
		doc(catalog.DocSystem, "net", `{}`), doc(catalog.DocSystem, "self", `{"dependsOn":["self"]}`),
	}, false)
	want := map[string]string{"documents[1].spec.dependsOn": "would be a circle: front → back → front", "documents[4].spec.dependsOn": "would be a circle: self → self"}
	if diff := cmp.Diff(want, fields(err)); diff != "" {
		t.Errorf("circles (-want +got):\n%s", diff)
	}
}
