package server_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/server"
	"github.com/perigee-monitoring/perigee/internal/server/servertest"
)

// BenchmarkApply applies systems, each with a check of its own, to a core with three
// satellites: at first all are new, and then nothing has changed. It should take in
// proportion to how many there are.
func BenchmarkApply(b *testing.B) {
	for engine, database := range map[string]func(testing.TB) string{"sqlite": dbtest.SQLite, "postgres": dbtest.PostgreSQL} {
		for _, n := range []int{1000, 5000, catalog.MaxDocuments} {
			b.Run(fmt.Sprintf("%s/%d", engine, n), func(b *testing.B) {
				object := func(kind, name, spec string) map[string]any {
					return map[string]any{"apiVersion": catalog.APIVersion, "kind": kind, "metadata": map[string]any{"name": name}, "spec": json.RawMessage(spec)}
				}
				var documents []any
				for i := range n / 3 {
					name := fmt.Sprintf("shop-%d", i)
					documents = append(documents, object(catalog.DocSystem, name, `{}`),
						object(catalog.DocCheck, name, `{"strategy":"healthcheck-http.http","interval":"1h","config":{"timeout":5000},"collectors":[{"id":"page","collector":"healthcheck-http.request",
							"config":{"url":"http://127.0.0.1:1/"},"assertions":[{"field":"statusCode","operator":"equals","value":200}]}]}`),
						object(catalog.DocAssignment, name, fmt.Sprintf(`{"check":%q,"system":%q,"includeLocal":false,"satellites":{"selector":"region=eu"}}`, name, name)))
				}
				var first, again time.Duration
				for b.Loop() {
					b.StopTimer()
					url, _ := servertest.Core(b, server.Config{Database: database(b)})
					api, err := client.New(client.Options{URL: url, Token: servertest.Token, Timeout: 2 * time.Minute})
					if err != nil {
						b.Fatal(err)
					}
					for i := range 3 {
						if err := api.Post(b.Context(), "/satellites", map[string]any{"name": fmt.Sprintf("eu-%d", i), "region": "eu"}, nil); err != nil {
							b.Fatal(err)
						}
					}
					b.StartTimer()
					for _, took := range []*time.Duration{&first, &again} {
						begun := time.Now()
						if err := api.Post(b.Context(), "/apply", map[string]any{"documents": documents}, nil); err != nil {
							b.Fatal(err)
						}
						*took += time.Since(begun)
					}
				}
				perDocument := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(b.N*len(documents)) }
				b.ReportMetric(perDocument(first), "µs/new")
				b.ReportMetric(perDocument(again), "µs/unchanged")
			})
		}
	}
}
