package conformance

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
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

// heartbeatEvery is the original's period; offline is who is not heard for three (A.2).
const heartbeatEvery = 15 * time.Second

func heartbeats(c *core, s *session) error {
	var last float64
	for i := range 2 {
		asked := time.Now()
		m, err := s.nextWithin("heartbeat", heartbeatEvery+c.Patience, nil)
		if err != nil {
			return err
		}
		uptime, ok := m["uptimeSeconds"].(float64)
		if m.text("version") == "" || !ok || uptime < last {
			return fmt.Errorf("got %v, want a version, and uptimeSeconds that grow", m)
		}
		if capabilities, there := m["capabilities"]; there && !texts(capabilities) {
			return fmt.Errorf("the capabilities are %v, want a list of texts", capabilities)
		}
		if i > 0 && time.Since(asked) < heartbeatEvery/3 {
			return fmt.Errorf("the second heartbeat came after %s", time.Since(asked))
		}
		last = uptime
	}
	return nil
}

// texts: v is a list of texts, and not empty (A.8).
func texts(v any) bool {
	list, ok := v.([]any)
	return ok && len(list) > 0 && !slices.ContainsFunc(list, func(item any) bool { _, ok := item.(string); return !ok })
}

func neverAnswered(c *core, s *session) error {
	if _, err := s.greeted(); err != nil {
		return err
	}
	if err := s.left(20*time.Second + c.Patience); err != nil {
		return err
	}
	s, err := c.accept()
	if err != nil {
		return err
	}
	return s.welcome("")
}

// soonest is the least that an agent waits before it comes back: the original's first
// wait is a second, and a quarter less at most (K.5).
const soonest = 500 * time.Millisecond

func (c *core) comesBack() error {
	gone := time.Now()
	s, err := c.accept()
	if err != nil {
		return err
	}
	if after := time.Since(gone); after < soonest {
		return fmt.Errorf("it came back after %s; all of them would, at the same instant", after)
	}
	return s.welcome("")
}

func backsOff(c *core) error {
	c.refusing.Store(true)
	if err := c.start(""); err != nil {
		return err
	}
	var at []time.Time
	for len(at) < 4 {
		select {
		case t := <-c.attempts:
			at = append(at, t)
		case <-time.After(c.Patience):
			return fmt.Errorf("it tried %d times, and then no more for %s", len(at), c.Patience)
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
	first, third := at[1].Sub(at[0]), at[3].Sub(at[2])
	if first < soonest || third <= first {
		return fmt.Errorf("it waited %s at first and %s after the third attempt, want at least %s and then longer", first, third, soonest)
	}
	return nil
}

func authenticates(c *core, s *session) error {
	for _, name := range []string{"Authorization", "Cookie", "Sec-WebSocket-Protocol"} {
		if value := s.request.Header.Get(name); value != "" {
			return fmt.Errorf("the request for the socket has a header %s", name)
		}
	}
	m, err := s.greeted()
	if err != nil {
		return err
	}
	if m.text("clientId") != c.id || m.text("token") != c.token {
		return fmt.Errorf("it is clientId %q and the %d characters of a token, want %q and %d", m.text("clientId"), len(m.text("token")), c.id, len(c.token))
	}
	if capabilities, there := m["capabilities"]; there && !texts(capabilities) {
		return fmt.Errorf("the capabilities are %v, want a list of texts", capabilities)
	}
	return nil
}

// known is what an original core takes, with what must be in it (A.5). A ? is for what
// may be null.
var known = map[string]string{
	"heartbeat": "version:s uptimeSeconds:n", "result": "configId:s systemId:s status:s executedAt:s", "strategy_error": "strategyId:s message:s",
	"script_package_sync_state": "lockfileHash:? status:s", "request_script_package_manifest": "lockfileHash:s", "request_script_package_blob": "integrity:s",
	"request_run_secrets": "requestId:s configId:s collectorId:s runId:s", "request_config_secrets": "requestId:s configId:s runId:s",
	"telemetry_batch": "batchId:s kind:s payload:?", "capability_status": "kind:s payload:?", "capability_secret_request": "requestId:s kind:s payload:?",
}

// regular expects that what comes is known, and complete; a result has to be in it.
func (s *session) regular() error {
	var enough <-chan time.Time
	deadline := time.After(s.core.Patience + s.core.Quiet)
	for {
		select {
		case m, ok := <-s.in:
			if !ok {
				return fmt.Errorf("the connection ended (%d %s)", s.code, s.reason)
			}
			if err := complete(m); err != nil {
				return err
			}
			if m.kind() == "result" && enough == nil {
				enough = time.After(s.core.Quiet)
			}
		case <-enough:
			return nil
		case <-deadline:
			return errors.New("expected a result, and none came")
		}
	}
}

func complete(m message) error {
	members, ok := known[m.kind()]
	if !ok {
		return fmt.Errorf("it said %q, which an original core does not know", m.kind())
	}
	for member := range strings.FieldsSeq(members) {
		name, kind, _ := strings.Cut(member, ":")
		value, there := m[name]
		_, isText := value.(string)
		_, isNumber := value.(float64)
		if !there || kind == "s" && !isText || kind == "n" && !isNumber {
			return fmt.Errorf("in %s the member %s is missing, or of another type: an original core drops it", m.kind(), name)
		}
	}
	return nil
}

var instant = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)

// formOf judges the result of a check that was well (F.1, A.12).
func formOf(m message) error {
	latency, ok := m["latencyMs"].(float64)
	if !ok || latency < 0 || latency != math.Trunc(latency) {
		return fmt.Errorf("latencyMs is %v, want whole milliseconds: the column has no others", m["latencyMs"])
	}
	at, err := time.Parse(time.RFC3339Nano, m.text("executedAt"))
	if err != nil || !instant.MatchString(m.text("executedAt")) {
		return fmt.Errorf("executedAt is %q, want ISO with milliseconds and Z", m.text("executedAt"))
	}
	if time.Since(at).Abs() > time.Minute {
		return fmt.Errorf("executedAt is %s, and it is %s", m.text("executedAt"), now())
	}
	found := m.at("result")
	if m.text("status") != "healthy" || found.text("status") != "healthy" {
		return fmt.Errorf("the status is %q and %q, want healthy both times", m.text("status"), found.text("status"))
	}
	if _, ok := found["latencyMs"].(float64); !ok || found.text("message") == "" || found.at("metadata")["connected"] != true {
		return fmt.Errorf("the result is %v, want latencyMs, a message, and connected true", found)
	}
	entry := found.at("metadata", "collectors", "e1")
	if entry.text("_collectorId") != "healthcheck-http.request" || entry["statusCode"] != 200.0 || entry["success"] != true {
		return fmt.Errorf("the collectors are %v, want an entry e1 of healthcheck-http.request with statusCode 200", found.at("metadata")["collectors"])
	}
	return nil
}

// named expects a result for each of the environments, and of no others.
func (s *session) named(all ...string) error {
	missing := slices.Clone(all)
	deadline := time.Now().Add(s.core.Patience)
	for len(missing) > 0 {
		m, err := s.result("c1", "web")
		if err == nil && time.Now().After(deadline) {
			err = fmt.Errorf("expected result, and none came for %s", s.core.Patience)
		}
		if err != nil {
			return fmt.Errorf("of %v: %w", missing, err)
		}
		if !slices.Contains(all, m.text("environmentId")) {
			return fmt.Errorf("a result names the environment %v, want one of %v", m["environmentId"], all)
		}
		missing = slices.DeleteFunc(missing, func(id string) bool { return id == m.text("environmentId") })
	}
	return nil
}

// survives expects that the agent goes on after the messages.
func survives(texts ...string) func(*core, *session) error {
	return func(c *core, s *session) error {
		for _, text := range texts {
			if err := s.send("%s", text); err != nil {
				return err
			}
		}
		if err := s.answers(); err != nil {
			return err
		}
		if err := s.send(`{"type":"config_updated","assignments":[%s],"future":{"a":[1]}}`, c.check("c1", "web", "a", `,"future":[{}]`)); err != nil {
			return err
		}
		_, err := s.result("c1", "web")
		return err
	}
}

func sameSet(c *core, s *session) error {
	set := strings.Replace(c.check("c1", "web", "a", ""), `"intervalSeconds":1`, `"intervalSeconds":2`, 1)
	if err := s.update(set); err != nil {
		return err
	}
	if err := c.visited("a", 1); err != nil {
		return err
	}
	began := time.Now()
	for time.Since(began) < 4500*time.Millisecond {
		if err := s.update(set); err != nil {
			return err
		}
		if err := c.pause(150 * time.Millisecond); err != nil {
			return err
		}
	}
	n, _ := c.hits("a")
	if most := 2 + int(time.Since(began)/(2*time.Second)); n < 2 || n > most {
		return fmt.Errorf("a check of every two seconds ran %d times in %s of updates that change nothing, want 2 to %d", n, time.Since(began).Round(time.Second), most)
	}
	return nil
}

// inFlight cuts the connection while a request waits for its answer, which is then 202,
// as no other is.
func inFlight(c *core, s *session) error {
	release := sync.OnceFunc(c.hold("a"))
	defer release()
	if err := s.update(one(c)...); err != nil {
		return err
	}
	if err := c.visited("a", 1); err != nil {
		return err
	}
	s.cut()
	release()
	s, err := c.accept()
	if err != nil {
		return err
	}
	if err := s.welcome("", one(c)...); err != nil {
		return err
	}
	held := func(m message) bool { return m.at("result", "metadata", "collectors", "e1")["statusCode"] == 202.0 }
	if _, err := s.nextWithin("result", c.Patience, held); err != nil {
		return fmt.Errorf("the run that went on at the cut: %w", err)
	}
	again := time.After(c.Quiet)
	for {
		select {
		case m, ok := <-s.in:
			if !ok {
				return errors.New("the connection ended")
			}
			if held(m) {
				return errors.New("the run that went on at the cut was told twice")
			}
		case <-again:
			return nil
		}
	}
}

func measuresOffline(c *core, s *session) error {
	if _, err := s.result("c1", "web"); err != nil {
		return err
	}
	c.refusing.Store(true)
	s.cut()
	gone := time.Now()
	before, _ := c.hits("a")
	if err := c.visited("a", before+2); err != nil {
		return fmt.Errorf("while the core was away: %w", err)
	}
	back := time.Now()
	c.refusing.Store(false)
	s, err := c.accept()
	if err != nil {
		return err
	}
	if err := s.welcome("", one(c)...); err != nil {
		return err
	}
	last := ""
	for {
		m, err := s.result("c1", "web")
		if err != nil {
			return fmt.Errorf("of what was found while the core was away: %w", err)
		}
		if m.text("executedAt") < last {
			return fmt.Errorf("the results are not in order: %s comes behind %s", m.text("executedAt"), last)
		}
		last = m.text("executedAt")
		switch at, err := time.Parse(time.RFC3339Nano, last); {
		case err != nil:
			return err
		case at.After(gone) && at.Before(back):
			return nil
		case at.After(back):
			return errors.New("nothing is told of the time that the core was away")
		}
	}
}

// never expects that the page was not asked for.
func (c *core) never(name string) error {
	if n, _ := c.hits(name); n > 0 {
		return fmt.Errorf("the check ran %d times all the same", n)
	}
	return nil
}

// secretive is a check with a secret in its configuration.
func secretive(c *core) []string {
	return []string{c.checkOf("c1", "web", c.url+"/page/a", `[{"name":"X-Conformance","value":"__hcsecret__:conformance"}]`, "")}
}

// scripted is a check by a script that says how long its secret is, and the secret.
func scripted(*core) []string {
	return []string{`{"configId":"c1","systemId":"web","strategyId":"healthcheck-script.script","config":{"timeout":10000},"collectors":[` +
		`{"id":"e1","collectorId":"healthcheck-script.execute","config":{"script":"echo ${#CONFORMANCE} $CONFORMANCE","timeout":5000,` +
		`"secretEnv":{"CONFORMANCE":"${{ secrets.CONFORMANCE }}"}}}],"intervalSeconds":1}`}
}

// pack is a script package as the wire has it.
type pack struct {
	entry     string // in the manifest
	integrity string
	data      []byte
}

// packed makes the blob of a package, with what there is in it in dir (N.2).
func packed(name, version, dir string) pack {
	var blob bytes.Buffer
	zipped := gzip.NewWriter(&blob)
	archive := tar.NewWriter(zipped)
	for file, text := range map[string]string{
		"package.json": fmt.Sprintf(`{"name":%q,"version":%q,"main":"index.js"}`, name, version),
		"index.js":     "module.exports = () => 1\n",
	} {
		_ = archive.WriteHeader(&tar.Header{Name: dir + file, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}) // into memory
		_, _ = archive.Write([]byte(text))
	}
	_ = archive.Close()
	_ = zipped.Close()
	sum := sha256.Sum256(blob.Bytes())
	p := pack{integrity: "sha512-" + base64.StdEncoding.EncodeToString(bytes.Repeat(sum[:], 2)), data: blob.Bytes()}
	p.entry = fmt.Sprintf(`{"name":%q,"version":%q,"integrity":%q,"blobSha256":%q}`, name, version, p.integrity, hex.EncodeToString(sum[:]))
	return p
}

// hashOf is a lockfile hash, as JSON.
func hashOf(name string) string { return fmt.Sprintf("%q", plainHashOf(name)) }

func plainHashOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

func (s *session) refresh(name string) error {
	return s.send(`{"type":"refresh_script_packages","lockfileHash":%s}`, hashOf(name))
}

func (s *session) manifest(hash string, p pack) error {
	return s.send(`{"type":"script_package_manifest","lockfileHash":%q,"entries":[%s]}`, hash, p.entry)
}

// blob answers with the bytes, null for nil.
func (s *session) blob(integrity string, data []byte) error {
	if data == nil {
		return s.send(`{"type":"script_package_blob","integrity":%q,"data":null}`, integrity)
	}
	return s.send(`{"type":"script_package_blob","integrity":%q,"data":%q}`, integrity, base64.StdEncoding.EncodeToString(data))
}

// sync answers for packages until the agent says how it went (G.6): syncing first, and
// then the status, with a message that has the words in it if it is an error.
func (s *session) sync(name string, p pack, data []byte, status, words string) error {
	m, err := s.next("script_package_sync_state")
	if err != nil {
		return err
	}
	if m.text("lockfileHash") != plainHashOf(name) || m.text("status") != "syncing" {
		return fmt.Errorf("first it reports %v, want syncing, and the hash", m)
	}
	if m, err = s.next("request_script_package_manifest"); err != nil {
		return err
	}
	if m.text("lockfileHash") != plainHashOf(name) {
		return fmt.Errorf("it asks for the manifest of %q, want %q", m.text("lockfileHash"), plainHashOf(name))
	}
	if err := s.manifest(plainHashOf(name), p); err != nil {
		return err
	}
	if m, err = s.next("request_script_package_blob"); err != nil {
		return err
	}
	if m.text("integrity") != p.integrity {
		return fmt.Errorf("it asks for the blob %q, want %q", m.text("integrity"), p.integrity)
	}
	if err := s.blob(p.integrity, data); err != nil {
		return err
	}
	if m, err = s.next("script_package_sync_state"); err != nil {
		return err
	}
	if m.text("lockfileHash") != plainHashOf(name) || m.text("status") != status || !strings.Contains(m.text("errorMessage"), words) {
		return fmt.Errorf("it reports %v, want %s of the hash %s", m, status, words)
	}
	if status == "error" && m.text("errorMessage") == "" {
		return errors.New("the error has no message")
	}
	return nil
}

// latest asks for three trees in a row, and expects that the last one is what is ready
// in the end.
func latest(c *core, s *session) error {
	p := packed("left-pad", "1.3.0", "left-pad@1.3.0@@@1/")
	for _, name := range []string{"first", "second", "third"} {
		if err := s.refresh(name); err != nil {
			return err
		}
	}
	deadline, last := time.After(c.Patience), message{}
	for {
		select {
		case m, ok := <-s.in:
			if !ok {
				return errors.New("the connection ended")
			}
			var err error
			switch m.kind() {
			case "request_script_package_manifest":
				err = s.manifest(m.text("lockfileHash"), p)
			case "request_script_package_blob":
				err = s.blob(m.text("integrity"), p.data)
			case "script_package_sync_state":
				if last = m; m.text("status") == "ready" && m.text("lockfileHash") == plainHashOf("third") {
					deadline = time.After(c.Quiet)
				}
			}
			if err != nil {
				return err
			}
		case <-deadline:
			if last.text("status") != "ready" || last.text("lockfileHash") != plainHashOf("third") {
				return fmt.Errorf("the last report is %v, want ready, and the hash that was asked for last", last)
			}
			return nil
		}
	}
}

func cutSync(c *core, s *session) error {
	if _, err := s.next("request_script_package_manifest"); err != nil {
		return err
	}
	s.cut()
	s, err := c.accept()
	if err != nil {
		return err
	}
	if err := s.welcome(hashOf("m22")); err != nil {
		return err
	}
	p := packed("left-pad", "1.3.0", "left-pad@1.3.0@@@1/")
	return s.sync("m22", p, p.data, "ready", "")
}
