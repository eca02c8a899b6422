// Package link is one connection that carries protocol messages: a WebSocket
// (Dial, Accept) or an in-memory pair (Pipe) for tests and the built-in satellite.
//
// It promises whole messages in order, that no call blocks for longer than its
// deadline, that a peer which has fallen silent is noticed (spec M21), and that
// both ends learn why a connection ended. What the messages say is not its
// business; the caller bounds how much it lets wait.
package link

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/perigee-monitoring/perigee/protocol"
)

// Conn carries whole messages. One goroutine reads; any may write, ping or close.
type Conn interface {
	// Read returns the next message. The slice is valid until the next Read. An end
	// of the connection is an *CloseError, and stays so. Pings are answered and pongs
	// taken in by Read, so somebody must always be reading.
	Read() ([]byte, error)
	// Write sends one message; it fails when the peer takes nothing for the write
	// timeout, and the connection is then closed.
	Write(frame []byte) error
	// Ping asks the peer for a pong. done, if not nil, is called (from the reading
	// goroutine) when the pong arrives: everything written before has then been received.
	Ping(done func()) error
	// Close sends a close frame with the code and reason and ends the connection. The
	// first close wins. What the peer sent before it learned of it is still read: Read
	// goes on until the peer has closed as well, for a second at most. Lost as the code
	// drops the connection at once and without a frame.
	Close(code int, reason string) error
	// SetReadLimit bounds the next messages; beyond it the connection ends with
	// protocol.CloseTooBig. Any goroutine may call it.
	SetReadLimit(bytes int64)
	// LastHeard is when anything, pongs included, last arrived.
	LastHeard() time.Time
	RemoteAddr() string
}

// Lost is the code of a connection that ended without a close frame.
const Lost = 1006

// Options of a connection; zero fields take the default.
type Options struct {
	// Silence is how long nothing may arrive, pongs included, before the connection
	// ends with protocol.CloseSilent. Default 60 s; negative is no limit. Whoever wants
	// to keep an idle connection pings more often than the other end's Silence.
	Silence time.Duration
	// WriteTimeout is how long a Write may make no headway. Default 10 s.
	WriteTimeout time.Duration
	// ReadLimit is the first SetReadLimit. Default protocol.MaxFrame.
	ReadLimit int64

	// HandshakeTimeout bounds Dial from the first packet to the upgrade, TLS included.
	// Default 10 s.
	HandshakeTimeout time.Duration
	// TLS is for Dial of a wss URL; nil is Go's default.
	TLS *tls.Config
	// Proxy finds the HTTP proxy for Dial; nil is none.
	Proxy func(*http.Request) (*url.URL, error)
}

const (
	defaultSilence   = 60 * time.Second
	defaultWrite     = 10 * time.Second
	defaultHandshake = 10 * time.Second
	// lingerFor is how long a closed connection is still read from. What is on its way
	// arrives, and the close frame is not lost to a reset: closing a socket with unread
	// data sends one.
	lingerFor = time.Second
)

func (o Options) withDefaults() Options {
	o.Silence = max(0, cmp.Or(o.Silence, defaultSilence))
	o.WriteTimeout = cmp.Or(o.WriteTimeout, defaultWrite)
	o.HandshakeTimeout = cmp.Or(o.HandshakeTimeout, defaultHandshake)
	o.ReadLimit = cmp.Or(o.ReadLimit, protocol.MaxFrame)
	return o
}

// CloseError says how a connection ended: the code and reason of the close frame
// that came or was sent first, or Lost and the error when there was none.
type CloseError struct {
	Code   int
	Reason string
	// Local: this end closed it. Answered: the other end said that it had seen that, and
	// so was alive.
	Local    bool
	Answered bool
	Err      error
}

func (e *CloseError) Error() string {
	by := "by the peer"
	if e.Local {
		by = "here"
	}
	switch {
	case e.Err != nil && e.Code == Lost:
		return "connection lost: " + e.Err.Error()
	case e.Reason == "":
		return fmt.Sprintf("connection closed %s (code %d)", by, e.Code)
	}
	return fmt.Sprintf("connection closed %s (code %d): %s", by, e.Code, e.Reason)
}

func (e *CloseError) Unwrap() error { return e.Err }

// HandshakeError is a core's answer to Dial that was not an upgrade.
type HandshakeError struct {
	Status int
	// RetryAfter is the core's wish, 0 for none.
	RetryAfter time.Duration
	// Body is the beginning of what it said.
	Body string
}

func (e *HandshakeError) Error() string {
	text := fmt.Sprintf("the core answered %d %s instead of opening a WebSocket", e.Status, http.StatusText(e.Status))
	if e.Body != "" {
		text += ": " + e.Body
	}
	return text
}
