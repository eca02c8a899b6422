package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// coreCase is one thing that is asked of a core.
type coreCase struct {
	name, what string
	run        func(context.Context, Target) error
}

// coreCases are what is asked of a core by who has a satellite's credentials.
var coreCases = []coreCase{
	{"A1_path", "only the exact path is a satellite's", exactPath},
	{"L30_authenticated", "right credentials are answered with the id and the assignments", inside(func(a *agent, m message) error {
		if m.text("satelliteId") != a.target.ID {
			return fmt.Errorf("satelliteId is %q, want %q", m.text("satelliteId"), a.target.ID)
		}
		if _, ok := m["assignments"].([]any); !ok {
			return errors.New("assignments is not a list (an original agent reads its length)")
		}
		return nil
	})},
	{"A4_no_extension", "who did not say so hears nothing of an extension", inside(func(a *agent, m message) error {
		for member := range m {
			if strings.HasPrefix(strings.ToLower(member), "perigee") {
				return fmt.Errorf("authenticated has a member %s", member)
			}
		}
		return nil
	})},
	{"L31_wrong_token", "a wrong token is refused and the socket closed", refusedWith(func(t *Target) { t.Token = "csat_wrong" })},
	{"L54_unknown_id", "an unknown id is refused like a wrong token", refusedWith(func(t *Target) { t.ID = "00000000-0000-4000-8000-000000000000" })},
	{"M19_id_of_no_form", "an id that is no UUID is answered too", refusedWith(func(t *Target) { t.ID = "no-uuid" })},
	{"L32_authenticate_first", "any other first message is refused and the socket closed", outside(func(a *agent) error {
		if err := a.send(`{"type":"heartbeat","version":"1","uptimeSeconds":1}`); err != nil {
			return err
		}
		return a.refused("Must authenticate first")
	})},
	{"A3_nonsense_before", "what cannot be read is ignored before authentication", outside(func(a *agent) error {
		for _, text := range []string{`not json`, `{"type":"nobody_knows_this"}`, `{"no":"type"}`} {
			if err := a.send("%s", text); err != nil {
				return err
			}
		}
		_, err := a.enter()
		return err
	})},
	{"L94_L95_unknown", "unknown members and types are ignored, and so is what cannot be read", inside(func(a *agent, _ message) error {
		for _, text := range []string{
			`not json`, `[]`, `{"type":"nobody_knows_this","a":1}`, `{"type":"heartbeat"}`, `{"type":"heartbeat","version":7,"uptimeSeconds":"x"}`,
			`{"type":"heartbeat","version":"1","uptimeSeconds":1,"future":{"a":[1]}}`,
		} {
			if err := a.send("%s", text); err != nil {
				return err
			}
		}
		return a.alive()
	})},
	{"L92_capabilities", "capabilities are taken and change nothing", outside(func(a *agent) error {
		if err := a.send(`{"type":"authenticate","clientId":%q,"token":%q,"capabilities":["telemetry"]}`, a.target.ID, a.target.Token); err != nil {
			return err
		}
		_, err := a.next("authenticated")
		return err
	})},
	{"A4_second_authenticate", "a second authenticate is ignored", inside(func(a *agent, _ message) error {
		if err := a.send(`{"type":"authenticate","clientId":%q,"token":"csat_wrong"}`, a.target.ID); err != nil {
			return err
		}
		if err := a.quiet(); err != nil {
			return err
		}
		return a.alive()
	})},
	{"L33_heartbeat", "a heartbeat is not answered", inside(func(a *agent, _ message) error {
		if err := a.send(`{"type":"heartbeat","version":"0.4.0","uptimeSeconds":15}`); err != nil {
			return err
		}
		return a.quiet()
	})},
	{"A5_result", "a result is never answered, of whatever pair", inside(func(a *agent, _ message) error {
		if err := a.send("%s", result(`"healthy"`, `42`, now())); err != nil {
			return err
		}
		if err := a.quiet(); err != nil {
			return err
		}
		return a.alive()
	})},
	{"A11_burst", "a hundred results directly after authentication are taken", inside(func(a *agent, _ message) error {
		for range 100 {
			if err := a.send("%s", result(`"unhealthy"`, `1`, now())); err != nil {
				return err
			}
		}
		return a.alive()
	})},
	{"M6_odd_results", "a fractional latency or a time that is none costs no connection", inside(func(a *agent, _ message) error {
		for _, text := range []string{result(`"healthy"`, `1.5`, now()), result(`"healthy"`, `1`, "yesterday"), result(`"fine"`, `1`, now())} {
			if err := a.send("%s", text); err != nil {
				return err
			}
		}
		return a.alive()
	})},
	{"F1_malformed_result", "a malformed RunResult costs the message alone", inside(func(a *agent, _ message) error {
		if err := a.send(`{"type":"result","configId":"c","systemId":"s","status":"healthy","executedAt":%q,"result":{"status":"healthy"}}`, now()); err != nil {
			return err
		}
		return a.alive()
	})},
	{"L81_L83_run_secrets", "a request for secrets is always answered, with the same id", inside(func(a *agent, _ message) error {
		if err := a.send(`{"type":"request_run_secrets","requestId":"r-1","configId":"none","collectorId":"e","runId":"x"}`); err != nil {
			return err
		}
		return a.error("run_secrets")
	})},
	{"H3_config_secrets", "and so is one for those of a configuration", inside(func(a *agent, _ message) error {
		if err := a.send(`{"type":"request_config_secrets","requestId":"r-1","configId":"none","runId":"x"}`); err != nil {
			return err
		}
		return a.error("config_secrets")
	})},
	{"L44_blob", "a blob that there is not is answered with null", inside(func(a *agent, _ message) error {
		if err := a.send(`{"type":"request_script_package_blob","integrity":"sha512-none"}`); err != nil {
			return err
		}
		m, err := a.next("script_package_blob")
		if err != nil {
			return err
		}
		if data, there := m["data"]; !there || data != nil || m.text("integrity") != "sha512-none" {
			return fmt.Errorf("got %v, want the same integrity and data null", m)
		}
		return nil
	})},
	{"M82_unknown_manifest", "an unknown lockfile hash is not an empty tree", inside(func(a *agent, m message) error {
		const unknown = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		if _, knows := m["scriptPackagesLockfileHash"]; !knows {
			return NotChecked("the core knows no packages") // an original's answer is then an empty list
		}
		if err := a.send(`{"type":"request_script_package_manifest","lockfileHash":%q}`, unknown); err != nil {
			return err
		}
		// Answers may overtake each other, so the next one is waited for, and a while longer.
		if err := a.send(`{"type":"telemetry_batch","batchId":"after","kind":"logstream","payload":[]}`); err != nil {
			return err
		}
		deadline := time.After(a.target.Patience)
		for {
			select {
			case m, ok := <-a.in:
				switch {
				case !ok:
					return errors.New("the connection ended")
				case m.kind() == "script_package_manifest" && m.text("lockfileHash") == unknown:
					return errors.New("it was answered with a manifest, which an original agent takes for the tree")
				case m.kind() == "telemetry_ack":
					deadline = time.After(a.target.Quiet)
				}
			case <-deadline:
				return nil
			}
		}
	})},
	{"A8_telemetry", "a batch of a kind that nobody takes is refused for good", inside(func(a *agent, _ message) error {
		if err := a.send(`{"type":"telemetry_batch","batchId":"7","kind":"nobody-takes-this","payload":null}`); err != nil {
			return err
		}
		m, err := a.next("telemetry_ack")
		if err != nil {
			return err
		}
		if m.text("batchId") != "7" || m["retryable"] != false || m["accepted"] != 0.0 {
			return fmt.Errorf("got %v, want batchId 7, accepted 0, retryable false", m)
		}
		return nil
	})},
	{"H4_capability_secret", "a capability's request for secrets is answered", inside(func(a *agent, _ message) error {
		if err := a.send(`{"type":"capability_secret_request","requestId":"r-1","kind":"nobody","payload":{}}`); err != nil {
			return err
		}
		return a.error("capability_secret_response")
	})},
	{"M14_M15_two_connections", "a second connection takes over, and the end of the first does not harm it", twoConnections},
	{"A1_ping", "a ping is answered", inside(func(a *agent, _ message) error {
		pong := make(chan struct{})
		if err := a.conn.Ping(func() { close(pong) }); err != nil {
			return err
		}
		select {
		case <-pong:
			return nil
		case <-time.After(a.target.Patience):
			return errors.New("no pong came")
		}
	})},
	{"A1_too_big", "a frame above 16 MiB ends the connection, one below does not", inside(func(a *agent, _ message) error {
		a.target.Patience = max(a.target.Patience, 30*time.Second) // so many bytes take their time
		if err := a.send(`{"type":"strategy_error","strategyId":"x","message":"m","pad":"%s"}`, strings.Repeat("x", 15<<20)); err != nil {
			return err
		}
		if err := a.alive(); err != nil {
			return fmt.Errorf("after 15 MiB: %w", err)
		}
		_ = a.send(`{"type":"strategy_error","strategyId":"x","message":"m","pad":"%s"}`, strings.Repeat("x", 16<<20))
		return a.closed()
	})},
}

func now() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000Z") }

// result is a result of a pair that is assigned to nobody.
func result(status, latency, at string) string {
	return fmt.Sprintf(`{"type":"result","configId":"no-such-check","systemId":"no-such-system","status":%s,"latencyMs":%s,"executedAt":%q}`, status, latency, at)
}

// refused expects auth_failed with the reason, and the end of the connection.
func (a *agent) refused(reason string) error {
	m, err := a.next("auth_failed")
	if err != nil {
		return err
	}
	if m.text("reason") != reason {
		return fmt.Errorf("the reason is %q, want %q", m.text("reason"), reason)
	}
	return a.closed()
}

// error expects an answer to r-1 that holds an error.
func (a *agent) error(kind string) error {
	m, err := a.next(kind)
	if err != nil {
		return err
	}
	return refusedSecrets(m)
}

// refusedSecrets expects that r-1 is answered with an error.
func refusedSecrets(m message) error {
	if m.text("requestId") != "r-1" || m.text("error") == "" {
		return fmt.Errorf("got %v, want requestId r-1 and an error", m)
	}
	return nil
}

func refusedWith(change func(*Target)) func(context.Context, Target) error {
	return func(ctx context.Context, t Target) error {
		change(&t)
		return outside(func(a *agent) error {
			if err := a.send(`{"type":"authenticate","clientId":%q,"token":%q}`, t.ID, t.Token); err != nil {
				return err
			}
			return a.refused("Invalid client ID or token")
		})(ctx, t)
	}
}

func exactPath(ctx context.Context, t Target) error {
	for _, path := range []string{"/api/ws/satellite/", "/api/ws/satellite/x"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(t.URL, "/")+path, nil)
		if err != nil {
			return err
		}
		client := &http.Client{Timeout: t.Patience}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		client.CloseIdleConnections()
		if resp.StatusCode != http.StatusNotFound {
			return fmt.Errorf("%s is answered with %d, want 404", path, resp.StatusCode)
		}
	}
	return nil
}

func twoConnections(ctx context.Context, t Target) error {
	first, err := dial(ctx, t)
	if err != nil {
		return err
	}
	defer first.hangUp()
	if _, err := first.enter(); err != nil {
		return err
	}
	second, err := dial(ctx, t)
	if err != nil {
		return err
	}
	defer second.hangUp()
	if _, err := second.enter(); err != nil {
		return fmt.Errorf("the second connection: %w", err)
	}
	if err := first.closed(); err != nil {
		return fmt.Errorf("the first connection was not superseded: %w", err)
	}
	if err := second.alive(); err != nil {
		return fmt.Errorf("after the end of the first: %w", err)
	}
	return nil
}
