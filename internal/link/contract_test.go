package link_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

// pair makes two connected ends.
type pair func(t *testing.T, agent, core link.Options) (link.Conn, link.Conn)

func TestContract(t *testing.T) {
	t.Parallel()
	for name, connect := range map[string]pair{"websocket": webSocketPair, "pipe": pipePair} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			contract(t, connect)
		})
	}
}

func pipePair(t *testing.T, agent, core link.Options) (link.Conn, link.Conn) {
	a, c := link.PipeWith(agent, core)
	t.Cleanup(func() { a.Close(link.Lost, ""); c.Close(link.Lost, "") })
	return a, c
}

func webSocketPair(t *testing.T, agent, core link.Options) (link.Conn, link.Conn) {
	t.Helper()
	server, accepted := listen(t, core)
	return dial(t, server.URL, agent), <-accepted
}

// listen serves upgrades and hands over what it accepted.
func listen(t *testing.T, o link.Options) (*httptest.Server, <-chan link.Conn) {
	t.Helper()
	accepted := make(chan link.Conn, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := link.Accept(w, r, o)
		if err != nil {
			t.Errorf("accepting: %v", err)
			return
		}
		t.Cleanup(func() { c.Close(link.Lost, "") })
		accepted <- c
	}))
	t.Cleanup(server.Close)
	return server, accepted
}

func dial(t *testing.T, coreURL string, o link.Options) link.Conn {
	t.Helper()
	url, err := link.URL(coreURL)
	if err != nil {
		t.Fatal(err)
	}
	c, err := link.Dial(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(link.Lost, "") })
	return c
}

// reader reads until the end and hands over what it read.
type reader struct {
	messages chan string
	end      chan *link.CloseError
}

func read(t *testing.T, c link.Conn) reader {
	r := reader{messages: make(chan string, 1024), end: make(chan *link.CloseError, 1)}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			frame, err := c.Read()
			if err != nil {
				closed, ok := errors.AsType[*link.CloseError](err)
				if !ok {
					t.Errorf("Read ended with %T, not a CloseError: %v", err, err)
				}
				r.end <- closed
				return
			}
			r.messages <- string(frame)
		}
	})
	t.Cleanup(func() { c.Close(link.Lost, ""); done.Wait() })
	return r
}

func within[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(2 * time.Minute):
		t.Fatalf("%s did not happen", what)
		panic("unreachable")
	}
}

func wantEnd(t *testing.T, r reader, want link.CloseError) {
	t.Helper()
	got := within(t, r.end, "the end of the connection")
	if diff := cmp.Diff(&want, got, cmpopts.IgnoreFields(link.CloseError{}, "Err")); diff != "" {
		t.Errorf("end of the connection (-want +got):\n%s", diff)
	}
}

func contract(t *testing.T, connect pair) {
	t.Run("messages arrive whole and in order, both ways", func(t *testing.T) {
		t.Parallel()
		agent, core := connect(t, link.Options{}, link.Options{})
		atCore, atAgent := read(t, core), read(t, agent)
		for i := range 100 {
			for _, c := range []link.Conn{agent, core} {
				if err := c.Write(fmt.Appendf(nil, `{"n":%d}`, i)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i := range 100 {
			want := fmt.Sprintf(`{"n":%d}`, i)
			for _, r := range []reader{atCore, atAgent} {
				if got := within(t, r.messages, "message"); got != want {
					t.Fatalf("message %d is %q", i, got)
				}
			}
		}
	})

	t.Run("the writer may use its buffer again", func(t *testing.T) {
		t.Parallel()
		agent, core := connect(t, link.Options{}, link.Options{})
		frame := []byte("first")
		if err := agent.Write(frame); err != nil {
			t.Fatal(err)
		}
		copy(frame, "xxxxx")
		if got := within(t, read(t, core).messages, "message"); got != "first" {
			t.Errorf("got %q", got)
		}
	})

	t.Run("many may write at once", func(t *testing.T) {
		t.Parallel()
		agent, core := connect(t, link.Options{}, link.Options{})
		atAgent := read(t, agent)
		var writers sync.WaitGroup
		for range 8 {
			writers.Go(func() {
				for range 50 {
					if err := core.Write([]byte(strings.Repeat("x", 3000))); err != nil {
						t.Error(err)
					}
					if err := core.Ping(nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writers.Wait()
		for range 8 * 50 {
			if got := within(t, atAgent.messages, "message"); len(got) != 3000 {
				t.Fatalf("a message of %d bytes", len(got))
			}
		}
	})

	t.Run("the largest message passes, one byte more closes with 1009", func(t *testing.T) {
		t.Parallel()
		agent, core := connect(t, link.Options{}, link.Options{})
		atCore, atAgent := read(t, core), read(t, agent)
		if err := agent.Write(bytes.Repeat([]byte{'x'}, protocol.MaxFrame)); err != nil {
			t.Fatal(err)
		}
		if got := within(t, atCore.messages, "the large message"); len(got) != protocol.MaxFrame {
			t.Fatalf("%d bytes arrived", len(got))
		}
		agent.Write(bytes.Repeat([]byte{'x'}, protocol.MaxFrame+1)) // may fail: the peer closes meanwhile
		reason := fmt.Sprintf("message too big: more than %d bytes", protocol.MaxFrame)
		wantEnd(t, atCore, link.CloseError{Code: protocol.CloseTooBig, Reason: reason, Local: true, Answered: true})
		wantEnd(t, atAgent, link.CloseError{Code: protocol.CloseTooBig, Reason: reason})
	})

	t.Run("a read limit can be raised while somebody reads", func(t *testing.T) {
		t.Parallel()
		agent, core := connect(t, link.Options{}, link.Options{ReadLimit: 10})
		atCore, atAgent := read(t, core), read(t, agent)
		if err := agent.Write([]byte("0123456789")); err != nil {
			t.Fatal(err)
		}
		within(t, atCore.messages, "message at the limit")
		core.SetReadLimit(11)
		if err := agent.Write([]byte("0123456789a")); err != nil {
			t.Fatal(err)
		}
		within(t, atCore.messages, "message at the raised limit")
		core.SetReadLimit(5)
		if err := agent.Write([]byte("012345")); err != nil {
			t.Fatal(err)
		}
		wantEnd(t, atAgent, link.CloseError{Code: protocol.CloseTooBig, Reason: "message too big: more than 5 bytes"})
	})

	t.Run("a pong says that everything before was received", func(t *testing.T) {
		t.Parallel()
		agent, core := connect(t, link.Options{}, link.Options{})
		atAgent := read(t, agent)
		read(t, core)
		if err := core.Write([]byte("before")); err != nil {
			t.Fatal(err)
		}
		ponged := make(chan int, 2)
		for i := range 2 {
			if err := core.Ping(func() { ponged <- i }); err != nil {
				t.Fatal(err)
			}
		}
		if first, second := within(t, ponged, "pong"), within(t, ponged, "pong"); first != 0 || second != 1 {
			t.Errorf("pongs came as %d, %d", first, second)
		}
		within(t, atAgent.messages, "message")
	})

	t.Run("both ends learn code and reason, and the first close wins", func(t *testing.T) {
		t.Parallel()
		agent, core := connect(t, link.Options{}, link.Options{})
		atCore, atAgent := read(t, core), read(t, agent)
		if err := core.Write([]byte("last")); err != nil {
			t.Fatal(err)
		}
		if err := core.Close(protocol.CloseSuperseded, "a newer session took over"); err != nil {
			t.Fatal(err)
		}
		if err := core.Close(protocol.CloseRemoved, "too late"); err != nil {
			t.Fatal(err)
		}
		if got := within(t, atAgent.messages, "the message before the close"); got != "last" {
			t.Errorf("got %q", got)
		}
		wantEnd(t, atAgent, link.CloseError{Code: protocol.CloseSuperseded, Reason: "a newer session took over"})
		wantEnd(t, atCore, link.CloseError{Code: protocol.CloseSuperseded, Reason: "a newer session took over", Local: true, Answered: true})
		if err := core.Write([]byte("x")); err == nil {
			t.Error("writing to a closed connection succeeded")
		}
		if err := agent.Write([]byte("x")); err == nil {
			t.Error("writing to a connection that the peer closed succeeded")
		}
		for range 2 {
			if _, err := agent.Read(); err == nil {
				t.Error("reading after the end succeeded")
			}
		}
	})

	t.Run("what the peer sent before it learned of the close is read", func(t *testing.T) {
		t.Parallel()
		agent, core := connect(t, link.Options{}, link.Options{})
		atCore := read(t, core)
		if err := core.Close(protocol.CloseGoingAway, "stopping"); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"on", "its", "way"} {
			if err := agent.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		atAgent := read(t, agent)
		for _, want := range []string{"on", "its", "way"} {
			if got := within(t, atCore.messages, "message"); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		wantEnd(t, atAgent, link.CloseError{Code: protocol.CloseGoingAway, Reason: "stopping"})
		wantEnd(t, atCore, link.CloseError{Code: protocol.CloseGoingAway, Reason: "stopping", Local: true, Answered: true})
	})

	t.Run("a peer that does not close in turn is not waited for", func(t *testing.T) {
		t.Parallel()
		agent, core := connect(t, link.Options{}, link.Options{})
		_ = agent // never reads
		atCore := read(t, core)
		if err := core.Close(protocol.CloseGoingAway, "stopping"); err != nil {
			t.Fatal(err)
		}
		wantEnd(t, atCore, link.CloseError{Code: protocol.CloseGoingAway, Reason: "stopping", Local: true})
	})

	t.Run("a connection dropped without a close frame is lost", func(t *testing.T) {
		t.Parallel()
		agent, core := connect(t, link.Options{}, link.Options{})
		atCore := read(t, core)
		agent.Close(link.Lost, "")
		wantEnd(t, atCore, link.CloseError{Code: link.Lost})
	})

	t.Run("M21 silence ends the connection, a pong is no silence", func(t *testing.T) {
		t.Parallel()
		agent, core := connect(t, link.Options{}, link.Options{Silence: 300 * time.Millisecond})
		atCore, atAgent := read(t, core), read(t, agent)
		for range 10 {
			before := core.LastHeard()
			ponged := make(chan struct{}, 1)
			if err := core.Ping(func() { ponged <- struct{}{} }); err != nil {
				t.Fatal(err)
			}
			within(t, ponged, "pong")
			if !core.LastHeard().After(before) {
				t.Error("a pong was not heard")
			}
		}
		wantEnd(t, atCore, link.CloseError{Code: protocol.CloseSilent, Reason: "nothing heard for 300ms", Local: true})
		wantEnd(t, atAgent, link.CloseError{Code: protocol.CloseSilent, Reason: "nothing heard for 300ms"})
	})

	t.Run("M24 a peer that does not read fails the write in time", func(t *testing.T) {
		t.Parallel()
		agent, core := connect(t, link.Options{}, link.Options{WriteTimeout: 200 * time.Millisecond})
		atCore := read(t, core)
		_ = agent // never reads
		frame := bytes.Repeat([]byte{'x'}, 1<<20)
		var err error
		for range 1000 {
			if err = core.Write(frame); err != nil {
				break
			}
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("writing gave %v, not a passed deadline", err)
		}
		wantEnd(t, atCore, link.CloseError{Code: link.Lost, Local: true})
	})
}
