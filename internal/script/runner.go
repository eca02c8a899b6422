package script

import (
	"bufio"
	"cmp"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Runner runs scripts. The zero value works; it may be used by any number of goroutines.
type Runner struct {
	building sync.Mutex // a bundler takes much memory: one at a time
	mu       sync.Mutex
	kept     map[[sha256.Size]byte]*list.Element
	order    list.List // the last used first
	size     int
}

// keptBytes is how much of built code is kept.
const keptBytes = 32 << 20

type keptBuild struct {
	key [sha256.Size]byte
	built
}

const (
	// buildTime bounds one build.
	buildTime = 20 * time.Second
	// childGrace is what a child gets to say that its time is up, and then to end.
	childGrace = 500 * time.Millisecond
	// maxComplaint is the most that is kept of what a child that crashed has printed.
	maxComplaint = 4 << 10
)

// build gives the built code, from what is kept if it is there. The tree of packages is a
// part of the key: it never changes under its name.
func (r *Runner) build(ctx context.Context, in Input) (built, error) {
	if len(in.Source) > maxSource {
		return built{}, &Error{Message: fmt.Sprintf("the script is %d bytes long, more than %d", len(in.Source), maxSource)}
	}
	t := buildTask{Source: in.Source, Name: cmp.Or(in.Name, "check.ts"), Root: in.Root, Runtime: in.Runtime}
	t.Root = treeOf(t.Root)
	key := sha256.Sum256([]byte(t.Name + "\x00" + t.Root + "\x00" + t.Runtime + "\x00" + t.Source))
	if b, ok := r.get(key); ok {
		return b, nil
	}
	r.building.Lock()
	defer r.building.Unlock()
	if b, ok := r.get(key); ok { // somebody else has built it
		return b, nil
	}
	limited, cancel := context.WithTimeout(ctx, buildTime)
	defer cancel()
	began := time.Now()
	c, err := start(limited, task{Build: &t})
	if err != nil {
		return built{}, err
	}
	defer c.end()
	var b *built
	for b == nil {
		m, err := c.next()
		if err != nil {
			if late := tooLate(limited, began); late != nil {
				return built{}, late
			}
			return built{}, c.complaint("building the script", err)
		}
		if m.Ill != nil {
			return built{}, &Unconfined{m.Ill.Reason}
		}
		b = m.Built
	}
	if b.Problem != nil {
		return built{}, b.Problem
	}
	r.put(key, *b)
	return *b, nil
}

func (r *Runner) get(key [sha256.Size]byte) (built, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.kept[key]
	if !ok {
		return built{}, false
	}
	r.order.MoveToFront(e)
	return e.Value.(*keptBuild).built, true
}

func (r *Runner) put(key [sha256.Size]byte, b built) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kept == nil {
		r.kept = map[[sha256.Size]byte]*list.Element{}
	}
	r.kept[key] = r.order.PushFront(&keptBuild{key, b})
	for r.size += len(b.Code) + len(b.Map); r.size > keptBytes; {
		last := r.order.Remove(r.order.Back()).(*keptBuild)
		delete(r.kept, last.key)
		r.size -= len(last.Code) + len(last.Map)
	}
}

// Unconfined is that a child could not be fenced in, so nothing was run.
type Unconfined struct{ Reason string }

func (e *Unconfined) Error() string {
	return "this satellite cannot fence scripts in, so it runs none: " + e.Reason
}

func (r *Runner) run(ctx context.Context, b built, in Input, limits Limits, fetch Fetcher) (Outcome, error) {
	began := time.Now()
	millis := int64(time.Minute / time.Millisecond)
	if at, ok := ctx.Deadline(); ok {
		millis = max(1, time.Until(at).Milliseconds())
	}
	// The child says itself that its time is up, and where it was; if it does not, it is ended.
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(millis)*time.Millisecond+childGrace)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			cancel()
		}
	})()
	c, err := start(limited, task{Run: &runTask{
		Code: b.Code, Context: in.Context, Env: in.Env, Memory: cmp.Or(limits.Memory, DefaultMemory), Millis: millis,
	}})
	if err != nil {
		return Outcome{}, err
	}
	defer c.end()
	out := output{most: cmp.Or(limits.Output, DefaultOutput)}
	fetches := newFetches(limited, fetch, c.tell)
	defer fetches.end()
	for {
		m, err := c.next()
		switch {
		case err != nil:
			if limited.Err() != nil {
				return out.outcome(Outcome{}), fmt.Errorf("%w (%s)", ErrTimeout, time.Since(began).Round(time.Millisecond))
			}
			return out.outcome(Outcome{}), c.complaint("running the script", err)
		case m.Ill != nil:
			return Outcome{}, &Unconfined{m.Ill.Reason}
		case m.Log != nil:
			out.line(m.Log.Text)
		case m.Fetch != nil:
			fetches.begin(m.Fetch)
		case m.Abort != 0:
			fetches.abort(m.Abort)
		case m.End != nil:
			o, err := b.outcome(m.End, began)
			return out.outcome(o), fetches.blame(err)
		}
	}
}

// outcome says in words of the source how a script ended.
func (b built) outcome(e *ended, began time.Time) (Outcome, error) {
	switch {
	case e.Timeout:
		return Outcome{}, fmt.Errorf("%w (%s)", ErrTimeout, time.Since(began).Round(time.Millisecond))
	case e.Thrown != nil:
		return Outcome{}, b.explain(e.Thrown)
	}
	return Returned(e.Value)
}

// output keeps the beginning of what a script prints.
type output struct {
	text strings.Builder
	most int
	more bool
}

func (o *output) line(text string) {
	if room := o.most - o.text.Len(); len(text)+1 > room {
		o.more, text = true, strings.ToValidUTF8(text[:max(0, min(len(text), room-1))], "")
		if text == "" {
			return
		}
	}
	o.text.WriteString(text)
	o.text.WriteByte('\n')
}

func (o *output) outcome(of Outcome) Outcome {
	of.Output, of.Cut = o.text.String(), o.more
	return of
}

// process is a child with its pipes.
type process struct {
	command *exec.Cmd
	in      io.WriteCloser
	lines   *bufio.Reader
	stderr  *complaints
	release func()

	mu sync.Mutex // of in
}

// start starts a child and gives it its task. end must be called.
func start(ctx context.Context, t task) (*process, error) {
	self := "/proc/self/exe" // also when the file was replaced since
	if runtime.GOOS != "linux" {
		var err error
		if self, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("finding this program: %w", err)
		}
	}
	c := &process{command: exec.CommandContext(ctx, self), stderr: &complaints{}}
	c.command.Args = []string{childName}
	c.command.Env = []string{"GOMAXPROCS=" + strconv.Itoa(min(2, runtime.NumCPU())), "GOTRACEBACK=single"}
	c.command.Dir = "/"
	c.command.Stderr = c.stderr
	c.command.WaitDelay = childGrace
	c.release = alone(c.command)
	in, err := c.command.StdinPipe()
	if err == nil {
		c.in = in
		var out io.ReadCloser
		if out, err = c.command.StdoutPipe(); err == nil {
			c.lines = bufio.NewReaderSize(out, 64<<10)
			err = c.command.Start()
		}
	}
	if err != nil {
		c.release()
		return nil, fmt.Errorf("starting the child that runs scripts: %w", err)
	}
	if err := c.tell(t); err != nil {
		c.end()
		return nil, c.complaint("handing the script over", err)
	}
	return c, nil
}

// tell writes one message. Whoever writes to a child that is gone gets an error, and reads
// why from the child.
func (c *process) tell(m any) error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err = c.in.Write(append(line, '\n'))
	return err
}

func (c *process) next() (said, error) {
	var m said
	err := readLine(c.lines, &m)
	return m, err
}

// end ends the child, and waits for it.
func (c *process) end() {
	_ = c.command.Process.Kill() // it may have ended
	_ = c.command.Wait()         // how is known by what it said
	c.release()
}

// complaint is what a child that did not speak any more has printed.
func (c *process) complaint(doing string, err error) error {
	if text := c.stderr.first(); text != "" {
		return fmt.Errorf("%s: %s", doing, text)
	}
	return fmt.Errorf("%s: the child that runs it ended: %w", doing, err)
}

// complaints keep the beginning of what a child prints when it crashes.
type complaints struct {
	mu   sync.Mutex
	text []byte
}

func (c *complaints) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text = append(c.text, b[:min(len(b), maxComplaint-len(c.text))]...)
	return len(b), nil
}

func (c *complaints) first() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	line, _, _ := strings.Cut(strings.TrimSpace(string(c.text)), "\n")
	return line
}
