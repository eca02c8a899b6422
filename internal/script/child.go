package script

import (
	"bufio"
	"cmp"
	"container/heap"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"modernc.org/quickjs"

	"github.com/perigee-monitoring/perigee/internal/fence"
)

// prelude is what prelude.js is to the engine: reading it as text would take each child half
// of its time. The engine that compiled it must be the one that runs it; a test sees to that.
//
//go:generate go test -run TestThePreludeIsCompiled . -update
//go:embed prelude.bin
var prelude []byte

// childName is what a child is called (argv[0]), by which it knows that it is one.
const childName = "perigee-script"

// init makes this process a child, if it is to be one. It is done here, where every
// program that runs scripts passes by, so that none can forget it and run itself as its
// own child without end; tests are such programs too.
func init() {
	if len(os.Args) > 0 && os.Args[0] == childName {
		os.Exit(child(os.Stdin, os.Stdout))
	}
}

// childMemory bounds a child's data, beyond what the script's heap may take: that of the
// Go runtime, the engine and what travels.
const childMemory = 192 << 20

// reserve is what the heap may take beyond its bound once the script has begun.
const reserve = 1 << 20

// child does one task and ends.
func child(in io.Reader, out io.Writer) int {
	debug.SetGCPercent(50)
	lines := bufio.NewReaderSize(in, 64<<10)
	o := json.NewEncoder(out)
	var t task
	if err := readLine(lines, &t); err != nil {
		fmt.Fprintln(os.Stderr, "reading the task:", err)
		return 2
	}
	confine := fence.Confinement{NoNetwork: true, NoPrograms: true, NoFiles: true, Memory: childMemory + maxMessage}
	if t.Run != nil {
		confine.Memory += t.Run.Memory
	} else {
		confine.Memory = 1 << 30 // a bundler keeps all it reads
		if t.Build.Root != "" {
			confine.ReadOnly = []string{t.Build.Root}
		}
	}
	if err := fence.Confine(confine); err != nil {
		_ = o.Encode(said{Ill: &illConfined{Reason: err.Error()}}) // a parent that is gone needs no answer
		return 0
	}
	if t.Build != nil {
		b := bundle(*t.Build)
		_ = o.Encode(said{Built: &b})
		return 0
	}
	m := &machine{out: o, timers: timers{}, memory: t.Run.Memory, deadline: time.Now().Add(time.Duration(t.Run.Millis) * time.Millisecond)}
	end := m.run(t.Run, answers(lines))
	_ = o.Encode(said{End: &end})
	return 0
}

// answers are what the parent says while a script runs; closed when it is gone. The
// process ends with the goroutine still reading.
func answers(lines *bufio.Reader) <-chan string {
	c := make(chan string)
	go func() {
		defer close(c)
		for {
			line, err := readRaw(lines)
			if err != nil {
				return
			}
			c <- string(line)
		}
	}()
	return c
}

// readRaw reads one line of bounded length.
func readRaw(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxMessage:
			return nil, errors.New("a message is too long")
		case errors.Is(err, bufio.ErrBufferFull):
		default:
			return line, err
		}
	}
}

func readLine(r *bufio.Reader, into any) error {
	line, err := readRaw(r)
	if err != nil {
		return err
	}
	return json.Unmarshal(line, into)
}

// machine is one script in the engine, with its event loop.
type machine struct {
	vm       *quickjs.VM
	out      *json.Encoder
	memory   int64 // of its heap, in bytes
	deadline time.Time
	timers   timers
	fetches  int // on their way
	asked    int // ever
	end      *ended
}

// run evaluates and turns the loop until the script has ended, has nothing left to wait
// for, or its time is up.
func (m *machine) run(t *runTask, answers <-chan string) ended {
	if err := m.prepare(t); err != nil {
		return ended{Thrown: &thrown{Message: "the script engine did not start: " + err.Error()}}
	}
	module, err := m.vm.EvalValue(t.Code, quickjs.EvalModule)
	if err != nil {
		return m.failed(err)
	}
	m.vm.SetMemoryLimit(uintptr(t.Memory + reserve)) // what went wrong for want of memory takes some to be told
	// A module that fails at its top rejects this promise; nobody else hears of it.
	if _, err := module.Then(nil, func(v quickjs.Value) { m.fail(quickjs.ErrorFromValue(v)) }); err != nil && m.end == nil {
		return m.failed(err)
	}
	for {
		if err := m.limit(); err != nil {
			return ended{Timeout: true}
		}
		if _, err := m.vm.ExecutePendingJobs(); err != nil && m.end == nil {
			return m.failed(err)
		}
		if m.end != nil {
			return *m.end
		}
		if len(m.timers) == 0 && m.fetches == 0 {
			return ended{Thrown: &thrown{Message: "the script waits for something that never comes: no timer and no request is left that could end it"}}
		}
		if err := m.wait(answers); err != nil {
			return m.failed(err)
		}
	}
}

func (m *machine) prepare(t *runTask) (err error) {
	if m.vm, err = quickjs.NewVM(); err != nil {
		return err
	}
	m.vm.SetMemoryLimit(uintptr(t.Memory))
	if err := m.vm.RegisterHostFunc("__host", m.host); err != nil {
		return err
	}
	context, env := string(t.Context), t.Env
	if context == "" {
		context = "{}"
	}
	if env == nil {
		env = map[string]string{}
	}
	environment, err := json.Marshal(env)
	if err != nil {
		return err
	}
	quoted, err := json.Marshal([]string{context, string(environment)})
	if err != nil {
		return err
	}
	if _, err := m.vm.EvalBytecode(prelude); err != nil {
		return err
	}
	setup := fmt.Sprintf(`__prelude(__host); delete globalThis.__prelude; delete globalThis.__host;
(([context, env]) => {
	globalThis.context = JSON.parse(context);
	globalThis.process = { env: JSON.parse(env), platform: "perigee", argv: [], versions: {} };
	globalThis.global = globalThis; globalThis.self = globalThis;
})(%s)`, escapeSeparators(string(quoted)))
	_, err = m.vm.Eval(setup, quickjs.EvalGlobal)
	return err
}

// escapeSeparators: two characters of JSON end a line in older scripts.
func escapeSeparators(text string) string {
	return strings.NewReplacer("\u2028", `\u2028`, "\u2029", `\u2029`).Replace(text)
}

// limit gives the engine what is left of the time.
func (m *machine) limit() error {
	left := time.Until(m.deadline)
	if left <= 0 {
		return ErrTimeout
	}
	return m.vm.SetEvalTimeout(left)
}

// wait waits for the next timer or answer, and lets the script know.
func (m *machine) wait(answers <-chan string) error {
	until := m.deadline
	if len(m.timers) > 0 && m.timers[0].at.Before(until) {
		until = m.timers[0].at
	}
	clock := time.NewTimer(time.Until(until))
	defer clock.Stop()
	select {
	case text, ok := <-answers:
		if !ok {
			return errors.New("the satellite is gone")
		}
		m.fetches--
		_, err := m.vm.Call("__perigee.fetched", text)
		return err
	case now := <-clock.C:
		for len(m.timers) > 0 && !m.timers[0].at.After(now) && m.end == nil {
			t := heap.Pop(&m.timers).(timer)
			if _, err := m.vm.Call("__perigee.fire", t.id); err != nil {
				return err
			}
			if _, err := m.vm.ExecutePendingJobs(); err != nil {
				return err
			}
		}
		return nil
	}
}

func (m *machine) fail(e *quickjs.Error) {
	if m.end == nil {
		f := m.failed(e)
		m.end = &f
	}
}

// failed says what an error of the engine's is.
func (m *machine) failed(err error) ended {
	if !time.Now().Before(m.deadline) {
		return ended{Timeout: true}
	}
	e, ok := errors.AsType[*quickjs.Error](err)
	if !ok {
		return ended{Thrown: &thrown{Message: err.Error()}}
	}
	stack := e.Stack
	if e.LineNumber > 0 && stack == "" {
		stack = fmt.Sprintf("    at <eval>:%d:%d", e.LineNumber, e.ColumnNumber)
	}
	message := strings.TrimPrefix(cmp.Or(e.Message, e.Error()), e.Name+": ")
	switch {
	case e.Name == "InternalError" && message == "out of memory":
		message = fmt.Sprintf("out of memory: its heap may take %d MiB", m.memory>>20)
	case e.Name == "" && message == "null": // what is thrown where there is no memory for an error
		message = fmt.Sprintf("out of memory: its heap may take %d MiB (or null was thrown)", m.memory>>20)
	case e.Name == "" && stack == "": // no Error
		message = fmt.Sprintf("the script threw %q", message)
	}
	return ended{Thrown: &thrown{Name: e.Name, Message: message, Stack: stack}}
}

// timer is when what is to be fired.
type timer struct {
	at time.Time
	id int
}

// timers are a heap, the next first.
type timers []timer

func (t timers) Len() int { return len(t) }
func (t timers) Less(i, j int) bool {
	return t[i].at.Before(t[j].at) || t[i].at.Equal(t[j].at) && t[i].id < t[j].id
}
func (t timers) Swap(i, j int) { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)   { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}
