package probe

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"
)

// direct carries plain requests: without TLS or a proxy, and with a small body or none. Each
// has a connection of its own, on which whoever asks does everything. The Transport of
// net/http gives each connection three goroutines and two buffers, so that it can be kept for
// others; for a check, which keeps none, that is a good part of what it costs, and waiting
// for their turns is in what it measures. What is written, and how answers are read, is
// net/http's here too. The context of a request has phases to clock.
type direct struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// maxSent is the largest body that a direct request has. No server can make us wait for
// room for as much as that, so it may be written before anything is read.
const maxSent = 16 << 10

// carries reports whether the request is a plain one. Whatever is unusual about it is left
// to the Transport, and whatever cannot be sent, so that the words for it are the same.
func (d direct) carries(r *http.Request) bool {
	if r.URL.Scheme != "http" || r.URL.Hostname() == "" || strings.ContainsFunc(r.URL.Host, func(c rune) bool { return c >= utf8.RuneSelf }) ||
		r.ContentLength < 0 || r.ContentLength > maxSent || r.Header.Get("Expect") != "" || r.Header.Get("Upgrade") != "" {
		return false
	}
	for name, values := range r.Header {
		if !httpguts.ValidHeaderFieldName(name) {
			return false
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return false
			}
		}
	}
	return true
}

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	conn, err := d.dial(r.Context(), "tcp", net.JoinHostPort(r.URL.Hostname(), cmp.Or(r.URL.Port(), "80")))
	if err != nil {
		return nil, err
	}
	a := &answer{conn: conn, stop: during(r.Context(), conn), reader: readers.Get().(*bufio.Reader)}
	response, err := a.to(r)
	if err != nil {
		_ = a.Close() // the error that matters is here
		return nil, err
	}
	a.body, response.Body = response.Body, a
	return response, nil
}

var readers = sync.Pool{New: func() any { return bufio.NewReader(nil) }}

// answer is the body of an answer. Closing it closes the connection.
type answer struct {
	conn   net.Conn
	stop   func()
	reader *bufio.Reader // nil when it is closed
	body   io.Reader
}

// to sends the request and reads the header of the answer.
func (a *answer) to(r *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(r.Context())
	sent, compressed := compressible(r)
	var text bytes.Buffer
	text.Grow(512)
	if err := sent.Write(&text); err != nil {
		return nil, err
	}
	if _, err := a.conn.Write(text.Bytes()); err != nil {
		return nil, err
	}
	trace.WroteRequest(httptrace.WroteRequestInfo{})
	limited := &io.LimitedReader{R: a.conn, N: maxHeader}
	a.reader.Reset(limited)
	if _, err := a.reader.Peek(1); err != nil {
		return nil, err
	}
	trace.GotFirstResponseByte()
	for {
		response, err := http.ReadResponse(a.reader, r)
		switch {
		case err != nil && limited.N <= 0:
			return nil, fmt.Errorf("server response headers exceeded %d bytes; aborted", maxHeader)
		case err != nil:
			return nil, err
		case response.StatusCode < 200 && response.StatusCode != http.StatusSwitchingProtocols:
			continue // the answer is to come
		}
		limited.N = math.MaxInt64 // whoever reads the body counts
		if compressed && strings.EqualFold(response.Header.Get("Content-Encoding"), "gzip") {
			response.Header.Del("Content-Encoding")
			response.Header.Del("Content-Length")
			response.ContentLength, response.Uncompressed = -1, true
			response.Body = &gunzipped{from: response.Body}
		}
		return response, nil
	}
}

// compressible is the request that also takes a compressed answer, where whoever asks has
// no say of their own about it.
func compressible(r *http.Request) (sent *http.Request, compressed bool) {
	if r.Method == http.MethodHead || r.Header.Get("Accept-Encoding") != "" || r.Header.Get("Range") != "" {
		return r, false
	}
	copied := *r
	copied.Header = maps.Clone(r.Header)
	copied.Header["Accept-Encoding"] = []string{"gzip"}
	return &copied, true
}

func (a *answer) Read(text []byte) (int, error) {
	if a.reader == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	return a.body.Read(text)
}

func (a *answer) Close() error {
	if a.reader == nil {
		return nil
	}
	a.stop()
	a.reader.Reset(nil)
	readers.Put(a.reader)
	a.reader = nil
	return a.conn.Close()
}

// gunzipped unpacks when it is first read: a body that cannot be unpacked fails where it is read.
type gunzipped struct {
	from io.ReadCloser
	to   *gzip.Reader
}

func (g *gunzipped) Read(text []byte) (n int, err error) {
	if g.to == nil {
		if g.to, err = gzip.NewReader(g.from); err != nil {
			return 0, err
		}
	}
	return g.to.Read(text)
}

func (g *gunzipped) Close() error { return g.from.Close() }
