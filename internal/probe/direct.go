package probe

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"time"
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
	a := &answer{conn: conn, reader: readers.Get().(*bufio.Reader)}
	a.stop = context.AfterFunc(r.Context(), func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
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
	stop   func() bool
	reader *bufio.Reader // nil when it is closed
	body   io.Reader
}

// to sends the request and reads the header of the answer.
func (a *answer) to(r *http.Request) (*http.Response, error) {
	clock := phasesOf(r.Context())
	compressed := compressible(r)
	if err := a.send(r, compressed); err != nil {
		return nil, err
	}
	clock.begin(&clock.wait, waiting)
	from := &source{conn: attentive{Conn: a.conn}, left: maxHeader}
	a.reader.Reset(from)
	if _, err := a.reader.Peek(1); err != nil {
		return nil, err
	}
	clock.end(&clock.wait)
	clock.at(reading)
	for {
		response, err := http.ReadResponse(a.reader, r)
		switch {
		case err != nil && from.left <= 0:
			return nil, fmt.Errorf("server response headers exceeded %d bytes; aborted", maxHeader)
		case err != nil:
			return nil, cutOff(err, from.conn.failure())
		case response.StatusCode/100 == 1 && response.StatusCode != http.StatusSwitchingProtocols:
			clock.at(waiting)
			continue // the answer is to come
		}
		from.left = math.MaxInt64 // whoever reads the body counts
		if compressed && strings.EqualFold(response.Header.Get("Content-Encoding"), "gzip") {
			response.Header.Del("Content-Encoding")
			response.Header.Del("Content-Length")
			response.ContentLength, response.Uncompressed = -1, true
			response.Body = &gunzipped{from: response.Body}
		}
		return response, nil
	}
}

// cutOff is what is wrong with an answer whose header could not be read: a line that was cut
// off was read as if it were whole. failed is why reading from the connection did not go on;
// nil is that it would have.
func cutOff(err, failed error) error {
	_, inHeader := errors.AsType[textproto.ProtocolError](err)
	switch {
	case failed == nil, errors.Is(failed, net.ErrClosed): // by us, for another reason
		return err
	case failed != io.EOF:
		return failed
	case inHeader:
		return io.ErrUnexpectedEOF
	}
	return err // of something else than HTTP, what it said tells more
}

// source is a connection as an answer is read from it.
type source struct {
	conn attentive
	left int64 // how much may be read, in bytes
}

func (s *source) Read(text []byte) (int, error) {
	if s.left <= 0 {
		return 0, io.EOF
	}
	n, err := s.conn.Read(text[:min(int64(len(text)), s.left)])
	s.left -= int64(n)
	return n, err
}

// compressible reports whether the request may also take a compressed answer: whoever asks
// has no say of their own about it.
func compressible(r *http.Request) bool {
	return r.Method != http.MethodHead && r.Header.Get("Accept-Encoding") == "" && r.Header.Get("Range") == ""
}

var gzipped = []string{"gzip"}

// send writes the request, in one piece.
func (a *answer) send(r *http.Request, compressed bool) error {
	if compressed { // which the request does not say to anybody else
		r.Header["Accept-Encoding"] = gzipped
		defer delete(r.Header, "Accept-Encoding")
	}
	text := bodies.Get().(*bytes.Buffer)
	defer keepBody(text)
	if err := r.Write(text); err != nil {
		return err
	}
	_, err := a.conn.Write(text.Bytes())
	return err
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
