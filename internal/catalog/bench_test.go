package catalog_test

import (
	"fmt"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/catalog"
)

// BenchmarkOneAssignment changes one assignment of 1,000 in a fleet of 10,000
// satellites (store in memory): the cost of planning, without a database's.
func BenchmarkOneAssignment(b *testing.B) {
	w, _ := newWorldOfDefinitions(b)
	docs := []catalog.Document{doc("System", "s", `{}`)}
	for i := range 1000 {
		name := fmt.Sprintf("a-%d", i)
		docs = append(docs,
			doc("Check", name, `{"strategy":"healthcheck-tcp.tcp","interval":"10s"}`),
			doc("Assignment", name, fmt.Sprintf(`{"check":%q,"system":"s","satellites":{"selector":"rack=r%d"}}`, name, i)))
	}
	must(w.Apply(b.Context(), actor, docs, false))
	docs = docs[:0]
	for i := range 10_000 {
		d := doc("Satellite", fmt.Sprintf("sat-%d", i), `{"region":"eu"}`)
		d.Metadata.Labels = map[string]string{"rack": fmt.Sprintf("r%d", i%1000)}
		docs = append(docs, d)
	}
	must(w.Apply(b.Context(), actor, docs, false))
	in := inputOf(must(w.Assignment(b.Context(), "a-7")))
	for i := 0; b.Loop(); i++ {
		in.Satellites.Selector = []string{"rack=r7", "rack in (r7, r8)"}[i%2]
		must(w.UpdateAssignment(b.Context(), actor, "a-7", in))
	}
}
