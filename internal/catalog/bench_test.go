package catalog_test

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/store"
)

// BenchmarkOneAssignment moves one assignment of 1,000 by ten satellites, in a
// fleet of 10,000 of which each carries 51: what it takes to validate, plan, write
// and record.
func BenchmarkOneAssignment(b *testing.B) {
	b.Run("memory", func(b *testing.B) { benchmarkOneAssignment(b, newWorld(b)) })
	for engine, url := range map[string]string{"sqlite": dbtest.SQLite(b), "postgres": dbtest.PostgreSQL(b)} {
		b.Run(engine, func(b *testing.B) {
			db := must(store.Open(b.Context(), url, slog.New(slog.DiscardHandler)))
			defer db.Close()
			benchmarkOneAssignment(b, newStoredWorld(b, db, validateSpec))
		})
	}
}

func benchmarkOneAssignment(b *testing.B, w *world) {
	var satellites, definitions []catalog.Document
	for i := range 10_000 {
		d := doc("Satellite", fmt.Sprintf("sat-%d", i), `{"region":"eu"}`)
		d.Metadata.Labels = map[string]string{"rack": fmt.Sprintf("r%d", i%1000), "row": fmt.Sprintf("w%d", i%20)}
		satellites = append(satellites, d)
	}
	definitions = append(definitions, doc("System", "s", `{}`))
	for i := range 1000 {
		name := fmt.Sprintf("a-%d", i)
		selector := fmt.Sprintf("row=w%d", i%20)
		if i == 7 {
			selector = "rack=r7"
		}
		definitions = append(definitions,
			doc("Check", name, `{"strategy":"healthcheck-tcp.tcp","interval":"10s"}`),
			doc("Assignment", name, fmt.Sprintf(`{"check":%q,"system":"s","satellites":{"selector":%q}}`, name, selector)))
	}
	must(w.Apply(b.Context(), actor, satellites, false))
	must(w.Apply(b.Context(), actor, definitions, false))
	in := inputOf(must(w.Assignment(b.Context(), "a-7")))
	for i := 0; b.Loop(); i++ {
		in.Satellites.Selector = []string{"rack=r7", "rack in (r7, r8)"}[i%2]
		must(w.UpdateAssignment(b.Context(), actor, "a-7", in))
	}
}
