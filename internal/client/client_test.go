package client

import (
	"bufio"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "perigee_keep-this-to-yourself"

// serve runs handler and gives a client of it.
func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c, err := New(Options{URL: server.URL, Token: secret, UserAgent: "test/1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

func TestACallSaysWhoAsksAndReadsTheAnswer(t *testing.T) {
	t.Parallel()
	type request struct{ Method, URI, Authorization, Agent, ContentType string }
	var got request
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = request{r.Method, r.RequestURI, r.Header.Get("Authorization"), r.UserAgent(), r.Header.Get("Content-Type")}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"name":"shop"}`)
	})
	var answer struct{ Name string }
	if err := c.Post(t.Context(), "/systems", map[string]string{"name": "shop"}, &answer); err != nil {
		t.Fatal(err)
	}
	want := request{http.MethodPost, "/api/v1/systems", "Bearer " + secret, "test/1", "application/json"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if answer.Name != "shop" {
		t.Errorf("answer %+v", answer)
	}
}

func TestARefusalNamesTheFields(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("X-Request-Id", "r-7")
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"type":"about:blank","title":"invalid","status":422,"detail":"the check is not valid",
			"errors":[{"location":"body.spec.interval","message":"is too short","value":"1ms"}]}`)
	})
	err := c.Get(t.Context(), "/checks/front", nil, nil)
	got, ok := errors.AsType[*Problem](err)
	if !ok {
		t.Fatalf("error is %v, not a Problem", err)
	}
	want := &Problem{
		Status: 422, Title: "invalid", Detail: "the check is not valid", RequestID: "r-7",
		Errors: []ProblemField{{Location: "body.spec.interval", Message: "is too short", Value: "1ms"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problem (-want +got):\n%s", diff)
	}
	if got, want := err.Error(), "the check is not valid\n  body.spec.interval: is too short"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
}

// What stands before a core (a proxy, a load balancer) answers with pages.
func TestAnAnswerThatIsNoProblemIsShownInPart(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprint(w, "<html>"+strings.Repeat("x", 2<<20))
	})
	got, ok := errors.AsType[*Problem](c.Get(t.Context(), "/systems", nil, nil))
	if !ok || got.Status != http.StatusBadGateway || len(got.Detail) != 300 {
		t.Errorf("error is %+v", got)
	}
}

// A POST that follows a redirect comes out as a GET, and its answer as a success.
func TestARedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://core.example.org/prefix"+r.URL.Path+"?a=b", status)
		})
		err := c.Post(t.Context(), "/satellites", map[string]string{"name": "eu-1"}, nil)
		got, ok := errors.AsType[*Unreachable](err)
		if !ok {
			t.Fatalf("%d: error is %v, not Unreachable", status, err)
		}
		want := "no core answers at " + c.URL() + ": it redirects to https://core.example.org/prefix"
		if got.Error() != want {
			t.Errorf("%d: text %q, want %q", status, got.Error(), want)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close() // its port is closed now
	c, err := New(Options{URL: server.URL + "/", Token: secret})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Get(t.Context(), "/systems", nil, nil)
	if _, ok := errors.AsType[*Unreachable](err); !ok {
		t.Fatalf("error is %v, not Unreachable", err)
	}
	if text := err.Error(); !strings.HasPrefix(text, "no core answers at "+server.URL+": dial tcp") || strings.Contains(text, secret) {
		t.Errorf("text %q", text)
	}
}

func TestACallHasADeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := servePipes(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		began := time.Now()
		err := c.Get(t.Context(), "/systems", nil, nil)
		if _, ok := errors.AsType[*Unreachable](err); !ok || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v", err)
		}
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestAnInterruptedCallIsNotAnAbsentCore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := servePipes(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		err := c.Get(ctx, "/systems", nil, nil)
		if _, unreachable := errors.AsType[*Unreachable](err); unreachable || !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
	})
}

// pages answers lists of the numbers from 1 to 2500, as many as asked for.
func pages(asked *[]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.RawQuery)
		var first, limit int
		fmt.Sscan(r.FormValue("cursor"), &first) // "" is 0
		fmt.Sscan(r.FormValue("limit"), &limit)
		var page struct {
			Items      []int   `json:"items"`
			NextCursor *string `json:"nextCursor"`
		}
		for n := first + 1; n <= min(first+limit, 2500); n++ {
			page.Items = append(page.Items, n)
		}
		if next := fmt.Sprint(first + limit); first+limit < 2500 {
			page.NextCursor = &next
		}
		_ = json.NewEncoder(w).Encode(page) // the test sees what is missing
	}
}

func TestAllReadsEveryPage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		limit, items int
		asked        []string
	}{
		{0, 2500, []string{"limit=1000&name=x", "cursor=1000&limit=1000&name=x", "cursor=2000&limit=1000&name=x"}},
		{10, 10, []string{"limit=10&name=x"}},
		{1500, 1500, []string{"limit=1000&name=x", "cursor=1000&limit=1000&name=x"}},
	}
	for _, tt := range tests {
		var asked []string
		var progress []int
		c := serve(t, pages(&asked))
		items, err := All[int](t.Context(), c, "/numbers", url.Values{"name": {"x"}}, tt.limit, func(n int) { progress = append(progress, n) })
		if err != nil {
			t.Fatal(err)
		}
		if len(items) != tt.items || items[len(items)-1] != tt.items {
			t.Errorf("limit %d: %d items, the last %d", tt.limit, len(items), items[len(items)-1])
		}
		if diff := cmp.Diff(tt.asked, asked); diff != "" {
			t.Errorf("limit %d: requests (-want +got):\n%s", tt.limit, diff)
		}
		if len(progress) != len(asked) {
			t.Errorf("limit %d: progress %v", tt.limit, progress)
		}
	}
}

func TestAllDoesNotGoRoundInCircles(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"items":[1],"nextCursor":"again"}`) })
	if items, err := All[int](t.Context(), c, "/numbers", nil, 0, nil); err == nil {
		t.Errorf("no error, and %v", items)
	}
}

func TestACAFileIsTrusted(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(file, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := New(Options{URL: server.URL, CAFile: file})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.http.CloseIdleConnections)
	if err := c.Get(t.Context(), "/systems", nil, nil); err != nil {
		t.Error(err)
	}
}

func TestNewRefusesWhatIsNoCore(t *testing.T) {
	t.Parallel()
	noPEM := filepath.Join(t.TempDir(), "no.pem")
	if err := os.WriteFile(noPEM, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{
		{URL: ""},
		{URL: "core.example.org"},
		{URL: "127.0.0.1:8420"},
		{URL: "ftp://core"},
		{URL: "http://"},
		{URL: "http://core:port"},
		{URL: "http://core", CAFile: noPEM},
		{URL: "http://core", CAFile: noPEM + ".absent"},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("New(%+v) is content", o)
		}
	}
}

// servePipes is serve over connections in memory, so that it works with the
// clock of a synctest bubble.
func servePipes(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	listener := &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	c, err := New(Options{URL: "http://core", Token: secret})
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: listener.dial}
	c.http.Transport = transport
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		<-ended
	})
	return c
}

type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.accepted <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

// streams answers one stream after another: what the nth writes, and whether it
// then stays silent or ends.
type streams struct {
	texts []string
	stay  map[int]bool
	asked []string // Last-Event-ID of each
}

func (s *streams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := len(s.asked)
	s.asked = append(s.asked, r.Header.Get("Last-Event-ID"))
	if n >= len(s.texts) {
		http.Error(w, `{"status":401,"title":"unauthenticated","detail":"the token was revoked"}`, http.StatusUnauthorized)
		return
	}
	if s.texts[n] == "busy" {
		http.Error(w, `{"status":503,"title":"unavailable"}`, http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	out := bufio.NewWriter(w)
	out.WriteString(s.texts[n])
	out.Flush()
	http.NewResponseController(w).Flush()
	if s.stay[n] {
		<-r.Context().Done()
	}
}

func message(seq int) string {
	return fmt.Sprintf("id: %d\nevent: x\ndata: {\"seq\":%d}\n\n", seq, seq)
}

func TestWatchTakesUpABrokenStreamWhereItWas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &streams{
			texts: []string{": welcome\n\n" + message(5) + message(6), "busy", ": still here\n\n", message(7) + "id: 8\ndata: {\"se"},
			stay:  map[int]bool{2: true},
		}
		c := servePipes(t, s.ServeHTTP)
		var got []int64
		var broken []string
		began := time.Now()
		err := c.Watch(t.Context(), 4, func(e entity.Event) error {
			got = append(got, e.Seq)
			return nil
		}, func(err error) { broken = append(broken, err.Error()) })

		if p, ok := errors.AsType[*Problem](err); !ok || p.Status != http.StatusUnauthorized {
			t.Errorf("it ended with %v, not with the refusal", err)
		}
		if diff := cmp.Diff([]int64{5, 6, 7}, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"4", "6", "6", "6", "7"}, s.asked); diff != "" {
			t.Errorf("streams began after (-want +got):\n%s", diff)
		}
		if len(broken) != 4 {
			t.Errorf("told of %q", broken)
		}
		if took, want := time.Since(began), 4*streamRetry+streamSilence; took != want {
			t.Errorf("it took %v, want %v: four pauses and one silence", took, want)
		}
	})
}

// A stream that begins with what happens from now on misses nothing either when
// it breaks before anything has happened, if the core says where it is; also when
// the core has less than there was.
func TestWatchRemembersWhereItBegan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &streams{texts: []string{"id: 41\n: welcome\n\n", "id: 41\n: welcome\n\n" + message(42), "id: 7\n: welcome\n\n" + message(8)}}
		c := servePipes(t, s.ServeHTTP)
		var got []int64
		_ = c.Watch(t.Context(), -1, func(e entity.Event) error { // it ends with the refusal
			got = append(got, e.Seq)
			return nil
		}, nil)
		if diff := cmp.Diff([]string{"", "41", "42", "8"}, s.asked); diff != "" {
			t.Errorf("streams began after (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]int64{42, 8}, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestWatchEndsWithItsReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := servePipes(t, (&streams{texts: []string{message(1) + message(2)}}).ServeHTTP)
		full := errors.New("the disk is full")
		calls := 0
		err := c.Watch(t.Context(), 0, func(entity.Event) error { calls++; return full }, nil)
		if err != full || calls != 1 {
			t.Errorf("it ended with %v after %d events", err, calls)
		}
	})
}

func TestWatchEndsWhenToldTo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := servePipes(t, (&streams{texts: []string{": welcome\n\n"}, stay: map[int]bool{0: true}}).ServeHTTP)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := c.Watch(ctx, -1, nil, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	})
}
