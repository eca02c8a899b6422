package link

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perigee-monitoring/perigee/protocol"
)

// pipeBytes and pipeFrames bound what waits in one direction of a pipe, as the
// network's buffers would. A writer beyond them waits until its deadline; a
// single larger message passes when nothing else waits.
const (
	pipeBytes  = 1 << 20
	pipeFrames = 256
)

// Pipe is a connection in memory: what is written at one end is read at the other.
func Pipe() (agent, core Conn) { return PipeWith(Options{}, Options{}) }

// PipeWith is a Pipe whose ends have options of their own.
func PipeWith(agent, core Options) (Conn, Conn) {
	up, down := newFlow(), newFlow()
	a := newEnd(agent.withDefaults(), down, up)
	c := newEnd(core.withDefaults(), up, down)
	return a, c
}

// end is one end of a pipe.
type end struct {
	in, out *flow
	silence time.Duration
	timeout time.Duration
	limit   atomic.Int64
	heard   atomic.Int64 // Unix nanoseconds

	deaf    bool       // owned by the reading goroutine: what still comes is thrown away
	writeMu sync.Mutex // one writer waits for room at a time

	mu     sync.Mutex
	closed *CloseError   // guarded by mu: how it ended, or is about to
	over   bool          // guarded by mu: nothing is read any more
	gone   chan struct{} // closed with over
	linger *time.Timer   // guarded by mu
	pinged uint64        // guarded by mu
	pings  []ping        // guarded by mu
}

func newEnd(o Options, in, out *flow) *end {
	e := &end{in: in, out: out, silence: o.Silence, timeout: o.WriteTimeout, gone: make(chan struct{})}
	e.limit.Store(o.ReadLimit)
	e.heard.Store(time.Now().UnixNano())
	return e
}

// item is what travels: a message, a ping, a pong or the close frame.
type item struct {
	kind   itemKind
	frame  []byte
	number uint64
	closed *CloseError
}

type itemKind byte

const (
	itemMessage itemKind = iota
	itemPing
	itemPong
	itemClose
)

// flow is one direction: a bounded queue.
type flow struct {
	mu    sync.Mutex
	items []item        // guarded by mu
	bytes int           // guarded by mu
	ready chan struct{} // holds one token when there may be something to take
	room  chan struct{} // holds one token when there may be room
	shut  chan struct{} // closed when nobody takes any more
}

func newFlow() *flow {
	return &flow{ready: make(chan struct{}, 1), room: make(chan struct{}, 1), shut: make(chan struct{})}
}

// put adds it, and reports false when a message finds no room.
func (f *flow) put(it item) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	full := f.bytes+len(it.frame) > pipeBytes || len(f.items) >= pipeFrames
	if it.kind == itemMessage && full && len(f.items) > 0 {
		return false
	}
	f.items = append(f.items, it)
	f.bytes += len(it.frame)
	signal(f.ready)
	return true
}

func (f *flow) take() (item, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.items) == 0 {
		f.items = nil
		return item{}, false
	}
	it := f.items[0]
	f.items[0] = item{}
	f.items = f.items[1:]
	f.bytes -= len(it.frame)
	signal(f.room)
	return it, true
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func (e *end) SetReadLimit(bytes int64) { e.limit.Store(bytes) }
func (e *end) LastHeard() time.Time     { return time.Unix(0, e.heard.Load()) }
func (e *end) RemoteAddr() string       { return "pipe" }

func (e *end) Read() ([]byte, error) {
	for {
		if closed, over := e.state(); over {
			return nil, closed
		}
		it, ok := e.in.take()
		if !ok {
			e.await()
			continue
		}
		e.heard.Store(time.Now().UnixNano())
		switch it.kind {
		case itemPing:
			e.out.put(item{kind: itemPong, number: it.number})
		case itemPong:
			for _, done := range takeAnswered(&e.mu, &e.pings, it.number) {
				done()
			}
		case itemClose:
			if e.mark(it.closed) {
				e.out.put(item{kind: itemClose, closed: it.closed})
			} else {
				e.answered(it.closed)
			}
			e.finish()
		case itemMessage:
			if e.deaf {
				continue
			}
			if limit := e.limit.Load(); int64(len(it.frame)) > limit {
				e.deaf = true
				e.Close(protocol.CloseTooBig, fmt.Sprintf("%v: more than %d bytes", errTooBig, limit))
				continue
			}
			return it.frame, nil
		}
	}
}

// await returns when there may be something to read, or the end has come.
func (e *end) await() {
	var silent <-chan time.Time
	if e.silence > 0 {
		timer := time.NewTimer(time.Until(e.LastHeard().Add(e.silence)))
		defer timer.Stop()
		silent = timer.C
	}
	select {
	case <-e.in.ready:
	case <-e.gone:
	case <-silent:
		e.Close(protocol.CloseSilent, fmt.Sprintf("nothing heard for %s", e.silence))
		e.finish()
	}
}

func (e *end) Write(frame []byte) error {
	e.writeMu.Lock()
	defer e.writeMu.Unlock()
	timer := time.NewTimer(e.timeout)
	defer timer.Stop()
	it := item{kind: itemMessage, frame: bytes.Clone(frame)}
	for {
		if closed, _ := e.state(); closed != nil {
			return fmt.Errorf("writing a message: %w", closed)
		}
		select {
		case <-e.out.shut:
			return fmt.Errorf("writing a message: %w", io.ErrClosedPipe)
		default:
		}
		if e.out.put(it) {
			return nil
		}
		select {
		case <-e.out.room:
		case <-e.out.shut:
		case <-e.gone:
		case <-timer.C:
			err := fmt.Errorf("writing a message: %w", os.ErrDeadlineExceeded)
			if e.mark(&CloseError{Code: Lost, Local: true, Err: err}) {
				e.out.put(item{kind: itemClose, closed: &CloseError{Code: Lost, Err: io.ErrUnexpectedEOF}})
			}
			e.finish()
			return err
		}
	}
}

func (e *end) Ping(done func()) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed != nil {
		return fmt.Errorf("pinging: %w", e.closed)
	}
	e.pinged++
	if done != nil {
		e.pings = append(e.pings, ping{e.pinged, done})
	}
	e.out.put(item{kind: itemPing, number: e.pinged})
	return nil
}

func (e *end) Close(code int, reason string) error {
	if !e.mark(&CloseError{Code: code, Reason: reason, Local: true}) {
		return nil
	}
	told := &CloseError{Code: code, Reason: reason}
	if code == Lost {
		told.Err = io.ErrUnexpectedEOF
	}
	e.out.put(item{kind: itemClose, closed: told})
	if code == Lost {
		e.finish()
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.over {
		e.linger = time.AfterFunc(lingerFor, e.finish)
	}
	return nil
}

// answered notes that the other end has closed as well.
func (e *end) answered(by *CloseError) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed.Local && by.Code != Lost {
		closed := *e.closed // whoever read it may be looking at it
		closed.Answered = true
		e.closed = &closed
	}
}

// mark notes how the connection ends; false when that is settled already.
func (e *end) mark(closed *CloseError) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed != nil {
		return false
	}
	e.closed = closed
	e.pings = nil
	return true
}

// finish ends reading for good.
func (e *end) finish() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return
	}
	e.over = true
	if e.linger != nil {
		e.linger.Stop()
	}
	close(e.gone)
	close(e.in.shut)
}

func (e *end) state() (closed *CloseError, over bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed, e.over
}
