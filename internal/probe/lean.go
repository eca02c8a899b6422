//go:build lean

package probe

import "github.com/perigee-monitoring/perigee/check"

// A lean build is without the strategies whose libraries weigh most. It knows them by
// name, so that it can say why it does not run them.
func init() {
	for _, id := range []string{check.Browser, check.HTTP3, check.Kafka, check.MongoDB} {
		offers[id] = offer{missing: func() string { return "its program was built lean, without it" }}
	}
}
