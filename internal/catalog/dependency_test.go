package catalog_test

import (
	"slices"
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
