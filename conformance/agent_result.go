package conformance

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

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
