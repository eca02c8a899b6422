package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Subject is the agent under test.
type Subject struct {
	// Start starts an agent that connects to the core at the URL as the satellite of the
	// id and the token. It has to find a data directory of its own, and nothing in it.
	// stop ends the agent the way its operator would, and returns when it has ended.
	Start func(ctx context.Context, url, id, token string) (stop func(), err error)
	// Patience is how long the agent may take for something; 15 s when zero.
	Patience time.Duration
	// Quiet is how long is waited for what must not come; 2.5 s when zero, which is
	// longer than the first wait before a reconnect.
	Quiet time.Duration
	// Only, if not nil, says which cases are run.
	Only func(name string) bool
}

// atOnce is how many agents run at a time: most of the time they, and the suite, wait.
const atOnce = 6

// Agent runs every case against the agent. seen, if not nil, hears of each as it ends.
func Agent(ctx context.Context, subject Subject, seen func(Outcome)) []Outcome {
	if subject.Patience == 0 {
		subject.Patience = 15 * time.Second
	}
	if subject.Quiet == 0 {
		subject.Quiet = 2500 * time.Millisecond
	}
	var all []Outcome
	var cases []func(*core) error
	for _, c := range agentCases {
		if subject.Only == nil || subject.Only(c.name) {
			all = append(all, Outcome{Name: c.name, What: c.what, Pass: true})
			cases = append(cases, c.run)
		}
	}
	var running sync.WaitGroup
	var hearing sync.Mutex
	places := make(chan struct{}, atOnce)
	for i := range all {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			if err := withCore(ctx, subject, i, cases[i]); err != nil {
				all[i].Pass, all[i].Detail = false, err.Error()
			}
			hearing.Lock()
			defer hearing.Unlock()
			if seen != nil {
				seen(all[i])
			}
		})
	}
	running.Wait()
	return all
}

// agentCases are what is asked of an agent, the long ones first.
var agentCases = []struct {
	name, what string
	run        func(*core) error
}{
	{"L93_heartbeat", "a heartbeat comes every 15 seconds, with version and uptime", working("", nil, heartbeats)},
	{"M18_no_answer", "a core that never answers is left, and tried again", met(neverAnswered)},
	{"K5_backoff", "a core that refuses is tried again, with longer and longer waits", backsOff},
	{"M4_offline", "checks go on while the core is away, and what they found is told", working("", one, measuresOffline)},
	{"A1_address", "the path goes behind the URL's own, of which one slash is taken off", func(c *core) error {
		if err := c.start("/behind/a/proxy/"); err != nil {
			return err
		}
		s, err := c.accept()
		if err != nil {
			return err
		}
		if want := "/behind/a/proxy" + socketPath; s.request.URL.Path != want || s.request.URL.RawQuery != "" {
			return fmt.Errorf("the agent asked for %s, want %s", s.request.URL, want)
		}
		return nil
	}},
	{"A5_authenticate", "the first message says who it is, and nothing before or beside it does", met(authenticates)},
	{"A4_waits", "nothing else is said before the core has answered", met(func(_ *core, s *session) error {
		if _, err := s.greeted(); err != nil {
			return err
		}
		return s.silent()
	})},
	{"A4_early_push", "a push that overtakes the answer does no harm, and is not worked on aloud", met(func(c *core, s *session) error {
		if _, err := s.greeted(); err != nil {
			return err
		}
		if err := s.update(one(c)...); err != nil {
			return err
		}
		if err := s.silent(); err != nil {
			return err
		}
		if err := s.admit("", one(c)...); err != nil {
			return err
		}
		_, err := s.result("c1", "web")
		return err
	})},
	{"A1_ping", "a ping is answered", working("", nil, func(_ *core, s *session) error { return s.answers() })},
	{"A1_pieces", "a message in pieces is one message, also with a ping in between", working("", nil, func(c *core, s *session) error {
		text := fmt.Appendf(nil, `{"type":"config_updated","assignments":[%s]}`, one(c)[0])
		if err := errors.Join(s.write(opText, false, text[:20]), s.write(opPing, true, nil), s.write(opContinue, false, text[20:50]), s.write(opContinue, true, text[50:])); err != nil {
			return err
		}
		_, err := s.result("c1", "web")
		return err
	})},
	{"A1_large", "a message of 20 MB is taken: a blob comes whole", working("", nil, func(c *core, s *session) error {
		if err := s.send(`{"type":"config_updated","assignments":[%s],"pad":"%s"}`, one(c)[0], strings.Repeat("x", 20_000_000)); err != nil {
			return err
		}
		_, err := s.result("c1", "web")
		return err
	})},
	{"A5_messages", "all that is said is what an original core knows, and complete", working(`null`, one, func(_ *core, s *session) error { return s.regular() })},
	{"F1_result", "a result has the form that a core stores", working("", one, func(_ *core, s *session) error {
		m, err := s.result("c1", "web")
		if err != nil {
			return err
		}
		return formOf(m)
	})},
	{"L127_collector_error", "what a collector could not do makes the run unhealthy, and is told in its entry", working("", func(c *core) []string {
		return []string{c.checkOf("c1", "web", "http://127.0.0.1:1/", `[]`, "")}
	}, func(_ *core, s *session) error {
		m, err := s.result("c1", "web")
		if err != nil {
			return err
		}
		entry := m.at("result", "metadata", "collectors", "e1")
		if m.text("status") != "unhealthy" || entry.text("error")+entry.text("_collectorError") == "" || m.at("result").text("message") == "" {
			return fmt.Errorf("got %v, want unhealthy, a message, and an error of the collector e1", m)
		}
		return nil
	})},
	{"L128_unknown_strategy", "a strategy that it does not have is told, by an unhealthy result or a strategy_error", working("", func(c *core) []string {
		return []string{`{"configId":"c1","systemId":"web","strategyId":"healthcheck-nobody.has","config":{},"intervalSeconds":1}`}
	}, func(c *core, s *session) error {
		deadline := time.After(c.Patience)
		for {
			select {
			case m, ok := <-s.in:
				told := m.text("message") + m.at("result").text("message")
				switch {
				case !ok:
					return errors.New("the connection ended")
				case m.kind() == "result" && m.text("status") != "unhealthy":
					return fmt.Errorf("the result is %s", m.text("status"))
				case m.kind() != "result" && m.kind() != "strategy_error":
				case !strings.Contains(told, "not found"):
					return fmt.Errorf("it says %q, want that it was not found", told)
				default:
					return nil
				}
			case <-deadline:
				return fmt.Errorf("nothing was told for %s", c.Patience)
			}
		}
	})},
	{"L125_templates", "what the core knows of the system and the environment is filled in", working("", func(c *core) []string {
		return []string{c.check("c1", "web", "{{ system.metadata.where }}/{{ environment.id }}", `,"systemMetadata":{"where":"there"},"environments":[{"id":"e-1","name":"One"}]`)}
	}, func(c *core, _ *session) error { return c.visited("there/e-1", 1) })},
	{"L129_environments", "a check runs once for each environment, and the result names it", working("", func(c *core) []string {
		return []string{c.check("c1", "web", "a", `,"environments":[{"id":"e-1","name":"One"},{"id":"e-2","name":"Two","fields":{}}]`)}
	}, func(_ *core, s *session) error { return s.named("e-1", "e-2") })},
	{"L130_L131_no_environment", "without environments, or with an empty list, it runs once and names none", working("", func(c *core) []string {
		return []string{c.check("c1", "web", "a", ""), c.check("c2", "web", "a", `,"environments":[]`)}
	}, func(_ *core, s *session) error {
		for _, config := range []string{"c1", "c2"} {
			m, err := s.result(config, "web")
			if err != nil {
				return err
			}
			if m["environmentId"] != nil {
				return fmt.Errorf("the result of %s names the environment %v", config, m["environmentId"])
			}
		}
		return nil
	})},
	{"L133_two_systems", "one check of two systems is two", working("", func(c *core) []string {
		return []string{c.check("c1", "web", "a", ""), c.check("c1", "shop", "b", "")}
	}, func(_ *core, s *session) error {
		_, err := s.result("c1", "web")
		if err != nil {
			return err
		}
		_, err = s.result("c1", "shop")
		return err
	})},
	{"K3_schedule", "a check runs again and again, at its interval", working("", one, func(c *core, _ *session) error {
		if err := c.visited("a", 1); err != nil {
			return err
		}
		began := time.Now()
		if err := c.visited("a", 4); err != nil {
			return err
		}
		if took := time.Since(began); took < 1500*time.Millisecond {
			return fmt.Errorf("a check of every second ran three times more within %s", took)
		}
		return nil
	})},
	{"K3_same_set", "the same assignments once more change no schedule", working("", nil, sameSet)},
	{"A6_config_updated", "an update begins what is new in it and ends what is not", working("", one, func(c *core, s *session) error {
		if err := c.visited("a", 1); err != nil {
			return err
		}
		if err := s.update(c.check("c2", "web", "b", "")); err != nil {
			return err
		}
		if err := c.visited("b", 1); err != nil {
			return err
		}
		if err := c.still("a"); err != nil {
			return err
		}
		if err := s.update(); err != nil {
			return err
		}
		return c.still("b")
	})},
	{"M63_changed", "a changed assignment is in effect at once, without a reconnect", working("", one, func(c *core, s *session) error {
		if err := c.visited("a", 1); err != nil {
			return err
		}
		if err := s.update(c.check("c1", "web", "b", "")); err != nil {
			return err
		}
		if err := c.visited("b", 1); err != nil {
			return err
		}
		return c.still("a")
	})},
	{"L95_unknown", "unknown types and members are ignored, and so is what cannot be read", working("", nil, survives(
		`not json`, `[]`, `null`, `7`, ``, `{"no":"type"}`, `{"type":7}`, `{"type":"nobody_knows_this","a":1}`,
		`{"type":"sandbox_policy","policy":{"enabled":true}}`, `{"type":"capability_config","kind":"nobody","payload":{}}`,
		`{"type":"telemetry_ack","batchId":"9","accepted":0,"rejected":0,"retryable":false}`,
		`{"type":"run_secrets","requestId":"nobody-asked","env":{}}`, `{"type":"config_secrets","requestId":"nobody-asked"}`,
		`{"type":"script_package_manifest","lockfileHash":"nobody-asked","entries":[]}`, `{"type":"script_package_blob","integrity":"nobody-asked","data":null}`,
		`{"type":"capability_secret_response","requestId":"nobody-asked","error":"no"}`,
	))},
	{"A3_incomplete", "a message that lacks what it must have costs no connection, and no assignments", working("", one, func(c *core, s *session) error {
		if err := c.visited("a", 1); err != nil {
			return err
		}
		for _, text := range []string{
			`{"type":"config_updated"}`, `{"type":"config_updated","assignments":7}`, `{"type":"refresh_script_packages"}`, `{"type":"run_secrets"}`,
			`{"type":"config_secrets","requestId":1}`, `{"type":"script_package_manifest","lockfileHash":"x"}`, `{"type":"script_package_blob"}`,
		} {
			if err := s.send("%s", text); err != nil {
				return err
			}
		}
		if err := s.answers(); err != nil {
			return err
		}
		before, _ := c.hits("a")
		return c.visited("a", before+2)
	})},
	{"A1_binary", "a binary message costs no connection", working("", nil, func(c *core, s *session) error {
		if err := s.write(opBinary, true, []byte{0xff, 0x00, 0xfe}); err != nil {
			return err
		}
		return survives()(c, s)
	})},
	{"L102_in_flight", "a run that goes on when the connection is cut is told at the next one, once", working("", nil, inFlight)},
	{"K5_cut", "after a cut it comes back, after a while", working("", nil, func(c *core, s *session) error {
		s.cut()
		return c.comesBack()
	})},
	{"K5_closed", "and so it does when the core closes", working("", nil, func(c *core, s *session) error {
		if err := s.close(1000, ""); err != nil {
			return err
		}
		return c.comesBack()
	})},
	{"A6_auth_failed", "who is refused closes with 4001", met(func(_ *core, s *session) error {
		if _, err := s.greeted(); err != nil {
			return err
		}
		if err := s.send(`{"type":"auth_failed","reason":"Invalid client ID or token"}`); err != nil {
			return err
		}
		return s.leftWith(4001, "Auth failed")
	})},
	{"M20_refused", "and does not come back at once", met(func(c *core, s *session) error {
		if _, err := s.greeted(); err != nil {
			return err
		}
		if err := errors.Join(s.send(`{"type":"auth_failed","reason":"Invalid client ID or token"}`), s.close(1000, "")); err != nil {
			return err
		}
		return c.away()
	})},
	{"A6_shutdown", "who is asked to leave closes with 1000", working("", nil, func(_ *core, s *session) error {
		if err := s.send(`{"type":"shutdown","reason":"conformance"}`); err != nil {
			return err
		}
		return s.leftWith(1000, "Client shutdown")
	})},
	{"M20_shutdown", "and does not come back at once", working("", nil, func(c *core, s *session) error {
		if err := s.send(`{"type":"shutdown","reason":"conformance"}`); err != nil {
			return err
		}
		if err := s.left(c.Patience); err != nil {
			return err
		}
		return c.away()
	})},
	{"A10_stop", "an agent that is stopped says so: 1000", working("", nil, func(c *core, s *session) error {
		c.end()
		return s.leftWith(1000, "Client shutdown")
	})},
	{"L76_no_hash", "of packages nothing is said when the core says nothing of them", working("", nil, func(_ *core, s *session) error {
		return s.silent("script_package_sync_state", "request_script_package_manifest", "request_script_package_blob")
	})},
	{"L111_null", "no packages are ready at once", working("null", nil, func(_ *core, s *session) error {
		m, err := s.next("script_package_sync_state")
		if err != nil {
			return err
		}
		if hash, there := m["lockfileHash"]; !there || hash != nil || m.text("status") != "ready" {
			return fmt.Errorf("got %v, want lockfileHash null and status ready", m)
		}
		return nil
	})},
	{"G6_sync", "packages are asked for, one by one, and told to be ready", working("", nil, func(_ *core, s *session) error {
		p := packed("left-pad", "1.3.0", "left-pad@1.3.0@@@1/")
		if err := s.refresh("g6"); err != nil {
			return err
		}
		return s.sync("g6", p, p.data, "ready", "")
	})},
	{"L112_no_blob", "a blob that the core does not have is an error that names it", working("", nil, func(_ *core, s *session) error {
		p := packed("left-pad", "1.3.0", "left-pad@1.3.0@@@1/")
		if err := s.refresh("l112"); err != nil {
			return err
		}
		return s.sync("l112", p, nil, "error", p.integrity)
	})},
	{"L246_tampered", "a blob of another hash than announced is an error", working("", nil, func(_ *core, s *session) error {
		p, other := packed("left-pad", "1.3.0", "left-pad@1.3.0@@@1/"), packed("left-pad", "1.3.1", "left-pad@1.3.0@@@1/")
		if err := s.refresh("l246"); err != nil {
			return err
		}
		return s.sync("l246", p, other.data, "error", "")
	})},
	{"L248_archive", "an archive that leads out of its directory is an error", working("", nil, func(_ *core, s *session) error {
		p := packed("left-pad", "1.3.0", "../outside/")
		if err := s.refresh("l248"); err != nil {
			return err
		}
		return s.sync("l248", p, p.data, "error", "")
	})},
	{"L113_latest", "of several that are wanted in a row the last one counts", working("", nil, latest)},
	{"M22_cut_sync", "a cut while packages are asked for costs no more than that", working(hashOf("m22"), nil, cutSync)},
	{"H3_config_secrets", "secrets of a configuration are asked for, by who runs it, and used", working("", secretive, func(c *core, s *session) error {
		m, err := s.next("request_config_secrets")
		if err != nil {
			return err
		}
		if m.text("requestId") == "" || m.text("configId") != "c1" || m.text("runId") == "" {
			return fmt.Errorf("got %v, want a requestId, configId c1 and a runId", m)
		}
		const answer = `{"type":"config_secrets","requestId":%q,"strategy":{},"collectors":{"e1":{"headers[0].value":%q,"no.such[3].path":"x"}}}`
		if err := errors.Join(s.send(answer, "nobody-asked", "wrong"), s.send(answer, m.text("requestId"), "open-sesame")); err != nil {
			return err
		}
		if err := c.visited("a", 1); err != nil {
			return err
		}
		if _, header := c.hits("a"); header.Get("X-Conformance") != "open-sesame" {
			return fmt.Errorf("the check used %q, want what it was given", header.Get("X-Conformance"))
		}
		return nil
	})},
	{"L120_refused", "a check whose secrets are refused does not run, and says so", working("", secretive, func(c *core, s *session) error {
		m, err := s.next("request_config_secrets")
		if err != nil {
			return err
		}
		if err := s.send(`{"type":"config_secrets","requestId":%q,"error":"no such secret"}`, m.text("requestId")); err != nil {
			return err
		}
		m, err = s.result("c1", "web")
		if err != nil {
			return err
		}
		if m.text("status") != "unhealthy" || m.at("result", "metadata")["connected"] != false || m.at("result", "metadata").text("error") == "" {
			return fmt.Errorf("got %v, want unhealthy, not connected, and an error", m)
		}
		return c.never("a")
	})},
	{"L120_left_over", "nor does one that has a marker left when the core has answered", working("", secretive, func(c *core, s *session) error {
		m, err := s.next("request_config_secrets")
		if err != nil {
			return err
		}
		if err := s.send(`{"type":"config_secrets","requestId":%q}`, m.text("requestId")); err != nil {
			return err
		}
		if m, err = s.result("c1", "web"); err != nil {
			return err
		}
		if m.text("status") != "unhealthy" {
			return fmt.Errorf("the result is %s, want unhealthy", m.text("status"))
		}
		return c.never("a")
	})},
	{"L115_literals", "a configuration without secrets asks for none", working("", one, func(_ *core, s *session) error {
		return s.silent("request_config_secrets", "request_run_secrets", "capability_secret_request")
	})},
	{"H2_run_secrets", "secrets of a script are asked for by its entry, given to it, and masked (scripts allowed)", working("", scripted, func(_ *core, s *session) error {
		m, err := s.next("request_run_secrets")
		if err != nil {
			return err
		}
		if m.text("requestId") == "" || m.text("configId") != "c1" || m.text("collectorId") != "e1" || m.text("runId") == "" {
			return fmt.Errorf("got %v, want a requestId, configId c1, collectorId e1 and a runId", m)
		}
		if err := s.send(`{"type":"run_secrets","requestId":%q,"env":{"CONFORMANCE":"open-sesame"}}`, m.text("requestId")); err != nil {
			return err
		}
		if m, err = s.result("c1", "web"); err != nil {
			return err
		}
		if out := m.at("result", "metadata", "collectors", "e1").text("stdout"); strings.TrimSpace(out) != "11 ****" {
			return fmt.Errorf("the script says %q, want the value's length and ****", out)
		}
		return nil
	})},
	{"H2_refused", "a script whose secrets are refused fails, with the core's words (scripts allowed)", working("", scripted, func(_ *core, s *session) error {
		m, err := s.next("request_run_secrets")
		if err != nil {
			return err
		}
		if err := s.send(`{"type":"run_secrets","requestId":%q,"error":"no such secret"}`, m.text("requestId")); err != nil {
			return err
		}
		if m, err = s.result("c1", "web"); err != nil {
			return err
		}
		entry := m.at("result", "metadata", "collectors", "e1")
		if m.text("status") != "unhealthy" || !strings.Contains(entry.text("error")+entry.text("_collectorError"), "no such secret") {
			return fmt.Errorf("got %v, want unhealthy, and the core's words as the error of e1", m)
		}
		return nil
	})},
}

// at is a member of members.
func (m message) at(path ...string) message {
	for _, member := range path {
		m, _ = m[member].(map[string]any)
	}
	return m
}
