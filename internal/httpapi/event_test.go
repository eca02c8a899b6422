package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

// stream is an open event stream.
type stream struct {
	t     *testing.T
	lines *bufio.Scanner
	close func()
	begun int64 // the id that it began with
}

// watch opens a stream and waits until it has begun.
func (c *core) watch(query string, header ...string) *stream {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), deadline)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+httpapi.Base+"/events/stream"+query, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.client.Do(req)
	if err != nil {
		cancel()
		c.t.Fatal(err)
	}
	s := &stream{t: c.t, lines: bufio.NewScanner(resp.Body), close: func() { cancel(); resp.Body.Close() }}
	s.lines.Buffer(nil, 1<<20)
	c.t.Cleanup(s.close)
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		c.t.Fatalf("the stream is %d %s", resp.StatusCode, kind)
	}
	id, isID := "", s.lines.Scan()
	if isID {
		id, isID = strings.CutPrefix(s.lines.Text(), "id: ")
	}
	if s.begun, err = strconv.ParseInt(id, 10, 64); !isID || err != nil || !s.lines.Scan() || s.lines.Text() != ": welcome" {
		c.t.Fatalf("the stream begins with %q, %q, %v", id, s.lines.Text(), s.lines.Err())
	}
	return s
}

// next reads one event, io.EOF when the stream has ended.
func (s *stream) next() (e entity.Event, err error) {
	fields := map[string]string{}
	for s.lines.Scan() {
		line := s.lines.Text()
		switch name, value, _ := strings.Cut(line, ": "); {
		case line != "":
			fields[name] = value
		case fields["data"] != "":
			if err := json.Unmarshal([]byte(fields["data"]), &e); err != nil {
				return e, err
			}
			if fields["id"] != strconv.FormatInt(e.Seq, 10) || fields["event"] != e.Type {
				s.t.Errorf("message %s %s holds event %d %s", fields["id"], fields["event"], e.Seq, e.Type)
			}
			return e, nil
		}
	}
	if s.lines.Err() == nil {
		return e, io.EOF
	}
	return e, s.lines.Err()
}

func (s *stream) want() entity.Event {
	s.t.Helper()
	e, err := s.next()
	if err != nil {
		s.t.Fatalf("the stream ended: %v", err)
	}
	return e
}

// events reads all of /events.
func (c *core) events() (all []entity.Event) {
	c.t.Helper()
	for after := int64(0); ; {
		var page struct {
			Items []entity.Event
			Next  int64
		}
		c.get(fmt.Sprintf("/events?after=%d&limit=7", after), &page)
		if len(page.Items) == 0 {
			if page.Next != after {
				c.t.Errorf("next = %d after the last event, %d", page.Next, after)
			}
			return all
		}
		all, after = append(all, page.Items...), page.Next
	}
}

func TestEventsAreListedInOrder(t *testing.T) {
	t.Parallel()
	c := setup(t)
	for i := range 10 {
		c.system(fmt.Sprintf("s%d", i))
	}
	var last int64
	all := c.events()
	for _, e := range all {
		if e.Seq <= last {
			t.Errorf("%d comes after %d", e.Seq, last)
		}
		last = e.Seq
	}
	if len(all) < 10 || all[0].Type != "system.created" || all[0].Actor.Name != "admin" || all[0].Actor.Type != "application" {
		t.Errorf("events = %+v", all)
	}
	for query, location := range map[string]string{"after=-1": "query.after", "limit=0": "query.limit", "after=x": "query.after"} {
		p := c.wrong(http.MethodGet, "/events?"+query, nil, http.StatusUnprocessableEntity)
		if len(p.Errors) != 1 || p.Errors[0].Location != location {
			t.Errorf("?%s: %q", query, places(p))
		}
	}
}

func TestTheStreamBeginsWhereItIsToldTo(t *testing.T) {
	t.Parallel()
	c := setup(t)
	c.system("first")
	c.system("second")
	all := c.events()
	now := c.watch("")
	c.system("third")
	for _, test := range []struct {
		what, query string
		header      []string
		want        string
	}{
		{"everything", "?after=0", nil, "first"},
		{"after the first", fmt.Sprintf("?after=%d", all[0].Seq), nil, "second"},
		{"back with an id", "", []string{"Last-Event-ID", strconv.FormatInt(all[0].Seq, 10)}, "second"},
		{"the id counts more than where it began", "?after=0", []string{"Last-Event-ID", strconv.FormatInt(all[0].Seq, 10)}, "second"},
	} {
		if e := c.watch(test.query, test.header...).want(); !strings.Contains(string(e.Next), test.want) {
			t.Errorf("%s begins with %s", test.what, e.Next)
		}
	}
	if e := now.want(); !strings.Contains(string(e.Next), "third") {
		t.Errorf("without a place it begins with %s", e.Next)
	}
	for _, header := range []string{"x", "-1", "99999999999999999999"} {
		r := c.send(http.MethodGet, httpapi.Base+"/events/stream", nil, "Authorization", "Bearer "+c.token, "Last-Event-ID", header)
		if r.status != http.StatusUnprocessableEntity || !strings.Contains(r.body, "Last-Event-ID") {
			t.Errorf("Last-Event-ID %s: %d %s", header, r.status, r.body)
		}
	}
	if p := c.wrong(http.MethodGet, "/events/stream?after=x", nil, http.StatusUnprocessableEntity); p.Errors[0].Location != "query.after" {
		t.Errorf("?after=x: %q", places(p))
	}
}

// Who loses the stream before anything has happened can come back to where it began;
// who has seen more than there is, in a database that was since put back, to the end.
func TestTheStreamSaysWhereItBegins(t *testing.T) {
	t.Parallel()
	c := setup(t)
	if s := c.watch(""); s.begun != 0 {
		t.Errorf("of a core without events it begins after %d", s.begun)
	}
	c.system("first")
	c.system("second")
	all := c.events()
	last := all[len(all)-1].Seq
	for _, test := range []struct {
		query, header string
		want          int64
	}{{"", "", last}, {"?after=0", "", 0}, {"", "1", 1}, {"", "123456789", last}, {"?after=123456789", "", last}} {
		if s := c.watch(test.query, "Last-Event-ID", test.header); s.begun != test.want {
			t.Errorf("%s %s: it begins after %d, want %d", test.query, test.header, s.begun, test.want)
		}
	}
	s := c.watch("", "Last-Event-ID", "123456789")
	c.system("third")
	if e := s.want(); !strings.Contains(string(e.Next), "third") {
		t.Errorf("from beyond the end it begins with %s", e.Next)
	}
}

func TestTheNewestEvents(t *testing.T) {
	t.Parallel()
	c := setup(t)
	for i := range 10 {
		c.system(fmt.Sprintf("s%d", i))
	}
	all := c.events()
	n, last := len(all), all[len(all)-1].Seq
	for query, want := range map[string][]entity.Event{
		"newest=true&limit=3": all[n-3:], "newest=true": all, "newest=false&limit=3": all[:3],
		fmt.Sprintf("newest=true&limit=3&after=%d", last-2): all[n-2:], fmt.Sprintf("newest=true&after=%d", last): {},
	} {
		var page httpapi.EventList
		c.get("/events?"+query, &page)
		if diff := cmp.Diff(want, page.Items); diff != "" || page.Next != last && want[0].Seq != all[0].Seq {
			t.Errorf("?%s, next %d (-want +got):\n%s", query, page.Next, diff)
		}
	}
}

func TestEventsOfAKindAndAType(t *testing.T) {
	t.Parallel()
	c := setup(t)
	c.system("shop")
	c.satellite("eu-1", "eu")
	var want []entity.Event
	for _, e := range c.events() {
		if e.Kind == "satellite" && e.Type == "satellite.created" {
			want = append(want, e)
		}
	}
	for _, query := range []string{"type=satellite.created", "kind=satellite&type=satellite.created", "kind=satellite&type=satellite.created&newest=true"} {
		var page httpapi.EventList
		c.get("/events?"+query, &page)
		if diff := cmp.Diff(want, page.Items); diff != "" || len(want) != 1 || page.Next != want[0].Seq {
			t.Errorf("?%s, next %d (-want +got):\n%s", query, page.Next, diff)
		}
	}
	var page httpapi.EventList
	c.get("/events?kind=automation", &page)
	if len(page.Items) != 0 {
		t.Errorf("events of kind automation = %+v, want none", page.Items)
	}
}

// While events are written by several at once, a reader whose connection breaks
// again and again sees each event once, in order.
func TestTheStreamLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	c := setup(t)
	const writers, each = 4, 25
	written := make(chan error, writers)
	for w := range writers {
		go func() {
			var errs []error
			for i := range each {
				_, err := c.catalog.CreateSystem(t.Context(), entity.System, catalog.SystemInput{Name: fmt.Sprintf("s%d-%d", w, i)})
				errs = append(errs, err)
			}
			written <- errors.Join(errs...)
		}()
	}
	var got []int64
	last := "0"
	s := c.watch("?after=0")
	for len(got) < writers*each {
		if len(got)%9 == 8 { // the connection breaks
			s.close()
			s = c.watch("?after=0", "Last-Event-ID", last)
		}
		e := s.want()
		got, last = append(got, e.Seq), strconv.FormatInt(e.Seq, 10)
	}
	for range writers {
		if err := <-written; err != nil {
			t.Error(err)
		}
	}
	// A core on a busy machine may add that it looked away for a while.
	var want []int64
	for _, e := range c.events() {
		want = append(want, e.Seq)
	}
	for len(got) < len(want) {
		got = append(got, s.want().Seq)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("numbers (-written +seen):\n%s", diff)
	}
}

func TestTheStreamCatchesUpInMoreThanOneReading(t *testing.T) {
	t.Parallel()
	c := setup(t)
	var documents []catalog.Document
	for i := range 1200 {
		documents = append(documents, catalog.Document{
			APIVersion: catalog.APIVersion, Kind: catalog.DocSystem,
			Metadata: catalog.Metadata{Name: fmt.Sprintf("s%d", i)}, Spec: json.RawMessage(`{}`),
		})
	}
	if _, err := c.catalog.Apply(t.Context(), entity.System, documents, false); err != nil {
		t.Fatal(err)
	}
	s := c.watch("?after=0")
	for i := range 1200 {
		if e := s.want(); e.Seq != int64(i+1) {
			t.Fatalf("event %d is number %d", i+1, e.Seq)
		}
	}
}

func TestStreamsEndWhenTheCoreStops(t *testing.T) {
	t.Parallel()
	c := setup(t)
	s := c.watch("")
	c.api.Drain()
	if _, err := s.next(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream went on: %v", err)
	}
	if _, err := c.watch("").next(); !errors.Is(err, io.EOF) {
		t.Errorf("a stream that comes after the end went on: %v", err)
	}
}

// That runs of automations moved is said to who listens, and no more than once a second
// however many there are.
func TestTheStreamSaysThatRunsMoved(t *testing.T) {
	t.Parallel()
	bell := &bus.Local{}
	c := setup(t, func(o *httpapi.Options) { o.Bells = bell })
	s := c.watch("")
	comments := func(until string) (n int) {
		t.Helper()
		for s.lines.Scan() {
			if s.lines.Text() == ": automation-runs" {
				n++
			}
			if s.lines.Text() == until {
				return n
			}
		}
		t.Fatalf("the stream ended: %v", s.lines.Err())
		return 0
	}
	began := time.Now()
	bell.Ring(automation.TopicRuns)
	n := comments(": automation-runs")
	for range 100 {
		bell.Ring(automation.TopicRuns)
	}
	n += comments(": automation-runs") // what moved while it rested is said after
	c.system("shop")
	bell.Ring(entity.TopicEvents)
	n += comments("event: system.created")
	if most := int(time.Since(began)/time.Second) + 1; n > most || time.Since(began) < time.Second {
		t.Errorf("101 movements were said %d times within %s", n, time.Since(began))
	}
}
