package conformance

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const socketPath = "/api/ws/satellite"

// core is an original core that has one case to run, and one satellite.
type core struct {
	Subject
	ctx       context.Context //nolint:containedctx // of the case, whose life is this
	url       string
	id, token string
	stop      func() // ends the agent; nil when there is none

	sessions chan *session
	refusing atomic.Bool // answers 503, as one that is starting
	attempts chan time.Time

	mu     sync.Mutex
	open   []*session
	pages  map[string]*page
	strays []string // paths that were asked for and are nothing
}

// page is something that checks ask for.
type page struct {
	hits []http.Header
	// held is not nil while the first request waits for it to be closed.
	held chan struct{}
}

// withCore runs a case with a core, and ends the agent that it started.
func withCore(ctx context.Context, subject Subject, number int, run func(*core) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("the suite's core cannot listen: %w", err)
	}
	c := &core{
		Subject: subject, ctx: ctx, url: "http://" + listener.Addr().String(),
		id: fmt.Sprintf("3f0c9c1e-0000-4000-8000-%012d", number), token: "csat_conformance-" + strings.Repeat("x", 27) + fmt.Sprintf("%04d", number),
		sessions: make(chan *session, 100), attempts: make(chan time.Time, 1000), pages: map[string]*page{},
	}
	server := &http.Server{Handler: c, ReadHeaderTimeout: time.Minute}
	serving := make(chan struct{})
	go func() {
		defer close(serving)
		_ = server.Serve(listener)
	}()
	err = run(c)
	cancel()
	c.end()
	_ = server.Close()
	<-serving
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.open {
		s.cut()
		<-s.ended
	}
	return err
}

// start starts the agent, with what follows the core's own address in the URL.
func (c *core) start(suffix string) error {
	stop, err := c.Start(c.ctx, c.url+suffix, c.id, c.token)
	if err != nil {
		return fmt.Errorf("starting the agent: %w", err)
	}
	c.stop = stop
	return nil
}

// end ends the agent.
func (c *core) end() {
	if c.stop != nil {
		c.stop()
		c.stop = nil
	}
}

func (c *core) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, isPage := strings.CutPrefix(r.URL.Path, "/page/")
	switch {
	case isPage:
		c.show(w, r, name)
	case !strings.HasSuffix(r.URL.Path, socketPath):
		c.mu.Lock()
		c.strays = append(c.strays, r.URL.Path)
		c.mu.Unlock()
		http.NotFound(w, r)
	case c.refusing.Load():
		c.attempts <- time.Now()
		http.Error(w, "starting", http.StatusServiceUnavailable)
	default:
		arrived := time.Now()
		c.attempts <- arrived
		c.take(w, r, arrived)
	}
}

func (c *core) take(w http.ResponseWriter, r *http.Request, arrived time.Time) {
	line, err := upgrade(w, r)
	if err != nil {
		return
	}
	s := &session{
		arrived: arrived,
		socket:  line, core: c, request: r.Clone(context.WithoutCancel(r.Context())),
		in: make(chan message, 4096), pongs: make(chan string, 16), ended: make(chan struct{}),
	}
	c.mu.Lock()
	c.open = append(c.open, s)
	c.mu.Unlock()
	go s.listen()
	select {
	case c.sessions <- s:
	default: // an agent that connects a hundred times to one case
		s.cut()
	}
}

// show answers a check: 200, but 202 to a request that was held.
func (c *core) show(w http.ResponseWriter, r *http.Request, name string) {
	c.mu.Lock()
	p := c.page(name)
	p.hits = append(p.hits, r.Header.Clone())
	held := p.held
	p.held = nil
	c.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-c.ctx.Done():
		}
		w.WriteHeader(http.StatusAccepted)
	}
	fmt.Fprint(w, "here")
}

// page is called with mu held.
func (c *core) page(name string) *page {
	if c.pages[name] == nil {
		c.pages[name] = &page{}
	}
	return c.pages[name]
}

// hold makes the next request for the page wait.
func (c *core) hold(name string) (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := make(chan struct{})
	c.page(name).held = held
	return func() { close(held) }
}

// hits is how often the page was asked for, and with what the last time.
func (c *core) hits(name string) (n int, last http.Header) {
	c.mu.Lock()
	defer c.mu.Unlock()
	hits := c.page(name).hits
	if len(hits) == 0 {
		return 0, nil
	}
	return len(hits), hits[len(hits)-1]
}

// visited waits until the page was asked for n times.
func (c *core) visited(name string, n int) error {
	return c.until(func() error {
		if got, _ := c.hits(name); got < n {
			return fmt.Errorf("the check of /page/%s ran %d times in %s, want %d", name, got, c.Patience, n)
		}
		return nil
	})
}

// until waits for something that is looked at again and again.
func (c *core) until(look func() error) error {
	deadline := time.Now().Add(c.Patience)
	for {
		err := look()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		if err := c.pause(20 * time.Millisecond); err != nil {
			return err
		}
	}
}

// still expects that the page is not asked for any more. What goes on may end.
func (c *core) still(name string) error {
	if err := c.pause(time.Second); err != nil {
		return err
	}
	before, _ := c.hits(name)
	if err := c.pause(c.Quiet); err != nil {
		return err
	}
	if after, _ := c.hits(name); after != before {
		return fmt.Errorf("the check of /page/%s still runs", name)
	}
	return nil
}

func (c *core) pause(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

// accept waits for the agent to connect.
func (c *core) accept() (*session, error) {
	select {
	case s := <-c.sessions:
		return s, nil
	case <-c.ctx.Done():
		return nil, c.ctx.Err()
	case <-time.After(c.Patience):
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return nil, fmt.Errorf("expected the agent to connect, and it did not for %s%s", c.Patience, also(c.strays))
}

func also(strays []string) string {
	if len(strays) == 0 {
		return ""
	}
	return "; it asked for " + strings.Join(strays, ", ")
}

// away expects that the agent does not connect.
func (c *core) away() error {
	select {
	case <-c.sessions:
		return errors.New("expected the agent to stay away, and it came back")
	case <-time.After(c.Quiet):
		return nil
	}
}

// check is the assignment of a check of a page, once a second. more is what else is in
// it.
func (c *core) check(config, system, name, more string) string {
	return c.checkOf(config, system, c.url+"/page/"+name, `[]`, more)
}

func (c *core) checkOf(config, system, url, headers, more string) string {
	return fmt.Sprintf(`{"configId":%q,"systemId":%q,"strategyId":"healthcheck-http.http","config":{"timeout":5000},"collectors":[`+
		`{"id":"e1","collectorId":"healthcheck-http.request","config":{"url":%q,"method":"GET","headers":%s,"timeout":5000}}],"intervalSeconds":1%s}`,
		config, system, url, headers, more)
}

// session is one connection of the agent.
type session struct {
	*socket
	core    *core
	request *http.Request
	in      chan message
	pongs   chan string

	ended chan struct{}
	// Written before ended is closed: with what the agent ended it, Lost when without a
	// word.
	code   uint16
	reason string

	arrived time.Time // when the agent asked for the connection
}

// listen ends with the connection.
func (s *session) listen() {
	defer close(s.ended)
	defer close(s.in)
	defer s.conn.Close()
	s.code = 1006
	var message []byte
	var kind byte
	for {
		op, payload, err := s.read(&message, &kind)
		switch {
		case err != nil:
			s.reason = err.Error()
			return
		case op == opClose:
			s.code, s.reason = 1005, ""
			if len(payload) >= 2 {
				s.code, s.reason = binary.BigEndian.Uint16(payload), string(payload[2:])
			}
			_ = s.write(opClose, true, payload)
			return
		case op == opPing:
			_ = s.write(opPong, true, payload)
		case op == opPong:
			select {
			case s.pongs <- string(payload):
			default:
			}
		default:
			s.hear(op, payload)
		}
	}
}

func (s *session) hear(op byte, payload []byte) {
	var m message
	switch err := json.Unmarshal(payload, &m); {
	case op != opText:
		m = message{"type": "(not text)"}
	case err != nil:
		m = message{"type": "(not JSON)"}
	}
	select {
	case s.in <- m:
	default: // an agent that says more than four thousand things to one case
	}
}

func (s *session) send(format string, args ...any) error {
	return s.write(opText, true, fmt.Appendf(nil, format, args...))
}

// next is the next message of the kind; others are passed over.
func (s *session) next(kind string) (message, error) {
	return s.nextWithin(kind, s.core.Patience, nil)
}

// nextWithin is the next message of the kind for which fits, if not nil, says so.
func (s *session) nextWithin(kind string, patience time.Duration, fits func(message) bool) (message, error) {
	deadline := time.After(patience)
	for {
		select {
		case m, ok := <-s.in:
			if !ok {
				return nil, fmt.Errorf("expected %s, and the connection ended (%d %s)", kind, s.code, s.reason)
			}
			if m.kind() == kind && (fits == nil || fits(m)) {
				return m, nil
			}
		case <-s.core.ctx.Done():
			return nil, s.core.ctx.Err()
		case <-deadline:
			return nil, fmt.Errorf("expected %s, and none came for %s", kind, patience)
		}
	}
}

// result is the next result of the pair.
func (s *session) result(config, system string) (message, error) {
	return s.nextWithin("result", s.core.Patience, func(m message) bool { return m.text("configId") == config && m.text("systemId") == system })
}

// silent expects that none of the kinds comes, or nothing at all if none is given.
func (s *session) silent(kinds ...string) error {
	deadline := time.After(s.core.Quiet)
	for {
		select {
		case m, ok := <-s.in:
			if !ok {
				return fmt.Errorf("expected silence, and the connection ended (%d %s)", s.code, s.reason)
			}
			if len(kinds) == 0 || strings.Contains(strings.Join(kinds, " "), m.kind()) {
				return fmt.Errorf("expected silence, and %s came", m.kind())
			}
		case <-deadline:
			return nil
		}
	}
}

// left waits for the agent to end the connection.
func (s *session) left(patience time.Duration) error {
	select {
	case <-s.ended:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("expected the agent to end the connection, and it did not for %s", patience)
	}
}

// leftWith is left, with what must be in the close frame.
func (s *session) leftWith(code uint16, reason string) error {
	if err := s.left(s.core.Patience); err != nil {
		return err
	}
	if s.code != code || s.reason != reason {
		return fmt.Errorf("the agent closed with %d %q, want %d %q", s.code, s.reason, code, reason)
	}
	return nil
}

// close closes the connection. An agent that was told to leave may have done so by
// itself before the close frame could be sent: then there is nobody to be told.
func (s *session) close(code uint16, reason string) error {
	err := s.socket.close(code, reason)
	if err != nil && s.left(s.core.Patience) == nil {
		return nil
	}
	return err
}

// answers expects that the agent answers a ping.
func (s *session) answers() error {
	if err := s.write(opPing, true, []byte("conformance")); err != nil {
		return fmt.Errorf("the connection does not live any more: %w", err)
	}
	deadline := time.After(s.core.Patience)
	for {
		select {
		case payload := <-s.pongs:
			if payload == "conformance" {
				return nil
			}
		case <-s.ended:
			return fmt.Errorf("the connection does not live any more: %d %s", s.code, s.reason)
		case <-deadline:
			return fmt.Errorf("no pong came for %s", s.core.Patience)
		}
	}
}

// greeted waits for the agent to say who it is, which is the first thing that it says.
func (s *session) greeted() (message, error) {
	select {
	case m, ok := <-s.in:
		switch {
		case !ok:
			return nil, fmt.Errorf("expected authenticate, and the connection ended (%d %s)", s.code, s.reason)
		case m.kind() != "authenticate":
			return nil, fmt.Errorf("expected authenticate, and %s came first", m.kind())
		}
		return m, nil
	case <-time.After(s.core.Patience):
		return nil, fmt.Errorf("expected authenticate, and nothing came for %s", s.core.Patience)
	}
}

// welcome takes the agent in. hash is "" when the core knows nothing of packages, and
// JSON otherwise.
func (s *session) welcome(hash string, assignments ...string) error {
	if _, err := s.greeted(); err != nil {
		return err
	}
	return s.admit(hash, assignments...)
}

func (s *session) admit(hash string, assignments ...string) error {
	if hash != "" {
		hash = `,"scriptPackagesLockfileHash":` + hash
	}
	return s.send(`{"type":"authenticated","satelliteId":%q,"assignments":[%s]%s}`, s.core.id, strings.Join(assignments, ","), hash)
}

func (s *session) update(assignments ...string) error {
	return s.send(`{"type":"config_updated","assignments":[%s]}`, strings.Join(assignments, ","))
}

// met starts the agent and runs a case on its first connection, in which nothing has
// been said yet.
func met(run func(c *core, s *session) error) func(*core) error {
	return func(c *core) error {
		if err := c.start(""); err != nil {
			return err
		}
		s, err := c.accept()
		if err != nil {
			return err
		}
		return run(c, s)
	}
}

// working runs a case on the first connection, with assignments that the agent has.
func working(hash string, assignments func(c *core) []string, run func(c *core, s *session) error) func(*core) error {
	return met(func(c *core, s *session) error {
		var all []string
		if assignments != nil {
			all = assignments(c)
		}
		if err := s.welcome(hash, all...); err != nil {
			return err
		}
		return run(c, s)
	})
}

// one is the assignment of a check of the page a.
func one(c *core) []string { return []string{c.check("c1", "web", "a", "")} }
