package automation

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

var update = flag.Bool("update", false, "write what the engine says into the case files")

type logConfig struct {
	Message string `json:"message" help:"what is written"`
	Level   string `json:"level,omitempty" help:"how loud" enum:"debug,info,warn,error"`
}

type callConfig struct {
	URL  string         `json:"url" help:"where to"`
	Body map[string]any `json:"body,omitempty" help:"what is sent"`
}

// testActions are one that may be repeated and one that may not.
func testActions() Actions {
	log := NewAction("log", "writes a line", func(context.Context, Request, logConfig) (any, error) { return nil, nil })
	log.Repeatable = true
	return NewRegistry(log, NewAction("call", "calls", func(context.Context, Request, callConfig) (any, error) { return nil, nil }))
}

func readDefinition(text []byte) (Definition, error) {
	var tree any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return Definition{}, err
	}
	raw, err := json.Marshal(tree)
	if err != nil {
		return Definition{}, err
	}
	return ParseDefinition(raw, "")
}

func compileCase(text []byte) (*Program, error) {
	d, err := readDefinition(text)
	if err != nil {
		return nil, err
	}
	return Compile(Automation{ID: "a1", Name: "case", Enabled: true, Revision: 1, Definition: d}, testActions(), "")
}

// TestCases replays each file of testdata: a definition, what happens, and what the
// engine says to it. Each file is a rule of spec D.2 or D.3 by its name.
func TestCases(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".txtar"); !slices.Contains(numbered, name) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				playCase(t, name)
			})
		}
	}
}

// numbered are case files with a test of their own, by the number of what it shows.
var numbered = []string{"filter", "payload", "wait_until", "for_is_cancelled_by_return", "mode_single", "wait_for_trigger", "mode_queued", "condition_state"}

func TestL261_EventsFindAutomationsByTheirType(t *testing.T) { t.Parallel(); playCase(t, "filter") }

func TestL262_RunsHaveTheChangeAsPayload(t *testing.T) { t.Parallel(); playCase(t, "payload") }

func TestL263_WaitUntil(t *testing.T) { t.Parallel(); playCase(t, "wait_until") }

func TestL264_M56_DwellIsAboutTheEntitysOwnState(t *testing.T) {
	t.Parallel()
	playCase(t, "for_is_cancelled_by_return")
}

func TestL265_ModeSingle(t *testing.T) { t.Parallel(); playCase(t, "mode_single") }

func TestM57_EventsOfEntitiesEndWaits(t *testing.T) { t.Parallel(); playCase(t, "wait_for_trigger") }

func TestM58_QueuedIsAQueue(t *testing.T) { t.Parallel(); playCase(t, "mode_queued") }

func TestM61_StatesOfAnyKindAreConditions(t *testing.T) { t.Parallel(); playCase(t, "condition_state") }

func playCase(t *testing.T, name string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txtar")
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]*txtar.File{}
	for i := range archive.Files {
		parts[archive.Files[i].Name] = &archive.Files[i]
	}
	got := play(t, parts["automation.yaml"].Data, parts["script"])
	if *update {
		parts["want"].Data = []byte(got)
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(parts["want"].Data), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func play(t *testing.T, definition []byte, script *txtar.File) string {
	t.Helper()
	p, err := compileCase(definition)
	if err != nil {
		return refusal(err)
	}
	c := &caseRun{t: t, start: time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC), ends: map[string][]string{}} // a Monday
	c.m = newSimulation([]*Program{p}, c.start, nil)
	c.m.do, c.m.decided, c.m.ended = c.do, c.decided, c.ended
	for line := range strings.Lines(string(script.Data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			c.line(line)
		}
	}
	for _, r := range c.m.runs {
		c.ended(r.Run, r.journal.steps)
	}
	return c.out.String()
}

func refusal(err error) string {
	f, ok := err.(*fault.Error)
	if !ok {
		return "error: " + err.Error() + "\n"
	}
	text := f.Message + "\n"
	for _, field := range f.Fields {
		text += field.Path + ": " + field.Message + "\n"
	}
	return text
}

// caseRun is a script being played.
type caseRun struct {
	t     *testing.T
	m     *simulation
	start time.Time
	seq   int64
	// ends say how the next attempts of actions end.
	ends map[string][]string
	out  strings.Builder
}

// line is "[+DAYS:]HH:MM:SS command …".
func (c *caseRun) line(line string) {
	words := strings.Fields(line)
	at, err := time.Parse("15:04:05", words[0])
	if err != nil {
		c.t.Fatalf("%q: %v", line, err)
	}
	now := c.start.Add(at.Sub(time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)))
	if err := c.m.until(now); err != nil {
		c.t.Fatal(err)
	}
	if len(words) == 1 {
		return
	}
	switch words[1] {
	case "event": // TYPE KIND ID NEXT [PAYLOAD]
		e := c.eventOf(now, words[2:])
		if err := c.m.event(e); err != nil {
			c.t.Fatal(err)
		}
	case "action": // NAME success|fail|refuse|doubt|hang [OUTPUT or MESSAGE]
		c.ends[words[2]] = append(c.ends[words[2]], strings.Join(words[3:], " "))
	case "crash": // whatever is being done is in doubt
		for _, r := range append([]*simulatedRun(nil), c.m.runs...) {
			for i := range r.journal.steps {
				if r.journal.steps[i].Status == StepRunning {
					r.journal.steps[i].Status = StepInDoubt
				}
			}
			if err := c.m.advance(r, nil); err != nil {
				c.t.Fatal(err)
			}
		}
	case "run": // by hand
		e := entity.Event{Type: EventManual, Kind: "automation", EntityID: "a1", ChangeID: line, At: now, Actor: entity.Actor{Type: "user", ID: "u1"}}
		d, err := DecideManual(c.m.world(), c.m.programs[0], "", e)
		if err != nil {
			c.t.Fatal(err)
		}
		if err := c.m.apply(d, now); err != nil {
			c.t.Fatal(err)
		}
	default:
		c.t.Fatalf("no such command: %q", line)
	}
}

func (c *caseRun) eventOf(now time.Time, words []string) entity.Event {
	c.seq++
	prev, _, _ := c.m.states.State(words[1], words[2])
	var next entity.State
	if err := json.Unmarshal([]byte(words[3]), &next); err != nil {
		c.t.Fatal(err)
	}
	changed, err := entity.Diff(prev, next)
	if err != nil {
		c.t.Fatal(err)
	}
	before, _ := json.Marshal(prev)
	payload := json.RawMessage(`{}`)
	if len(words) > 4 {
		payload = json.RawMessage(words[4])
	}
	return entity.Event{
		Seq: c.seq, Type: words[0], Kind: words[1], EntityID: words[2], ChangeID: fmt.Sprint("c", c.seq), Changed: changed,
		Prev: before, Next: json.RawMessage(words[3]), Payload: payload, Actor: entity.System, At: now,
	}
}

func (c *caseRun) do(run Run, step Step) Step {
	c.interpretedAgain(run)
	end := "success {}"
	if all := c.ends[step.Action]; len(all) > 0 {
		end, c.ends[step.Action] = all[0], all[1:]
	}
	how, what, _ := strings.Cut(end, " ")
	fmt.Fprintf(&c.out, "%s do %s %s #%d %s\n", c.clock(c.m.now), step.Path, step.Action, step.Attempt, step.Input)
	switch how {
	case "success":
		step.Status, step.Output = StepSuccess, json.RawMessage(what)
	case "fail":
		step.Status, step.Error = StepFailed, what
	case "refuse":
		step.Status, step.Error, step.Final = StepFailed, what, true
	case "doubt":
		step.Status, step.Error = StepInDoubt, what
	}
	return step
}

// interpretedAgain holds a run to its journal: interpreted once more, as after a crash, it
// does and writes nothing that it has done and written.
func (c *caseRun) interpretedAgain(run Run) {
	i := slices.IndexFunc(c.m.runs, func(r *simulatedRun) bool { return r.ID == run.ID })
	progress, err := c.m.runs[i].program.Advance(c.m.world(), run, c.m.runs[i].journal.steps, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if len(progress.Do)+len(progress.Steps) > 0 {
		c.t.Errorf("interpreted again, it wrote %+v and did %+v", progress.Steps, progress.Do)
	}
}

func (c *caseRun) clock(at time.Time) string {
	if days := int(at.Sub(c.start).Hours()) / 24; days > 0 {
		return fmt.Sprintf("+%dd %s", days, at.Format("15:04:05"))
	}
	return at.Format("15:04:05")
}

func (c *caseRun) decided(d Decision) {
	fmt.Fprintf(&c.out, "%s %s %s %s: %s\n", c.clock(d.At), d.Outcome, d.Trigger, d.ContextKey, d.Reason)
	for _, e := range d.Because {
		fmt.Fprintf(&c.out, "    %s %s: %s (%s)\n", e.Result, e.Path, e.Text, e.Why)
	}
}

func (c *caseRun) ended(r Run, steps []Step) {
	fmt.Fprintf(&c.out, "%s run of %s %s: %s\n", c.clock(c.m.now), r.ContextKey, r.Status, r.Reason)
	for _, s := range steps {
		fmt.Fprintf(&c.out, "    %s %s %s", s.Path, s.Kind, s.Status)
		if s.Kind != "action" && len(s.Output) > 0 {
			fmt.Fprintf(&c.out, " %s", s.Output)
		}
		if s.Error != "" {
			fmt.Fprintf(&c.out, ": %s", s.Error)
		}
		c.out.WriteByte('\n')
	}
}
