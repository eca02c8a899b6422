package hub_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/hub"
	"github.com/perigee-monitoring/perigee/internal/redact"
	"github.com/perigee-monitoring/perigee/internal/secret"
	"github.com/perigee-monitoring/perigee/protocol"
)

// vault gives one value to the check "front", and to no other.
type vault struct{ away bool }

const canary = "canary-2f6e"

func (vault) RunEnv(_ context.Context, ask secret.Ask) (map[string]string, error) {
	if ask.ConfigID != "front" {
		return nil, fault.New(fault.Forbidden, "not yours")
	}
	return map[string]string{"TOKEN": canary}, nil
}

func (vault) ConfigSecrets(_ context.Context, ask secret.Ask) (map[string]string, map[string]map[string]string, error) {
	if ask.ConfigID != "front" {
		return nil, nil, fault.New(fault.Forbidden, "not yours")
	}
	return map[string]string{"password": canary}, nil, nil
}

func (v vault) Redactor(ctx context.Context, _ *protocol.Assignment) (*redact.Redactor, error) {
	if v.away {
		return nil, away()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return redact.New(canary), nil
}

func giving(s hub.Secrets) func(*hub.Config) { return func(c *hub.Config) { c.Secrets = s } }

// An original agent is answered in the clear, as it expects; one of ours gets what only
// the key of its session opens. A refusal is an error without values.
func TestL82_L83_SecretsAreAnswered(t *testing.T) {
	key, err := protocol.NewSealKey()
	if err != nil {
		t.Fatal(err)
	}
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		w.fleet.add("s2")
		original := w.original("s1")
		for ask, want := range map[string]string{
			`{"type":"request_run_secrets","requestId":"r","configId":"front","collectorId":"e","runId":"x"}`: `{"type":"run_secrets","requestId":"r","env":{"TOKEN":"` + canary + `"}}`,
			`{"type":"request_run_secrets","requestId":"r","configId":"back","collectorId":"e","runId":"x"}`:  `{"type":"run_secrets","requestId":"r","error":"not yours"}`,
			`{"type":"request_config_secrets","requestId":"r","configId":"front","runId":"x"}`:                `{"type":"config_secrets","requestId":"r","strategy":{"password":"` + canary + `"}}`,
			`{"type":"request_config_secrets","requestId":"r","configId":"back","runId":"x"}`:                 `{"type":"config_secrets","requestId":"r","error":"not yours"}`,
		} {
			original.sendText(ask)
			if diff := cmp.Diff(want, original.nextText()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", ask, diff)
			}
		}

		ours := w.connect()
		enter := hello("s2")
		enter.Perigee.SealKey = key.Public
		ours.send(enter)
		next[*protocol.Authenticated](ours)
		ours.send(&protocol.RequestRunSecrets{RequestID: "r", ConfigID: "front", CollectorID: "e", RunID: "x"})
		got := next[*protocol.RunSecrets](ours)
		var opened protocol.RunSecrets
		if err := key.Unseal(got.Sealed, "r", &opened); err != nil || got.Env != nil || opened.Env["TOKEN"] != canary {
			t.Errorf("ours is answered %+v, which holds %+v (%v)", got, opened, err)
		}
	}, giving(vault{}))
}

// A satellite that asks without end is refused, and what else it says is heard.
func TestM35_RequestsForSecretsAreLimited(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.original("s1")
		ask := func(n int) (given, refused int) {
			for i := range n {
				a.send(&protocol.RequestRunSecrets{RequestID: strconv.Itoa(i), ConfigID: "front", CollectorID: "e", RunID: "x"})
			}
			for range n {
				switch got := next[*protocol.RunSecrets](a); {
				case got.Error == "":
					given++
				case strings.Contains(got.Error, "Too many requests"):
					refused++
				}
			}
			return given, refused
		}
		if given, refused := ask(600); given != 500 || refused != 100 {
			t.Errorf("of 600 at once %d are given and %d refused, want 500 and 100", given, refused)
		}
		a.send(&protocol.Heartbeat{Version: "1"})
		a.quiet()
		if diff := cmp.Diff([]fleet.Beat{{SatelliteID: "s1", Epoch: 1, Version: "1"}}, w.fleet.heard()); diff != "" {
			t.Errorf("heartbeats (-want +got):\n%s", diff)
		}
		<-time.After(time.Second)
		if given, refused := ask(110); given != 100 || refused != 10 {
			t.Errorf("a second later %d of 110 are given and %d refused, want 100 and 10", given, refused)
		}
	}, giving(vault{}))
}

// What an agent did not mask is masked when it arrives; when it cannot be known what is
// to be masked, only the verdict is kept.
func TestM36_ResultsAreMaskedWhenTheyArrive(t *testing.T) {
	for name, test := range map[string]struct {
		vault   vault
		message string
	}{
		"masked":   {vault{}, "got **** here"},
		"withheld": {vault{away: true}, "[withheld: it may hold a secret, and which ones could not be found out]"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				front := pair("front")
				front.Config = []byte(`{"password":"${{ secrets.a }}"}`)
				w.fleet.add("s1", front, pair("plain"))
				a := w.original("s1")
				for _, id := range []string{"front", "plain"} {
					m := result(id)
					m.Result = &check.Result{Status: check.Healthy, Message: "got " + canary + " here", Metadata: check.Metadata{Connected: true}}
					a.send(m)
				}
				w.ingest.wantRuns(t, "front", "plain")
				for _, item := range w.ingest.items {
					for _, run := range item.Runs {
						want := test.message
						if run.CheckID == "plain" {
							want = "got " + canary + " here"
						}
						if run.Message != want || run.Status != check.Healthy {
							t.Errorf("%s is kept as %s: %q, want %q", run.CheckID, run.Status, run.Message, want)
						}
						if run.CheckID == "front" && strings.Contains(string(run.Result), canary) {
							t.Errorf("the evidence holds the value: %s", run.Result)
						}
					}
				}
			}, giving(test.vault))
		})
	}
}

// A result that was on its way when its session was superseded is masked like any other,
// and loses nothing else.
func TestM36_ResultsOnTheirWayWhenTheSessionEndsAreMasked(t *testing.T) {
	inBubble(t, func(w *world) {
		front := pair("front")
		front.Config = []byte(`{"password":"${{ secrets.a }}"}`)
		w.fleet.add("s1", front)
		older := w.connectUnread() // has not read yet what it is told
		older.send(authenticate("s1"))
		synctest.Wait()
		w.original("s1")
		synctest.Wait()
		m := result("front")
		m.Result = &check.Result{Status: check.Healthy, Message: "got " + canary + " here", Metadata: check.Metadata{Connected: true}}
		older.send(m)
		w.ingest.wantRuns(t, "front")
		if got := w.ingest.items[0].Runs[0].Message; got != "got **** here" {
			t.Errorf("kept as %q", got)
		}
	}, giving(vault{}))
}

func (vault) TrialRedactor(context.Context, *secret.Trial) (*redact.Redactor, error) {
	return nil, nil
}
