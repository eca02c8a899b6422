package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/perigee-monitoring/perigee/protocol"
)

// socket is a WebSocket, at either end. It is made to be cheap while idle: no
// goroutine of its own, no buffer but 512 bytes to read headers into.
type socket struct {
	ws      *websocket.Conn
	wire    *wire
	timeout time.Duration // of a ping
	limit   atomic.Int64

	// Owned by the reading goroutine.
	frame *[]byte     // what the last Read returned, to go back into the pool
	final *CloseError // what every further Read returns
	deaf  bool        // what still comes is thrown away

	writeMu sync.Mutex // one message at a time

	mu     sync.Mutex
	closed *CloseError // guarded by mu: how this end closed it
	linger *time.Timer // guarded by mu
	pinged uint64      // guarded by mu: number of the last ping
	pings  []ping      // guarded by mu: those that somebody waits for
}

// ping is one that waits for its pong.
type ping struct {
	number uint64
	done   func()
}

// wire is the network connection below a socket. It knows when bytes last
// arrived and gives up when none do, and when none can be sent: bytes rather than
// messages, because a large message on a slow link is neither silent nor stuck.
// Its zero durations are no limit, as during a handshake.
type wire struct {
	net.Conn
	silence time.Duration
	heard   atomic.Int64 // Unix nanoseconds

	timeout time.Duration
	bounded bool // the writer, of whom there is one at a time, has set a deadline
}

func (w *wire) Read(p []byte) (int, error) {
	if w.silence > 0 {
		if err := w.SetReadDeadline(time.Now().Add(w.silence)); err != nil {
			return 0, err
		}
	}
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.heard.Store(time.Now().UnixNano())
	}
	return n, err
}

// SetWriteDeadline is called by gorilla before each Write: with a time for
// control frames, without one for messages.
func (w *wire) SetWriteDeadline(t time.Time) error {
	w.bounded = !t.IsZero()
	return w.Conn.SetWriteDeadline(t)
}

// headway is what must get through in each timeout.
const headway = 64 << 10

func (w *wire) Write(p []byte) (int, error) {
	if w.bounded || w.timeout <= 0 {
		return w.Conn.Write(p)
	}
	written := 0
	for {
		if err := w.Conn.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
			return written, err
		}
		n, err := w.Conn.Write(p[written:min(written+headway, len(p))])
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

func newSocket(ws *websocket.Conn, w *wire, o Options) *socket {
	s := &socket{ws: ws, wire: w, timeout: o.WriteTimeout}
	s.limit.Store(o.ReadLimit)
	w.silence, w.timeout = o.Silence, o.WriteTimeout
	w.heard.Store(time.Now().UnixNano())
	ws.SetPongHandler(s.ponged)
	return s
}

func (s *socket) SetReadLimit(bytes int64) { s.limit.Store(bytes) }
func (s *socket) LastHeard() time.Time     { return time.Unix(0, s.wire.heard.Load()) }
func (s *socket) RemoteAddr() string       { return s.wire.RemoteAddr().String() }

func (s *socket) Read() ([]byte, error) {
	s.release()
	if s.final != nil {
		return nil, s.final
	}
	for {
		_, r, err := s.ws.NextReader()
		if err != nil {
			return nil, s.finish(err)
		}
		if s.deaf {
			continue // the next NextReader throws the message away
		}
		frame, err := s.collect(r)
		switch {
		case errors.Is(err, errTooBig):
			s.deaf = true
			s.Close(protocol.CloseTooBig, err.Error())
		case err != nil:
			return nil, s.finish(err)
		default:
			return frame, nil
		}
	}
}

var errTooBig = errors.New("message too big")

// frames are buffers of messages on their way through Read. An idle connection
// holds none.
var frames = sync.Pool{New: func() any { b := make([]byte, 0, 2<<10); return &b }}

// maxPooled keeps the buffer of a rare large message from staying for ever.
const maxPooled = 2 * protocol.MaxBatchBytes

func (s *socket) collect(r io.Reader) ([]byte, error) {
	limit := s.limit.Load()
	s.frame = frames.Get().(*[]byte)
	b := (*s.frame)[:0]
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		*s.frame = b
		switch {
		case int64(len(b)) > limit:
			return nil, fmt.Errorf("%w: more than %d bytes", errTooBig, limit)
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return nil, err
		}
	}
}

func (s *socket) release() {
	if s.frame != nil && cap(*s.frame) <= maxPooled {
		frames.Put(s.frame)
	}
	s.frame = nil
}

// finish ends reading for good and says how the connection ended.
func (s *socket) finish(err error) *CloseError {
	s.release()
	end := s.explain(err)
	s.mu.Lock()
	if s.closed != nil {
		answered := !end.Local && end.Code != Lost
		closed := *s.closed // writers may be looking at it
		closed.Answered = closed.Local && answered
		s.closed = &closed
		end = &closed
	} else {
		s.closed = end
	}
	if s.linger != nil {
		s.linger.Stop()
	}
	s.pings = nil
	s.mu.Unlock()
	s.ws.Close()
	s.final = end
	return end
}

// explain makes a CloseError of what ended reading.
func (s *socket) explain(err error) *CloseError {
	if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
		if closed.Code == Lost { // gorilla's word for an end of file inside a frame
			return &CloseError{Code: Lost, Err: err}
		}
		return &CloseError{Code: closed.Code, Reason: closed.Text}
	}
	if timedOut(err) {
		end := &CloseError{Code: protocol.CloseSilent, Reason: fmt.Sprintf("nothing heard for %s", s.wire.silence), Local: true, Err: err}
		// Into the void, most likely; but a peer that only stopped talking gets to know.
		s.ws.WriteControl(websocket.CloseMessage, closeFrame(end.Code, end.Reason), time.Now().Add(lingerFor))
		return end
	}
	if strings.HasPrefix(err.Error(), "websocket: ") {
		// What gorilla finds wrong with the peer's framing; it has sent the close frame.
		return &CloseError{Code: protocol.CloseProtocol, Reason: err.Error(), Local: true, Err: err}
	}
	return &CloseError{Code: Lost, Err: err}
}

// timedOut: gorilla hides the cause of a network error, but not this.
func timedOut(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

func (s *socket) Write(frame []byte) error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	err := s.ws.WriteMessage(websocket.TextMessage, frame)
	if err == nil {
		return nil
	}
	if timedOut(err) {
		err = fmt.Errorf("%w: %w", os.ErrDeadlineExceeded, err)
	}
	if s.mark(&CloseError{Code: Lost, Local: true, Err: err}) {
		s.ws.Close()
	}
	return fmt.Errorf("writing a message: %w", err)
}

func (s *socket) Ping(done func()) error {
	s.mu.Lock()
	s.pinged++
	number := s.pinged
	if done != nil {
		s.pings = append(s.pings, ping{number, done})
	}
	s.mu.Unlock()
	payload := binary.BigEndian.AppendUint64(nil, number)
	if err := s.ws.WriteControl(websocket.PingMessage, payload, time.Now().Add(s.timeout)); err != nil {
		return fmt.Errorf("pinging: %w", err)
	}
	return nil
}

// ponged tells those who wait. A pong answers all pings up to its own: a peer may
// answer only the latest (RFC 6455 5.5.3). Pongs that we did not ask for are ignored.
func (s *socket) ponged(payload string) error {
	if len(payload) != 8 {
		return nil
	}
	number := binary.BigEndian.Uint64([]byte(payload))
	for _, done := range takeAnswered(&s.mu, &s.pings, number) {
		done()
	}
	return nil
}

// takeAnswered removes the pings up to number and returns what to call.
func takeAnswered(mu *sync.Mutex, pings *[]ping, number uint64) (done []func()) {
	mu.Lock()
	defer mu.Unlock()
	*pings = slices.DeleteFunc(*pings, func(p ping) bool {
		if p.number <= number {
			done = append(done, p.done)
		}
		return p.number <= number
	})
	if len(*pings) == 0 {
		*pings = nil
	}
	return done
}

func (s *socket) Close(code int, reason string) error {
	if !s.mark(&CloseError{Code: code, Reason: reason, Local: true}) {
		return nil
	}
	if code == Lost {
		return s.ws.Close()
	}
	err := s.ws.WriteControl(websocket.CloseMessage, closeFrame(code, reason), time.Now().Add(lingerFor))
	if err != nil {
		s.ws.Close()
		return fmt.Errorf("sending a close frame: %w", err)
	}
	// The reader, if there is one, goes on until the peer has closed as well.
	s.mu.Lock()
	s.linger = time.AfterFunc(lingerFor, func() { s.ws.Close() })
	s.mu.Unlock()
	return nil
}

// mark notes how this end closed the connection; false when it is closed already.
func (s *socket) mark(end *CloseError) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		return false
	}
	s.closed = end
	return true
}

// closeFrame is the payload of a close frame, which holds at most 125 bytes.
func closeFrame(code int, reason string) []byte {
	const most = 123
	if len(reason) > most {
		reason = reason[:most]
		for !utf8.ValidString(reason) {
			reason = reason[:len(reason)-1]
		}
	}
	return websocket.FormatCloseMessage(code, reason)
}
