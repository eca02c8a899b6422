package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// balancer is the load balancer in front of several cores: it takes connections in
// turn to the cores that are ready.
type balancer struct {
	addr     string
	listener net.Listener
	backends []string

	mu    sync.Mutex
	ready map[string]bool // guarded by mu
	turn  int             // guarded by mu
	open  map[net.Conn]struct{}
	seen  *recording // what servers say, where that is kept
	done  chan struct{}
	work  sync.WaitGroup
}

func newBalancer(t *testing.T, backends ...string) *balancer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{
		addr: ln.Addr().String(), listener: ln, backends: backends,
		ready: map[string]bool{}, open: map[net.Conn]struct{}{}, done: make(chan struct{}),
	}
	b.work.Go(b.accept)
	b.work.Go(b.watch)
	t.Cleanup(func() {
		close(b.done)
		ln.Close()
		b.cut()
		b.work.Wait()
	})
	return b
}

// watch asks the cores whether they are ready, as balancers do.
func (b *balancer) watch() {
	asking := &http.Client{Timeout: time.Second}
	defer asking.CloseIdleConnections()
	for {
		for _, backend := range b.backends {
			resp, err := asking.Get("http://" + backend + "/readyz")
			ready := err == nil && resp.StatusCode == http.StatusOK
			if err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			b.mu.Lock()
			b.ready[backend] = ready
			b.mu.Unlock()
		}
		select {
		case <-b.done:
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (b *balancer) accept() {
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.work.Go(func() { b.carry(conn) })
	}
}

// next is the backend whose turn it is; "" while none is ready.
func (b *balancer) next() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range b.backends {
		b.turn++
		if backend := b.backends[b.turn%len(b.backends)]; b.ready[backend] {
			return backend
		}
	}
	return ""
}

func (b *balancer) carry(client net.Conn) {
	defer client.Close()
	backend := b.next()
	if backend == "" {
		return
	}
	server, err := net.DialTimeout("tcp", backend, time.Second)
	if err != nil {
		return
	}
	b.pipe(client, server)
}

// pipe carries bytes both ways until either end closes.
func (b *balancer) pipe(client, server net.Conn) {
	defer server.Close()
	b.mu.Lock()
	b.open[client], b.open[server] = struct{}{}, struct{}{}
	b.mu.Unlock()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			var from io.Reader = way[1]
			switch {
			case b.seen == nil:
			case way[1] == server:
				from = io.TeeReader(server, b.seen)
			default:
				said := b.seen.said()
				defer said.Close()
				from = io.TeeReader(client, said)
			}
			_, _ = io.Copy(way[0], from)
			way[0].Close()
			way[1].Close()
		})
	}
	both.Wait()
	b.mu.Lock()
	delete(b.open, client)
	delete(b.open, server)
	b.mu.Unlock()
}

// cut ends every connection that is open.
func (b *balancer) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for conn := range b.open {
		conn.Close()
	}
}

// wire is a cable to one server, which can be cut and mended.
type wire struct {
	*balancer
	network, target string
	severed         bool // guarded by balancer.mu
}

// newWire lays a cable from a port of this machine to the target.
func newWire(t *testing.T, network, target string) *wire {
	t.Helper()
	return layWire(t, network, target, nil)
}

func layWire(t *testing.T, network, target string, seen *recording) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{
		balancer: &balancer{addr: ln.Addr().String(), listener: ln, open: map[net.Conn]struct{}{}, seen: seen},
		network:  network, target: target,
	}
	w.work.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			w.work.Go(func() { w.carry(conn) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		w.cut()
		w.work.Wait()
		if seen != nil {
			seen.readers.Wait()
		}
	})
	return w
}

func (w *wire) carry(client net.Conn) {
	defer client.Close()
	w.mu.Lock()
	severed := w.severed
	w.mu.Unlock()
	if severed {
		return
	}
	server, err := net.DialTimeout(w.network, w.target, time.Second)
	if err != nil {
		return
	}
	w.pipe(client, server)
}

// sever cuts the cable until mend.
func (w *wire) sever(cut bool) {
	w.mu.Lock()
	w.severed = cut
	w.mu.Unlock()
	if cut {
		w.cut()
	}
}

// recording keeps what both ends say: of the client the messages, whose frames the
// protocol of the socket masks.
type recording struct {
	mu      sync.Mutex
	text    bytes.Buffer // guarded by mu
	readers sync.WaitGroup
}

// said is where one client's bytes go.
func (r *recording) said() io.WriteCloser {
	from, to := io.Pipe()
	r.readers.Go(func() {
		in := bufio.NewReader(from)
		err := r.unmask(in)
		fmt.Fprintf(r, "\n[the client's side ended: %v]\n", err)
		_, _ = io.Copy(io.Discard, in) // whoever writes must not wait
	})
	return to
}

// unmask reads the upgrade and then frame after frame (RFC 6455, section 5.2).
func (r *recording) unmask(in *bufio.Reader) error {
	request, err := http.ReadRequest(in)
	if err != nil {
		return err
	}
	if err := request.Write(r); err != nil {
		return err
	}
	for {
		var head [2]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return err
		}
		size := uint64(head[1] & 0x7f)
		var long [8]byte
		switch size {
		case 126:
			_, err = io.ReadFull(in, long[6:])
			size = binary.BigEndian.Uint64(long[:])
		case 127:
			_, err = io.ReadFull(in, long[:])
			size = binary.BigEndian.Uint64(long[:])
		}
		if err != nil {
			return err
		}
		if head[1]&0x80 == 0 || head[0]&0x40 != 0 || size > 16<<20 {
			return fmt.Errorf("a frame that is not masked, is compressed or has %d bytes", size)
		}
		frame := make([]byte, 4+size)
		if _, err := io.ReadFull(in, frame); err != nil {
			return err
		}
		mask, payload := frame[:4], frame[4:]
		for i := range payload {
			payload[i] ^= mask[i%4]
		}
		_, _ = r.Write(append(payload, '\n'))
	}
}

func (r *recording) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

// newRecorder lays a cable to the target that keeps what both ends say.
func newRecorder(t *testing.T, target string) *wire {
	t.Helper()
	return layWire(t, "tcp", target, &recording{})
}

func (w *wire) text() string {
	w.seen.mu.Lock()
	defer w.seen.mu.Unlock()
	return w.seen.text.String()
}
