// Package link is one connection that carries protocol messages: a WebSocket
// (Dial, Accept) or an in-memory pair (Pipe) for tests and the built-in satellite.
package link

import "time"

// Conn carries whole messages. One goroutine reads; any may write, ping or close.
type Conn interface {
	// Read returns the next message. The slice is valid until the next Read. An end
	// of the connection is an *CloseError.
	Read() ([]byte, error)
	// Write sends one message; it fails after the write deadline, and the connection
	// is then closed.
	Write(frame []byte) error
	// Ping asks the peer for a pong. done, if not nil, is called (from the reading
	// goroutine) when the pong arrives: everything written before has then been received.
	Ping(done func()) error
	// Close sends a close frame with the code and reason and ends the connection. The
	// first close wins.
	Close(code int, reason string) error
	// SetReadLimit bounds the next messages; beyond it the connection ends with
	// protocol.CloseTooBig.
	SetReadLimit(bytes int64)
	// LastHeard is when anything, pongs included, last arrived.
	LastHeard() time.Time
	RemoteAddr() string
}

// CloseError says how a connection ended: the code and reason of the peer's close
// frame, or 1006 and the error when there was none.
type CloseError struct {
	Code   int
	Reason string
	Err    error
}

func (e *CloseError) Error() string {
	if e.Err != nil {
		return "connection lost: " + e.Err.Error()
	}
	return "closed by the peer: " + e.Reason
}

func (e *CloseError) Unwrap() error { return e.Err }
