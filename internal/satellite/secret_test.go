package satellite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/probe"
	"github.com/perigee-monitoring/perigee/protocol"
)

func TestL115_L116_L117_L118_L119_L122_ConfigsThatReferToSecretsAreFound(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]bool{
		`{"password":"__hcsecret__:abc"}`:                                          true,
		`{"password":"${{ secrets.db }}"}`:                                         true,
		`{"password":"${{secrets.db}}"}`:                                           true,
		`{"password":"Bearer ${{ secrets.db }}!"}`:                                 true,
		`{"password":"literal","note":"my secrets"}`:                               false,
		`{"password":"$\u007b{ sec\u0072ets.db }}"}`:                               true,
		`{"headers":[{"name":"A","value":"${{ secrets.a }}"}]}`:                    true,  // L.116
		`{"secretEnv":{"T":"${{ secrets.t }}"}}`:                                   false, // L.117
		`{"deep":[{"secretEnv":{"T":"${{ secrets.t }}"}}]}`:                        false,
		`{"secretEnv":{"T":"${{ secrets.t }}"},"password":"__hcsecret__:x"}`:       true, // L.118
		`{"auth":{"kind":"basic","basic":{"more":[["x",{"p":"__hcsecret__:"}]]}}}`: true, // L.119
		`{"${{ secrets.key }}":1}`:                                                 false,
		`{}`:                                                                       false,
		``:                                                                         false,
		`not JSON, secrets`:                                                        false,
	} {
		a := &protocol.Assignment{Config: json.RawMessage(config)}
		b := &protocol.Assignment{Config: json.RawMessage(`{}`), Collectors: []protocol.Collector{{ID: "e", Config: json.RawMessage(config)}}}
		if wantsConfigSecrets(a) != want || wantsConfigSecrets(b) != want {
			t.Errorf("%s: %v and %v, want %v", config, wantsConfigSecrets(a), wantsConfigSecrets(b), want)
		}
	}
}

// vault is what a core answers about secrets, and how.
type vault struct {
	mu       sync.Mutex
	env      map[string]string // by variable
	strategy map[string]string
	entries  map[string]map[string]string
	refusal  string
	mute     bool
	clear    bool // although seals were agreed
	key      func() string
	runs     []string // run ids it was asked for
}

func (v *vault) answer(m protocol.FromAgent) protocol.FromCore {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch m := m.(type) {
	case *protocol.RequestRunSecrets:
		v.runs = append(v.runs, m.RunID)
		inner := &protocol.RunSecrets{RequestID: m.RequestID, Env: v.env}
		if v.refusal != "" {
			inner = &protocol.RunSecrets{RequestID: m.RequestID, Error: v.refusal}
		} else if v.key != nil && !v.clear {
			inner = &protocol.RunSecrets{RequestID: m.RequestID, Sealed: v.seal(m.RequestID, inner)}
		}
		return v.unless(inner)
	case *protocol.RequestConfigSecrets:
		v.runs = append(v.runs, m.RunID)
		inner := &protocol.ConfigSecrets{RequestID: m.RequestID, Strategy: v.strategy, Collectors: v.entries}
		if v.refusal != "" {
			inner = &protocol.ConfigSecrets{RequestID: m.RequestID, Error: v.refusal}
		} else if v.key != nil && !v.clear {
			inner = &protocol.ConfigSecrets{RequestID: m.RequestID, Sealed: v.seal(m.RequestID, inner)}
		}
		return v.unless(inner)
	}
	return nil
}

func (v *vault) unless(m protocol.FromCore) protocol.FromCore {
	if v.mute {
		return nil
	}
	return m
}

func (v *vault) seal(id string, inner any) string {
	sealed, err := protocol.Seal(v.key(), id, inner)
	if err != nil {
		panic(err)
	}
	return sealed
}

// attach lets the core answer by the vault; sealed says whether it seals.
func (v *vault) attach(c *core, sealed bool) {
	c.answer = v.answer
	if sealed {
		// Called with the core's lock held, as answers are made.
		v.key = func() string { return c.hellos[len(c.hellos)-1].Perigee.SealKey }
	}
}

// canary is a value that must be nowhere but in the run's own memory.
const canary = "canary-4b1d-9e77"

// scripted is an assignment whose two collectors print; the first one its secret.
func scripted(interval time.Duration) protocol.Assignment {
	return protocol.Assignment{
		ConfigID: "c1", SystemID: "s1", StrategyID: check.Script, Config: json.RawMessage(`{}`), IntervalSeconds: interval.Seconds(),
		Collectors: []protocol.Collector{
			{ID: "leak", CollectorID: check.ScriptExecute, Config: json.RawMessage(
				`{"script":"echo \"out $TOKEN\"; echo \"err $TOKEN\" >&2; printf %s \"$TOKEN\" | base64","secretEnv":{"TOKEN":"${{ secrets.token }}"}}`)},
			{ID: "plain", CollectorID: check.ScriptExecute, Config: json.RawMessage(`{"script":"echo plain"}`)},
		},
	}
}

// oneRecord waits, in real time, for the first record that the core gets.
func (r *rig) oneRecord() protocol.Record {
	r.t.Helper()
	for {
		r.core.mu.Lock()
		if len(r.core.records) > 0 {
			defer r.core.mu.Unlock()
			return r.core.records[0]
		}
		r.core.mu.Unlock()
		select {
		case err := <-r.ended:
			r.t.Fatalf("the satellite ended: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// startWith runs the satellite with a real prober; what it logs goes to the buffer.
func (r *rig) startWith(p Prober, logged io.Writer) {
	r.t.Helper()
	s, err := New(r.config, p, r.cores(), slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r.satellite, r.stop, r.ended = s, stop, make(chan error, 1)
	go func() { r.ended <- s.Run(ctx) }()
}

// A real script prints its secret in every way it can; the value is nowhere but in
// its memory. Acks are held back, so that the records stay in the spool.
func TestM34_L254_LeasedValuesAreOnNoDiskAndInNoLog(t *testing.T) {
	t.Parallel()
	for name, sealed := range map[string]bool{"sealed": true, "clear": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &core{revision: 1, assignments: []protocol.Assignment{scripted(200 * time.Millisecond)}, holdAcks: true}
			if !sealed {
				c.features = slices.DeleteFunc(protocol.Features(), func(f string) bool { return f == protocol.FeatureSeal })
			}
			v := &vault{env: map[string]string{"TOKEN": canary}}
			v.attach(c, sealed)
			r := newRig(t, c)
			var logged bytes.Buffer
			r.startWith(probe.New(probe.Options{AllowScripts: true}), &logged)
			record := r.oneRecord()
			status, err := json.Marshal(r.satellite.Status())
			if err != nil {
				t.Fatal(err)
			}
			r.end()

			var leak, plain map[string]any
			collectors := record.Result.Result.Metadata.Collectors
			if err := errors.Join(json.Unmarshal(collectors["leak"], &leak), json.Unmarshal(collectors["plain"], &plain)); err != nil {
				t.Fatal(err)
			}
			if record.Result.Status != check.Healthy || !strings.HasPrefix(leak["stdout"].(string), "out ****\n****") ||
				leak["stderr"] != "err ****\n" || plain["stdout"] != "plain\n" {
				t.Errorf("%s, %v, %v", record.Result.Status, leak, plain)
			}
			wantNowhere(t, r.config.DataDir)
			for where, text := range map[string]string{"log": logged.String(), "status": string(status)} {
				if strings.Contains(text, canary) {
					t.Errorf("the %s holds the value: %s", where, text)
				}
			}
			if strings.Contains(string(collectors["leak"]), canary) {
				t.Error("the core got the value back")
			}
		})
	}
}

// wantNowhere searches every file of the directory for the canary.
func wantNowhere(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(canary)) {
			t.Errorf("%s holds the value", path)
		}
		return err
	})
	if err != nil || files < 3 {
		t.Errorf("searched %d files: %v", files, err)
	}
}

// wanting is an assignment that needs a config secret, and a prober that shows the
// configs it was given.
func wanting(interval time.Duration) protocol.Assignment {
	a := assignment("c1", "s1", interval)
	a.Config = json.RawMessage(`{"authToken":"__hcsecret__:1","timeout":5000}`)
	a.Collectors = []protocol.Collector{{ID: "e", CollectorID: "healthcheck-http.request", Config: json.RawMessage(`{"headers":[{"name":"A","value":"${{ secrets.a }}"}]}`)}}
	return a
}

type shown struct {
	mu      sync.Mutex
	configs []string
}

func (s *shown) execute(_ context.Context, a *protocol.Assignment, _ *check.Environment) check.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.configs = append(s.configs, string(a.Config), string(a.Collectors[0].Config))
	r := healthy(0)
	r.Message = "used " + string(a.Config)
	r.Metadata.Collectors = map[string]json.RawMessage{"e": json.RawMessage(`{"` + canary + `":["` + canary + `"]}`)}
	return r
}

func TestL121_ConfigSecretsAreAskedForOncePerRun(t *testing.T) {
	t.Parallel()
	for name, original := range map[string]bool{"ours": false, "original": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &core{original: original, revision: 1, assignments: []protocol.Assignment{wanting(10 * time.Second), assignment("c2", "s1", 10*time.Second)}}
				v := &vault{strategy: map[string]string{"authToken": canary}, entries: map[string]map[string]string{"e": {"headers[0].value": "other-" + canary}}}
				v.attach(c, !original)
				r, seen := newRig(t, c), &shown{}
				r.prober.execute = func(ctx context.Context, a *protocol.Assignment, env *check.Environment) check.Result {
					if a.ConfigID == "c2" {
						return healthy(0)
					}
					return seen.execute(ctx, a, env)
				}
				r.start()
				sleep(31 * time.Second)
				r.end()
				runs := len(seen.configs) / 2
				if runs != 3 || len(v.runs) != runs || len(slices.Compact(slices.Sorted(slices.Values(v.runs)))) != runs {
					t.Errorf("%d runs, %d requests", runs, len(v.runs))
				}
				want := []string{`{"authToken":"` + canary + `","timeout":5000}`, `{"headers":[{"name":"A","value":"other-` + canary + `"}]}`}
				if diff := cmp.Diff(want, seen.configs[:2]); diff != "" {
					t.Errorf("configs (-want +got):\n%s", diff)
				}
				wantNowhere(t, r.config.DataDir)
				messages := make(map[string]bool)
				for _, result := range allResults(c) {
					messages[result.Result.Message] = true
					if result.ConfigID == "c1" && string(result.Result.Metadata.Collectors["e"]) != `{"****":["****"]}` {
						t.Errorf("evidence %s", result.Result.Metadata.Collectors["e"])
					}
				}
				if diff := cmp.Diff(map[string]bool{`used {"authToken":"****","timeout":5000}`: true, "Completed": true}, messages); diff != "" {
					t.Errorf("messages (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// allResults is what the core got, be it ours or an original one.
func allResults(c *core) []protocol.Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Clone(c.results)
	for _, r := range c.records {
		if r.Result != nil {
			all = append(all, *r.Result)
		}
	}
	return all
}

// What the core refuses is red at an original core, because that is its only word,
// and degraded at ours, because nothing was found out about the target (L.120).
func TestL120_WithoutItsSecretsNoRunIsCarriedOut(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]struct {
		vault func() *vault
		text  string
		after time.Duration
	}{
		"refused":  {func() *vault { return &vault{refusal: "Secret not found: a"} }, "A config secret could not be resolved: Secret not found: a", 0},
		"left":     {func() *vault { return &vault{strategy: map[string]string{"authToken": "x"}} }, "A config secret could not be resolved", 0},
		"nothing":  {func() *vault { return &vault{} }, "A config secret could not be resolved", 0},
		"timeout":  {func() *vault { return &vault{mute: true} }, "A config secret could not be resolved: " + noSecret, 30 * time.Second},
		"unsealed": {func() *vault { return &vault{clear: true, strategy: map[string]string{"authToken": "x"}} }, "A config secret could not be resolved: the core sent secrets that are not sealed, although seals were agreed", 0},
	} {
		for _, original := range []bool{false, true} {
			v := change.vault()
			if original && v.clear {
				continue
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					c := &core{original: original, revision: 1, assignments: []protocol.Assignment{wanting(time.Minute)}}
					v.attach(c, !original)
					r, seen := newRig(t, c), &shown{}
					r.prober.execute = seen.execute
					r.start()
					sleep(time.Minute + change.after)
					r.end()
					results := allResults(c)
					if len(results) == 0 || len(seen.configs) != 0 {
						t.Fatalf("%d results, %d runs", len(results), len(seen.configs))
					}
					want := check.Result{Status: check.Degraded, Message: "Check not carried out: " + change.text, Metadata: check.Metadata{Error: change.text}}
					if original {
						want.Status, want.Message = check.Unhealthy, change.text
					}
					if diff := cmp.Diff(want, *results[0].Result); diff != "" {
						t.Errorf("result (-want +got):\n%s", diff)
					}
				})
			})
		}
	}
}

// A lease as the probe sees it.
func TestRunSecretsByTheRules(t *testing.T) {
	t.Parallel()
	for name, given := range map[string]struct {
		vault  *vault
		want   map[string]string
		failed string
	}{
		"values":   {&vault{env: map[string]string{"A": "1"}}, map[string]string{"A": "1"}, ""},
		"error":    {&vault{refusal: "Secret not found: a"}, nil, "Secret not found: a"},
		"no env":   {&vault{}, nil, noSecret},
		"no word":  {&vault{mute: true}, nil, noSecret},
		"unsealed": {&vault{env: map[string]string{"A": "1"}, clear: true}, nil, "the core sent secrets that are not sealed, although seals were agreed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := assignment("c1", "s1", 2*time.Minute)
				c := &core{revision: 1, assignments: []protocol.Assignment{a}}
				given.vault.attach(c, true)
				r := newRig(t, c)
				var got map[string]string
				var failed error
				var asked sync.Mutex
				r.prober.lease = func(ctx context.Context, lease probe.Lease) {
					asked.Lock()
					defer asked.Unlock()
					begun := time.Now()
					got, failed = lease(ctx, "e")
					if took := time.Since(begun); given.vault.mute && took != secretTimeout {
						t.Errorf("gave up after %s", took)
					}
				}
				r.start()
				sleep(3 * time.Minute)
				r.end()
				text := ""
				if failed != nil {
					text = failed.Error()
				}
				if diff := cmp.Diff(given.want, got); diff != "" || text != given.failed {
					t.Errorf("%q, want %q (-want +got):\n%s", text, given.failed, diff)
				}
				for _, m := range heardOf[*protocol.RequestRunSecrets](c) {
					if m.ConfigID != "c1" || m.CollectorID != "e" || m.RunID == "" || m.RequestID == "" || m.RunID == m.RequestID {
						t.Errorf("asked %+v", m)
					}
				}
			})
		})
	}
}

// While there is no core, runs that need secrets are skipped, and others go on.
func TestRunsThatNeedSecretsAreSkippedWithoutACore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		c := &core{revision: 1, assignments: []protocol.Assignment{wanting(10 * time.Second), assignment("c2", "s1", 10*time.Second)}}
		v := &vault{strategy: map[string]string{"authToken": canary}, entries: map[string]map[string]string{"e": {"headers[0].value": "b"}}}
		v.attach(c, true)
		r := newRig(t, c)
		r.prober.execute = func(ctx context.Context, a *protocol.Assignment, env *check.Environment) check.Result {
			return healthy(0)
		}
		r.start()
		sleep(35 * time.Second)
		c.setDown(true)
		sleep(2 * time.Minute)
		c.setDown(false)
		sleep(2 * time.Minute)
		until := time.Now()
		r.end()
		key := check.Key{CheckID: "c1", SystemID: "s1"}
		ran, skipped := audit(t, c, key, 10*time.Second, begin, until)
		if len(ran) < 10 || len(skipped) < 10 || len(skipped) > 16 {
			t.Errorf("%d ran, %d skipped", len(ran), len(skipped))
		}
		reasons := slices.Compact(slices.Sorted(maps.Values(skipped)))
		if diff := cmp.Diff([]protocol.SkipReason{protocol.SkipSecrets}, reasons); diff != "" {
			t.Errorf("reasons (-want +got):\n%s", diff)
		}
		if ran, skipped = audit(t, c, check.Key{CheckID: "c2", SystemID: "s1"}, 10*time.Second, begin, until); len(skipped) != 0 {
			t.Errorf("of the check without secrets %d ran, %v", len(ran), skipped)
		}
		for _, result := range allResults(c) {
			if result.Status != check.Healthy {
				t.Errorf("a result is %s: %s", result.Status, result.Result.Message)
			}
		}
	})
}

// A question that is open when the session ends fails at once, not after 30 s.
func TestM22_OpenRequestsFailWhenTheSessionEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{revision: 1, assignments: []protocol.Assignment{assignment("c1", "s1", time.Minute)}}
		(&vault{mute: true}).attach(c, true)
		r := newRig(t, c)
		var waited []time.Duration
		r.prober.lease = func(ctx context.Context, lease probe.Lease) {
			begun := time.Now()
			_, err := lease(ctx, "e")
			waited = append(waited, time.Since(begun))
			if err == nil {
				t.Error("got secrets")
			}
		}
		r.start()
		for len(heardOf[*protocol.RequestRunSecrets](c)) == 0 {
			sleep(time.Second)
		}
		asked := time.Now()
		c.setDown(true)
		synctest.Wait()
		if took := time.Since(asked); len(waited) != 1 || took > time.Second {
			t.Errorf("%d waits ended after %s", len(waited), took)
		}
		c.setDown(false)
		sleep(10 * time.Second)
		r.end()
		_, skips := c.account()
		if got := skips[check.Key{CheckID: "c1", SystemID: "s1"}]; len(got) != 1 {
			t.Errorf("skips %v", got)
		}
	})
}

// Requests are told apart by their own ids: answers may come in any order, and
// twice.
func TestM23_AnswersFindTheirRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var asked []*protocol.RequestRunSecrets
		r := newRequests(func(m protocol.FromAgent) error {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, m.(*protocol.RequestRunSecrets))
			return nil
		}, nil, true)
		const n = 50
		got := make([]string, n)
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				env, err := r.run(t.Context(), "same", strings.Repeat("e", i+1))
				if err != nil {
					t.Error(err)
				}
				got[i] = env["E"]
			})
		}
		synctest.Wait()
		slices.Reverse(asked)
		for _, m := range asked {
			answer := &protocol.RunSecrets{RequestID: m.RequestID, Env: map[string]string{"E": m.CollectorID}}
			if !r.answer(m.RequestID, answer) || r.answer(m.RequestID, answer) {
				t.Error("an answer is wanted once")
			}
		}
		all.Wait()
		for i := range n {
			if got[i] != strings.Repeat("e", i+1) {
				t.Errorf("request %d got the answer to %q", i, got[i])
			}
		}
		if len(r.waiting) != 0 {
			t.Errorf("%d still wait", len(r.waiting))
		}
	})
}

func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRequests(func(protocol.FromAgent) error { return nil }, nil, true)
		var all sync.WaitGroup
		for range maxRequests {
			all.Go(func() {
				if _, err := r.run(t.Context(), "c", "e"); !errors.Is(err, errNoCore) {
					t.Errorf("ended with %v", err)
				}
			})
		}
		synctest.Wait()
		if _, err := r.run(t.Context(), "c", "e"); err == nil || err.Error() != "too many requests for secrets wait for an answer" {
			t.Errorf("one more: %v", err)
		}
		r.end()
		all.Wait()
		if _, err := r.run(t.Context(), "c", "e"); !errors.Is(err, errNoCore) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// A satellite that loses one core and finds the next within moments skips nothing: its
// runs wait that long for somebody to ask.
func TestRunsWaitForTheNextCore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		assignments := []protocol.Assignment{wanting(time.Second)}
		a, b := &core{revision: 1, assignments: assignments}, &core{revision: 1, assignments: assignments}
		for _, c := range []*core{a, b} {
			(&vault{strategy: map[string]string{"authToken": canary}, entries: map[string]map[string]string{"e": {"headers[0].value": "b"}}}).attach(c, true)
		}
		r := newRig(t, a)
		r.others = []*core{b}
		r.start()
		sleep(10 * time.Second)
		for range 10 {
			holds := a
			if len(b.seen().conns) > len(b.seen().closings) {
				holds = b
			}
			holds.setDown(true)
			sleep(5 * time.Second)
			holds.setDown(false)
		}
		until := time.Now()
		r.end()
		a.mu.Lock()
		a.records = append(a.records, b.seen().records...)
		a.mu.Unlock()
		ran, skipped := audit(t, a, check.Key{CheckID: "c1", SystemID: "s1"}, time.Second, begin, until)
		for slot, reason := range skipped {
			if reason == protocol.SkipSecrets {
				t.Errorf("slot %d was skipped", slot)
			}
		}
		if len(ran) < 50 {
			t.Errorf("%d ran, %d skipped", len(ran), len(skipped))
		}
	})
}

// What a collector found out without secrets stays found out.
func TestWhatIsRedStaysRedWithoutACoreToAsk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{revision: 1, assignments: []protocol.Assignment{assignment("c1", "s1", time.Minute)}}
		r := newRig(t, c)
		r.prober.lease = func(ctx context.Context, lease probe.Lease) {
			if _, err := lease(ctx, "e"); err == nil {
				t.Error("the lease gives values")
			}
		}
		r.prober.execute = func(context.Context, *protocol.Assignment, *check.Environment) check.Result {
			return check.Result{Status: check.Unhealthy, Message: "Check failed: connection refused"}
		}
		r.start()
		sleep(time.Second)
		c.setDown(true)
		sleep(2 * time.Minute)
		c.setDown(false)
		sleep(time.Minute)
		r.end()
		results, skips := c.account()
		if key := (check.Key{CheckID: "c1", SystemID: "s1"}); len(results[key]) < 2 || len(skips[key]) != 0 {
			t.Errorf("results %v, skips %v", results, skips)
		}
	})
}
