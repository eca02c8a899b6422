package automation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

const lostForFiveMinutes = `
triggers:
  - event: satellite.heartbeat_lost
    for: {minutes: 5}
  - event: satellite.disconnected
    filter: trigger.payload.region == 'eu'
conditions:
  - state: {kind: satellite-connection, entity: "${{ trigger.entity }}", status: offline}
mode: queued
concurrency_scope: context
actions:
  - action: log
    config: {message: "${{ trigger.payload.name }} is gone"}
  - wait_until: {condition: "state['satellite-connection'][trigger.entity].status == 'online'", timeout_seconds: 600}
  - action: log
    config: {message: "${{ trigger.payload.name }} is back"}
`

func mustCompile(t testing.TB, text string) *Program {
	t.Helper()
	p, err := compileCase([]byte(text))
	if err != nil {
		t.Fatal(refusal(err))
	}
	return p
}

// edges are satellites that come and go, n events of each second.
func edges(begin time.Time, n int) iter.Seq2[entity.Event, error] {
	return func(yield func(entity.Event, error) bool) {
		for i := range n {
			typ, status := "satellite.heartbeat_lost", "offline"
			switch i / 10 % 3 {
			case 1:
				typ = "satellite.disconnected"
			case 2:
				typ, status = "satellite.connected", "online"
			}
			id := fmt.Sprintf("s%d", i%10)
			state := json.RawMessage(fmt.Sprintf(`{"status":%q,"n":%d}`, status, i))
			e := entity.Event{
				Seq: int64(i + 1), Type: typ, Kind: "satellite-connection", EntityID: id, ChangeID: fmt.Sprint(i), Changed: []string{"n", "status"},
				Prev: json.RawMessage("null"), Next: state, Payload: json.RawMessage(fmt.Sprintf(`{"name":"n%s","region":"eu"}`, id)),
				Actor: entity.System, At: begin.Add(time.Duration(i) * 7 * time.Second),
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// A dry run over the past gives the same bytes each time.
func TestDryRunIsDeterministic(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)
	run := func() (Report, []byte) {
		dry := DryRun{Programs: []*Program{mustCompile(t, lostForFiveMinutes)}, From: begin, To: begin.Add(2 * time.Hour), Events: edges(begin, 600)}
		report, err := dry.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(report)
		if err != nil {
			t.Fatal(err)
		}
		return report, text
	}
	report, first := run()
	if _, second := run(); !bytes.Equal(first, second) {
		t.Error("twice gave different bytes")
	}
	if report.Counts["case"][Fired] == 0 || report.Counts["case"][Disarmed] == 0 || len(report.Runs) == 0 {
		t.Errorf("it found %v and %d runs", report.Counts, len(report.Runs))
	}
	var text strings.Builder
	if err := report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	want := `2026-05-04T00:00:00Z to 2026-05-04T02:00:00Z, 600 events
case: 200 armed, 200 disarmed, 200 fired

2026-05-04T00:00:00Z  armed     satellite_heartbeat_lost of s0: it fires at 2026-05-04T00:05:00Z if nothing changes until then
`
	if diff := cmp.Diff(want, text.String()[:len(want)]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// That nothing would have happened is said, not left to a blank page.
func TestDryRunOfNothing(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)
	report, err := DryRun{Programs: []*Program{mustCompile(t, lostForFiveMinutes)}, From: begin, To: begin.Add(time.Hour), Events: edges(begin, 0)}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	want := "2026-05-04T00:00:00Z to 2026-05-04T01:00:00Z, 0 events\ncase: nothing of this is what it waits for\n"
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What an action is supposed to give is seen by later steps.
func TestDryRunSupposesOutputs(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, `
triggers: [{event: satellite.connected}]
actions:
  - {id: ticket, action: call, config: {url: "http://a"}}
  - action: log
    config: {message: "ticket ${{ artifacts.ticket.number }}"}
`)
	call, _ := testActions().Action("call")
	call.Supposed = json.RawMessage(`{"number":7}`)
	begin := time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)
	report, err := DryRun{
		Programs: []*Program{p}, Actions: NewRegistry(call), From: begin, To: begin.Add(3 * time.Minute), Events: edges(begin, 21),
	}.Run(t.Context())
	if err != nil || len(report.Runs) != 1 {
		t.Fatal(report, err)
	}
	if got := string(report.Runs[0].Steps[1].Input); got != `{"message":"ticket 7"}` {
		t.Errorf("the step was given %s", got)
	}
}

var errAway = errors.New("the database is away")

type awayStates struct{}

func (awayStates) State(string, string) (entity.State, time.Time, error) {
	return nil, time.Time{}, errAway
}

// An error of the states is nobody's decision: it comes out, and nothing is started.
func TestErrorsOfStatesAreNotTheAutomations(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, `
triggers: [{event: satellite.connected, filter: "state.region.eu.status == 'ill' || true"}]
actions:
  - wait_until: {condition: "state.region.eu.status == 'ill'", timeout_seconds: 60}
`)
	w := World{Now: time.Now(), States: awayStates{}, Memory: newSimulation(nil, time.Now(), nil)}
	if _, err := Decide(w, []*Program{p}, entity.Event{Type: "satellite.connected", EntityID: "s1"}); !errors.Is(err, errAway) {
		t.Errorf("Decide gave %v", err)
	}
	if _, err := p.Advance(w, Run{Status: RunRunning}, nil, nil); !errors.Is(err, errAway) {
		t.Errorf("Advance gave %v", err)
	}
}

// FuzzTemplate: no text panics, and what is compiled renders, or says why not.
func FuzzTemplate(f *testing.F) {
	for _, text := range []string{
		"", "plain", "${{ 1 }}", "a ${{ trigger.id }} b", "$${{ x }}", "${{ '}}' }}", `${{ {"a": {"b": 1}} }}`, "${{", "${{ }}", `${{ r'\' }}`,
		`${{ """}}""" }}`, "${{ state['a']['b'] }}", "${{ state }}", "${{ [1,2].map(x, x/0) }}", "${{ now - duration('1h') }}", "${{ b'\\xff' }}",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		compiled, err := compileTemplate(text)
		if err != nil {
			return
		}
		s := &scope{now: time.Unix(0, 0), trigger: "t"}
		rendered, err := compiled.string(s)
		if err == nil && !strings.Contains(text, "${{") && rendered != text {
			t.Errorf("%q became %q", text, rendered)
		}
		if v, err := compiled.value(s); err == nil {
			if _, err := json.Marshal(v); err != nil && !strings.Contains(err.Error(), "unsupported value") {
				t.Errorf("%q gave %v, which is no JSON: %v", text, v, err)
			}
		}
	})
}

// What is written is read again as it was.
func TestDefinitionsAreWrittenAsTheyWereRead(t *testing.T) {
	t.Parallel()
	first := mustCompile(t, lostForFiveMinutes).Automation().Definition
	text, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseDefinition(text, "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("(-read +again):\n%s", diff)
	}
}

func BenchmarkDecide(b *testing.B) {
	var programs []*Program
	for i := range 20 {
		p := mustCompile(b, lostForFiveMinutes)
		p.automation.ID = fmt.Sprint(i)
		programs = append(programs, p)
	}
	var events []entity.Event
	for e := range edges(time.Now(), 300) {
		events = append(events, e)
	}
	m := newSimulation(programs, events[0].At, nil)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := Decide(m.world(), programs, events[i%len(events)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDryRun(b *testing.B) {
	p := mustCompile(b, lostForFiveMinutes)
	begin := time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)
	for b.Loop() {
		dry := DryRun{Programs: []*Program{p}, From: begin, To: begin.Add(4 * time.Hour), Events: edges(begin, 2000)}
		if _, err := dry.Run(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(2000*b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		mustCompile(b, lostForFiveMinutes)
	}
}

// FuzzDefinition: no definition panics; one that is taken is the same when it was written
// and read again, and an event leads to decisions and a run that goes as far as it can.
func FuzzDefinition(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var tree any
		if err := yaml.Unmarshal(archive.Files[0].Data, &tree); err != nil {
			f.Fatal(err)
		}
		raw, err := json.Marshal(tree)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := ParseDefinition(raw, "")
		if err != nil {
			return
		}
		a := Automation{ID: "a1", Name: "fuzz", Enabled: true, Revision: 1, Definition: d}
		p, err := Compile(a, testActions(), "")
		if err != nil {
			return
		}
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatalf("it was taken and cannot be written: %v", err)
		}
		again, err := ParseDefinition(text, "")
		if err == nil {
			_, err = Compile(Automation{ID: "a1", Name: "fuzz", Definition: again}, testActions(), "")
		}
		if err != nil {
			t.Fatalf("what was taken is refused when it was written and read again: %v\n%s", err, text)
		}
		m := newSimulation([]*Program{p}, time.Unix(0, 0), nil)
		m.left = 100
		m.do = func(_ Run, step Step) Step {
			step.Status, step.Output = StepSuccess, json.RawMessage(`{}`)
			return step
		}
		for i, event := range p.Events() {
			e := entity.Event{Seq: int64(i + 1), Type: event, Kind: "k", EntityID: "e", ChangeID: "c", Changed: []string{"status"}, Next: json.RawMessage(`{"status":"x"}`), Payload: json.RawMessage(`{"name":"n"}`), At: time.Unix(int64(i), 0)}
			if err := m.event(e); err != nil && !errors.Is(err, errTooMuch) {
				t.Fatal(err)
			}
		}
	})
}
