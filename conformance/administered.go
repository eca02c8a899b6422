package conformance

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// administeredCases are what is asked of a core by who also administers it.
var administeredCases = []coreCase{
	{"L220_assignment", "an assignment is complete, and carries the names of its check and system", given(func(ad *administration, _ Satellite, as Assigned, _ *agent) error {
		m := ad.told
		_, hasConfig := m["config"].(map[string]any)
		if m.text("strategyId") == "" || !hasConfig || m["intervalSeconds"] != float64(hour) {
			return fmt.Errorf("got %v, want a strategyId, a config and the interval %d", m, hour)
		}
		if m.text("configName") != as.ConfigName || m.text("systemName") != as.SystemName {
			return fmt.Errorf("the names are %q and %q, want %q and %q", m.text("configName"), m.text("systemName"), as.ConfigName, as.SystemName)
		}
		return nil
	})},
	{"L37_config_updated", "what is assigned, and what is taken away, is told at once, with the full set", given(func(ad *administration, s Satellite, first Assigned, a *agent) error {
		second, err := ad.assign(s)
		if err != nil {
			return err
		}
		if err := a.updated(func(m message) error { return only(m, first, second) }); err != nil {
			return fmt.Errorf("after an assignment: %w", err)
		}
		if err := ad.Withdraw(ad.ctx, first); err != nil {
			return err
		}
		if err := a.updated(func(m message) error { return only(m, second) }); err != nil {
			return fmt.Errorf("after one was taken away: %w", err)
		}
		return nil
	})},
	{"L36_L38_away", "who is away when something is assigned finds it when it is back", enrolled(func(ad *administration, s Satellite) error {
		a, welcome, err := ad.connect(s)
		if err != nil {
			return err
		}
		a.hangUp()
		if err := only(welcome); err != nil {
			return err
		}
		as, err := ad.assign(s)
		if err != nil {
			return err
		}
		a, welcome, err = ad.connect(s)
		if err != nil {
			return err
		}
		defer a.hangUp()
		return only(welcome, as)
	})},
	{"M62_M63_altered", "an altered check reaches at once also an agent that keeps what it already has", given(altered)},
	{"M64_others", "who is not concerned hears nothing of it", given(func(ad *administration, _ Satellite, _ Assigned, a *agent) error {
		if _, _, err := ad.foreign(); err != nil {
			return err
		}
		return a.quiet()
	})},
	{"L34_L154_result", "a result is stored as that of the satellite, and labelled with its name and region", given(func(ad *administration, s Satellite, as Assigned, a *agent) error {
		if err := a.tell(as, now()); err != nil {
			return err
		}
		if err := ad.stored(s, as); err != nil {
			return err
		}
		all, err := ad.Results(ad.ctx, s.ID)
		if err != nil {
			return err
		}
		want := Stored{as.ConfigID, as.SystemID, "degraded", 42, s.Name + " (" + s.Region + ")", all[0].Detail}
		if len(all) != 1 || all[0] != want {
			return fmt.Errorf("stored was %+v, want %+v", all, want)
		}
		return nil
	})},
	{"L152_not_assigned", "a result of what another satellite was given is dropped", given(func(ad *administration, s Satellite, as Assigned, a *agent) error {
		other, foreign, err := ad.foreign()
		if err != nil {
			return err
		}
		if err := errors.Join(a.tell(foreign, now()), a.tell(as, now())); err != nil {
			return err
		}
		if err := ad.stored(s, as, foreign); err != nil {
			return err
		}
		all, err := ad.Results(ad.ctx, other.ID)
		if err == nil && len(all) > 0 {
			err = fmt.Errorf("a result of another satellite was stored: %+v", all)
		}
		return err
	})},
	{"L153_other_system", "and so is one of what it was given, but for another system", given(func(ad *administration, s Satellite, as Assigned, a *agent) error {
		_, foreign, err := ad.foreign()
		if err != nil {
			return err
		}
		crossed := Assigned{ConfigID: as.ConfigID, SystemID: foreign.SystemID}
		if err := errors.Join(a.tell(crossed, now()), a.tell(as, now())); err != nil {
			return err
		}
		return ad.stored(s, as, crossed)
	})},
	{"L155_refreshed", "what it may report for follows what it is told", given(func(ad *administration, s Satellite, first Assigned, a *agent) error {
		second, err := ad.assign(s)
		if err != nil {
			return err
		}
		if err := a.updated(func(m message) error { return has(m, second) }); err != nil {
			return err
		}
		if err := ad.Withdraw(ad.ctx, first); err != nil {
			return err
		}
		err = a.updated(func(m message) error {
			if has(m, first) == nil {
				return errors.New("what was taken away is still in it")
			}
			return nil
		})
		if err != nil {
			return err
		}
		// What it ran before it was told may still be taken, so this was much later.
		later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		if err := errors.Join(a.tell(first, later), a.tell(second, now())); err != nil {
			return err
		}
		return ad.stored(s, second, first)
	})},
	{"L225_failing", "a healthy run of which an assertion fails is unhealthy", given(judged(503, "all is well", "", "unhealthy"))},
	{"L226_L228_passing", "one of which all hold stays so, and the body that they have seen is not kept", given(func(ad *administration, s Satellite, as Assigned, a *agent) error {
		const body = "all is well with this page"
		if err := judged(200, body, "", "healthy")(ad, s, as, a); err != nil {
			return err
		}
		all, err := ad.Results(ad.ctx, s.ID)
		if err == nil && strings.Contains(all[0].Detail, body) {
			err = fmt.Errorf("the body was kept: %s", all[0].Detail)
		}
		return err
	})},
	{"L229_unknown_entry", "an entry that the check does not have is tolerated", given(judged(200, "all is well", `"nobody":{"statusCode":503},`, "healthy"))},
	{"L26_L82_run_secrets", "the secrets of a script are given, and no error", enrolled(func(ad *administration, s Satellite) error {
		as, err := ad.AssignScript(ad.ctx, s.ID, "TOKEN", "conformance-4711")
		if err != nil {
			return fmt.Errorf("assigning: %w", err)
		}
		a, welcome, err := ad.connect(s)
		if err != nil {
			return err
		}
		defer a.hangUp()
		m, err := a.runSecrets(find(welcome, as))
		if err != nil {
			return err
		}
		env, _ := m["env"].(map[string]any)
		if _, failed := m["error"]; failed || len(env) != 1 || env["TOKEN"] != "conformance-4711" {
			return errors.New("the answer is not TOKEN alone, with its value and without an error")
		}
		return nil
	})},
	{"L27_foreign_secrets", "secrets of what another satellite was given are refused", given(func(ad *administration, _ Satellite, _ Assigned, a *agent) error {
		other, err := ad.Enrol(ad.ctx)
		if err != nil {
			return fmt.Errorf("making another satellite: %w", err)
		}
		foreign, err := ad.AssignScript(ad.ctx, other.ID, "TOKEN", "conformance-4711")
		if err != nil {
			return fmt.Errorf("assigning: %w", err)
		}
		o, welcome, err := ad.connect(other)
		if err != nil {
			return err
		}
		defer o.hangUp()
		if err := only(welcome, foreign); err != nil {
			return err
		}
		return a.noSecrets(find(welcome, foreign))
	})},
	{"L28_no_secrets", "and so are those of a collector that declares none", given(func(ad *administration, _ Satellite, _ Assigned, a *agent) error {
		return a.noSecrets(ad.told)
	})},
	{"L45_connected", "who authenticates is connected, and heard now", enrolled(func(ad *administration, s Satellite) error {
		a, _, err := ad.connect(s)
		if err != nil {
			return err
		}
		defer a.hangUp()
		return ad.until(func() error {
			return ad.connection(s, func(c Connection) string {
				if c.Heard.IsZero() {
					return "it was not heard of"
				}
				return notConnected(c)
			})
		})
	})},
	{"L48_disconnected", "who closes is disconnected, and not heard of", enrolled(func(ad *administration, s Satellite) error {
		a, _, err := ad.connect(s)
		if err != nil {
			return err
		}
		a.hangUp()
		return ad.until(func() error {
			return ad.connection(s, func(c Connection) string {
				if c.Edge != "disconnected" || c.Online || !c.Heard.IsZero() {
					return "it is not disconnected"
				}
				return ""
			})
		})
	})},
	{"L49_refused", "who is refused leaves no edge", enrolled(func(ad *administration, s Satellite) error {
		wrong := s
		wrong.Token = "csat_wrong"
		if err := ad.refused(wrong); err != nil {
			return err
		}
		return ad.still(s, func(c Connection) string {
			if c.Edge != "" || c.Online || !c.Heard.IsZero() {
				return "it is not as if it had never been there"
			}
			return ""
		})
	})},
	{"M16_late_close", "the end of a connection that was taken over is not the satellite's", enrolled(func(ad *administration, s Satellite) error {
		first, _, err := ad.connect(s)
		if err != nil {
			return err
		}
		defer first.hangUp()
		second, _, err := ad.connect(s)
		if err != nil {
			return err
		}
		defer second.hangUp()
		first.hangUp()
		return ad.still(s, notConnected)
	})},
	{"L33_noted", "a heartbeat is noted, with the version that it names", enrolled(func(ad *administration, s Satellite) error {
		a, _, err := ad.connect(s)
		if err != nil {
			return err
		}
		defer a.hangUp()
		if err := a.send(`{"type":"heartbeat","version":"0.4.7-conformance","uptimeSeconds":15}`); err != nil {
			return err
		}
		return ad.until(func() error {
			return ad.connection(s, func(c Connection) string {
				if c.Version != "0.4.7-conformance" {
					return "the version was not noted"
				}
				return ""
			})
		})
	})},
	{"L159_capabilities", "what it says that it can do is kept", enrolled(func(ad *administration, s Satellite) error {
		a, err := ad.dial(s)
		if err != nil {
			return err
		}
		defer a.hangUp()
		if err := a.send(`{"type":"authenticate","clientId":%q,"token":%q,"capabilities":["telemetry"]}`, s.ID, s.Token); err != nil {
			return err
		}
		if _, err := a.next("authenticated"); err != nil {
			return err
		}
		return ad.until(func() error {
			return ad.connection(s, func(c Connection) string {
				if !slices.Equal(c.Capabilities, []string{"telemetry"}) {
					return "the capabilities were not kept"
				}
				return ""
			})
		})
	})},
	{"M32_rotated", "another token ends the session, and the old one is refused", enrolled(func(ad *administration, s Satellite) error {
		a, _, err := ad.connect(s)
		if err != nil {
			return err
		}
		defer a.hangUp()
		renewed := s
		if renewed.Token, err = ad.Rotate(ad.ctx, s.ID); err != nil {
			return err
		}
		if err := a.shutDown(); err != nil {
			return err
		}
		if err := ad.refused(s); err != nil {
			return fmt.Errorf("with the old token: %w", err)
		}
		again, _, err := ad.connect(renewed)
		if err != nil {
			return fmt.Errorf("with the new token: %w", err)
		}
		again.hangUp()
		return nil
	})},
	{"M32_deleted", "and so does the deletion of the satellite", enrolled(func(ad *administration, s Satellite) error {
		a, _, err := ad.connect(s)
		if err != nil {
			return err
		}
		defer a.hangUp()
		if err := ad.Remove(ad.ctx, s.ID); err != nil {
			return err
		}
		if err := a.shutDown(); err != nil {
			return err
		}
		return ad.refused(s)
	})},
}

// altered follows what an original agent makes of what it is told: it forgets what is
// not in an update, and keeps what it has already as it was.
func altered(ad *administration, _ Satellite, as Assigned, a *agent) error {
	if err := ad.Alter(ad.ctx, as, hour/2); err != nil {
		return err
	}
	kept, told := float64(hour), false
	for kept != hour/2 {
		m, err := a.next("config_updated")
		switch {
		case err != nil && told:
			return fmt.Errorf("the altered form was told over one that the agent keeps: %w", err)
		case err != nil:
			return fmt.Errorf("the altered form was not told: %w", err)
		}
		if only(m) == nil {
			kept = 0
			continue
		}
		if err := only(m, as); err != nil {
			return err
		}
		now, _ := find(m, as)["intervalSeconds"].(float64)
		told = now == hour/2
		if kept == 0 {
			kept = now
		}
	}
	return nil
}

// judged sends a healthy run of what was given, in which the page was answered so, and
// expects the status to be stored. others are entries besides.
func judged(code int, body, others, want string) func(*administration, Satellite, Assigned, *agent) error {
	return func(ad *administration, s Satellite, as Assigned, a *agent) error {
		entry, err := entryOf(ad.told)
		if err != nil {
			return err
		}
		err = a.send(`{"type":"result","configId":%q,"systemId":%q,"status":"healthy","latencyMs":42,"executedAt":%q,"result":{"status":"healthy","latencyMs":42,`+
			`"metadata":{"connected":true,"collectors":{%s%q:{"statusCode":%d,"statusText":"x","responseTimeMs":41,"body":%q,"bodyLength":%d,"success":true}}}}}`,
			as.ConfigID, as.SystemID, now(), others, entry, code, body, len(body))
		if err != nil {
			return err
		}
		if err := ad.stored(s, as); err != nil {
			return err
		}
		all, err := ad.Results(ad.ctx, s.ID)
		if err == nil && all[0].Status != want {
			err = fmt.Errorf("stored was %+v, want %s", all[0], want)
		}
		return err
	}
}

// entryOf is the id of the collector of an assignment, which has one.
func entryOf(assignment message) (string, error) {
	collectors, _ := assignment["collectors"].([]any)
	if len(collectors) != 1 {
		return "", fmt.Errorf("got %v, want one collector", assignment)
	}
	collector, _ := collectors[0].(map[string]any)
	return message(collector).text("id"), nil
}

// runSecrets asks for those of the assignment's collector.
func (a *agent) runSecrets(assignment message) (message, error) {
	entry, err := entryOf(assignment)
	if err != nil {
		return nil, err
	}
	if err := a.send(`{"type":"request_run_secrets","requestId":"r-1","configId":%q,"collectorId":%q,"runId":"x"}`, assignment.text("configId"), entry); err != nil {
		return nil, err
	}
	return a.next("run_secrets")
}

// noSecrets expects that they are not given.
func (a *agent) noSecrets(assignment message) error {
	m, err := a.runSecrets(assignment)
	if err != nil {
		return err
	}
	return refusedSecrets(m)
}

// shutDown expects that the core says it, and closes.
func (a *agent) shutDown() error {
	m, err := a.next("shutdown")
	if err != nil {
		return err
	}
	if m.text("reason") == "" {
		return errors.New("shutdown gives no reason")
	}
	return a.closed()
}

// still expects that nothing becomes wrong with the satellite's connection.
func (ad *administration) still(s Satellite, wrong func(Connection) string) error {
	if err := ad.pause(); err != nil {
		return err
	}
	return ad.connection(s, wrong)
}

// pause is as long as is waited for what must not come.
func (ad *administration) pause() error {
	select {
	case <-time.After(ad.target.Quiet):
		return nil
	case <-ad.ctx.Done():
		return ad.ctx.Err()
	}
}

func notConnected(c Connection) string {
	if c.Edge != "connected" || !c.Online {
		return "it is not connected"
	}
	return ""
}
