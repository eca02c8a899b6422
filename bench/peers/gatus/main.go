// Gatus lets the probe code of Gatus carry out checks.
package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/TwiN/gatus/v5/client"
	"github.com/TwiN/gatus/v5/config/endpoint"

	"github.com/perigee-monitoring/perigee/bench/pace"
)

func main() {
	pace.Main(func(kind, target string) (func() error, error) {
		e := &endpoint.Endpoint{Name: "target", URL: target, ClientConfig: &client.Config{Timeout: 30 * time.Second}}
		switch kind {
		case "http":
			e.Conditions = []endpoint.Condition{"[STATUS] == 200", "[BODY] == pat(*well*)"}
		case "tcp":
			e.URL, e.Conditions = "tcp://"+target, []endpoint.Condition{"[CONNECTED] == true"}
		default:
			return nil, fmt.Errorf("Gatus has no check for %q", kind)
		}
		if err := e.ValidateAndSetDefaults(); err != nil {
			return nil, err
		}
		return func() error {
			if result := e.EvaluateHealth(); !result.Success {
				return fmt.Errorf("the check failed: %s", strings.Join(result.Errors, ", "))
			}
			return nil
		}, nil
	})
}
