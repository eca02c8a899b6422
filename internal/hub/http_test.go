package hub_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/hub"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

// site is a hub behind a real HTTP server.
type site struct {
	t    *testing.T
	hub  *hub.Hub
	url  string
	stop func()
}

func newSite(t *testing.T, c hub.Config) *site {
	t.Helper()
	h := hub.New(c)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if address := r.Header.Get("X-Forwarded-For"); address != "" {
			r.RemoteAddr = address // as the API does behind a proxy
		}
		h.ServeHTTP(w, r)
	}))
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() {
		if err := h.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	s := &site{t: t, hub: h, url: server.URL, stop: sync.OnceFunc(func() { cancel(); run.Wait() })}
	t.Cleanup(func() { s.stop(); server.Close() })
	return s
}

// socket is a satellite's connection to a site.
type socket struct {
	*testing.T
	link.Conn
}

func (s *site) dial() socket {
	s.t.Helper()
	url, err := link.URL(s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	conn, err := link.Dial(s.t.Context(), url, link.Options{Silence: 20 * time.Second})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close(link.Lost, "") })
	return socket{s.t, conn}
}

func (c socket) send(m protocol.FromAgent) {
	c.Helper()
	frame, err := protocol.Encode(m)
	if err != nil {
		c.Fatal(err)
	}
	if err := c.Write(frame); err != nil {
		c.Fatal(err)
	}
}

// receive is the next message, which must be an M.
func receive[M protocol.FromCore](c socket) M {
	c.Helper()
	frame, err := c.Read()
	if err != nil {
		c.Fatalf("the connection ended instead of a message: %v", err)
	}
	m, err := protocol.DecodeFromCore(frame)
	if err != nil {
		c.Fatal(err)
	}
	wanted, ok := m.(M)
	if !ok {
		c.Fatalf("the core sent %s instead of a %T", frame, wanted)
	}
	return wanted
}

// wantEnd reads on until the connection ends, with the code.
func (c socket) wantEnd(code int) {
	c.Helper()
	for {
		_, err := c.Read()
		if err == nil {
			continue
		}
		if closed, ok := err.(*link.CloseError); !ok || closed.Code != code {
			c.Errorf("ended with %v; want code %d", err, code)
		}
		return
	}
}

func get(t *testing.T, url string, header http.Header) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response
}

// A.1: the path is exact.
func TestOnlyTheExactPathIsServed(t *testing.T) {
	t.Parallel()
	s := newSite(t, hub.Config{Fleet: newFakeFleet(), Ingest: &fakeIngest{}})
	got := map[string]int{}
	for _, path := range []string{"/api/ws/satellite/", "/api/ws/satellite/x", "/api/ws", "/api/ws/satellite"} {
		got[path] = get(t, s.url+path, nil).StatusCode
	}
	want := map[string]int{
		"/api/ws/satellite/": 404, "/api/ws/satellite/x": 404, "/api/ws": 404,
		"/api/ws/satellite": 400,
	} // no upgrade
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestSessionOverARealSocket(t *testing.T) {
	t.Parallel()
	records := newFakeFleet()
	records.add("s1", pair("front"))
	ingest := &fakeIngest{}
	s := newSite(t, hub.Config{Fleet: records, Ingest: ingest})
	c := s.dial()
	c.send(hello("s1"))
	receive[*protocol.Authenticated](c)
	c.send(batch(slotted(1, "front")))
	if got := receive[*protocol.Ack](c).UpTo; got != 1 {
		t.Errorf("acknowledged up to %d", got)
	}
	s.stop()
	c.wantEnd(protocol.CloseGoingAway)
	if got := get(t, s.url+protocol.Path, nil); got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
		t.Errorf("a stopping core answers %d", got.StatusCode)
	}
}

// M17: sockets that have not authenticated are bounded, by address and in all;
// those that have are not counted.
func TestM17_UnauthenticatedSocketsAreBounded(t *testing.T) {
	t.Parallel()
	records := newFakeFleet()
	records.add("s1")
	records.add("s2")
	s := newSite(t, hub.Config{
		Fleet: records, Ingest: &fakeIngest{},
		Limits: hub.Limits{Unauthenticated: 3, UnauthenticatedPerAddress: 2},
	})
	for _, id := range []string{"s1", "s2"} { // more than the address may park
		c := s.dial()
		c.send(authenticate(id))
		receive[*protocol.Authenticated](c)
	}
	first := s.dial()
	s.dial()
	from := func(address string) int {
		return get(t, s.url+protocol.Path, http.Header{"X-Forwarded-For": {address}}).StatusCode
	}
	if got := from("127.0.0.1"); got != http.StatusServiceUnavailable {
		t.Errorf("a third socket of the address is answered %d", got)
	}
	if got := from("192.0.2.1"); got != http.StatusBadRequest { // let in, and no upgrade
		t.Errorf("another address is answered %d", got)
	}
	first.send(&protocol.Heartbeat{Version: "1"})
	first.wantEnd(protocol.CloseNormal)
	eventually(t, func() bool { return from("127.0.0.1") == http.StatusBadRequest })
}

// eventually waits for something that has no signal of its own.
func eventually(t *testing.T, happened func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !happened() {
		select {
		case <-deadline:
			t.Fatal("it did not happen in time")
		case <-look.C:
		}
	}
}

// A message of the size that the original core takes passes; one byte more closes
// with 1009 (A.1).
func TestLargestMessageOfAnAuthenticatedSatellite(t *testing.T) {
	t.Parallel()
	records := newFakeFleet()
	records.add("s1")
	s := newSite(t, hub.Config{Fleet: records, Ingest: &fakeIngest{}})
	c := s.dial()
	c.send(authenticate("s1"))
	receive[*protocol.Authenticated](c)
	fill := func(size int) []byte {
		head, tail := `{"type":"heartbeat","version":"1","uptimeSeconds":1,"more":"`, `"}`
		return []byte(head + strings.Repeat("x", size-len(head)-len(tail)) + tail)
	}
	if err := c.Write(fill(protocol.MaxFrame)); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { records.mu.Lock(); defer records.mu.Unlock(); return len(records.beats) == 1 })
	_ = c.Write(fill(protocol.MaxFrame + 1)) // may fail: the core closes meanwhile
	c.wantEnd(protocol.CloseTooBig)
}
