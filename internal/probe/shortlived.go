package probe

import (
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
)

// shortLived is a Transport that takes its connections with it. One of net/http closes those
// that are idle, and counts one of HTTP/2 as busy whose request was given up a moment ago:
// against a server that does not answer each run would leave one behind.
type shortLived struct {
	*http.Transport

	mu     sync.Mutex
	made   []net.Conn
	closed bool
}

// newShortLived gives the Transport connections that end with it.
func newShortLived(t *http.Transport) *shortLived {
	s := &shortLived{Transport: t}
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed {
			conn.Close()
			return nil, net.ErrClosed
		}
		s.made = append(s.made, conn)
		return &attentive{Conn: conn}, nil
	}
	return s
}

// RoundTrip says of an answer that broke off in its header why it did. It takes the connection
// away from one that changes the protocol: nobody here speaks another, and net/http would let
// it be read for longer than the request may take.
func (s *shortLived) RoundTrip(r *http.Request) (*http.Response, error) {
	var used atomic.Pointer[attentive]
	response, err := s.Transport.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn: func(got httptrace.GotConnInfo) { used.Store(under(got.Conn)) },
	})))
	if err != nil {
		if conn := used.Load(); conn != nil {
			err = cutOff(err, conn.failure())
		}
		return nil, err
	}
	if response.StatusCode == http.StatusSwitchingProtocols {
		response.Body.Close()
		response.Body = http.NoBody
	}
	return response, nil
}

// close ends what is idle politely, and then the rest.
func (s *shortLived) close() {
	s.CloseIdleConnections()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, conn := range s.made {
		conn.Close()
	}
}
