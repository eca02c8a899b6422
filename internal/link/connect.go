package link

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Buffers of both ends. A core has thousands of connections, so its buffers are
// small or shared; a satellite has one, and a larger buffer sends its batches in
// fewer frames.
const (
	acceptReadBuffer  = 512
	acceptWriteBuffer = 4 << 10
	dialReadBuffer    = 8 << 10
	dialWriteBuffer   = 32 << 10
)

var acceptBuffers = &sync.Pool{}

// Accept upgrades a request to a connection. When it fails the response has been
// written. The caller should leave its handler and read in a goroutine of its
// own: the handler's holds the request for as long as it runs.
func Accept(w http.ResponseWriter, r *http.Request, o Options) (Conn, error) {
	o = o.withDefaults()
	upgrader := websocket.Upgrader{
		HandshakeTimeout: o.HandshakeTimeout,
		ReadBufferSize:   acceptReadBuffer,
		WriteBufferSize:  acceptWriteBuffer,
		WriteBufferPool:  acceptBuffers,
		// Credentials travel in the first message, so there is nothing ambient that a
		// foreign page could ride on, and some clients name an Origin.
		CheckOrigin: func(*http.Request) bool { return true },
	}
	h := &hijacker{ResponseWriter: w}
	ws, err := upgrader.Upgrade(h, r, nil)
	if err != nil {
		return nil, fmt.Errorf("upgrading to a WebSocket: %w", err)
	}
	return newSocket(ws, h.wire, o), nil
}

// hijacker puts a wire below the connection that is taken over.
type hijacker struct {
	http.ResponseWriter
	wire *wire
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.wire = &wire{Conn: c}
	return h.wire, rw, nil
}

// Dial connects to a core; url is what URL gave. The context bounds the
// handshake only. Errors: *HandshakeError when something answered that is no
// core, or one that does not want us now.
func Dial(ctx context.Context, url string, o Options) (Conn, error) {
	o = o.withDefaults()
	var w *wire
	dialer := websocket.Dialer{
		NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			w = &wire{Conn: c}
			return w, nil
		},
		TLSClientConfig:  o.TLS,
		HandshakeTimeout: o.HandshakeTimeout,
		Proxy:            o.Proxy,
		ReadBufferSize:   dialReadBuffer,
		WriteBufferSize:  dialWriteBuffer,
	}
	ws, resp, err := dialer.DialContext(ctx, url, nil)
	if err != nil {
		if resp != nil && errors.Is(err, websocket.ErrBadHandshake) {
			err = handshakeError(resp)
		}
		return nil, fmt.Errorf("connecting to %s: %w", url, err)
	}
	return newSocket(ws, w, o), nil
}

func handshakeError(resp *http.Response) *HandshakeError {
	e := &HandshakeError{Status: resp.StatusCode}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.RetryAfter = time.Duration(min(seconds, 3600)) * time.Second
	}
	const most = 200
	if body, err := io.ReadAll(io.LimitReader(resp.Body, most)); err == nil {
		e.Body = strings.ToValidUTF8(strings.Join(strings.Fields(string(body)), " "), "")
	}
	return e
}
