package hub

import (
	"context"
	"errors"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/protocol"
)

// results is what one session has handed to ingest and not heard of yet, in the
// order in which it came. Acks are cumulative, so the head decides; several are
// in flight all the same.
type results struct {
	pending  []*submission
	unacked  int64         // bytes of pending batches
	settling bool          // a goroutine waits for the head
	room     chan struct{} // made by a reader that waits for fewer to be pending
	failures int           // in a row, of the database
}

// submission is one item with what is owed for it.
type submission struct {
	item health.Item
	// seqs are the numbers of item's runs and skips; nil from an original agent.
	runSeqs, skipSeqs []int64
	upTo              int64 // to acknowledge; 0 for an original agent
	refused           []protocol.Refused
	size              int64
	done              <-chan error // nil: nothing to be made durable
}

// grace is how long after its removal a pair may still be reported for runs that
// were due before: the satellite learns of it late, clocks differ (spec M68).
const grace = time.Minute

// Words for refused records, and the labels by which they are counted.
const (
	notAssigned = "not_assigned"
	notStored   = "not_stored"
	unusable    = "invalid"
)

// result takes in one result of an original agent. There is no reply, ever (A.5).
func (s *session) result(m *protocol.Result, size int) {
	sub := &submission{size: int64(size)}
	run, label, err := s.judge(m, time.Now())
	if err != nil {
		s.countRefused(label, m.ConfigID, m.SystemID, err)
		return
	}
	sub.item.Runs = []health.Run{run}
	s.submit(sub)
}

// batch takes in the records of one Results message.
func (s *session) batch(m *protocol.Results, size int) {
	if len(m.Records) == 0 {
		return
	}
	s.mu.Lock()
	over := s.results.unacked > 2*s.hub.limits.Credit
	s.mu.Unlock()
	if over {
		s.end(overCredit, "far more results in flight than there is credit for")
		return
	}
	now := time.Now()
	sub := &submission{size: int64(size), upTo: m.Records[len(m.Records)-1].Seq}
	for i := range m.Records {
		s.take(sub, &m.Records[i], now)
	}
	s.submit(sub)
}

// take puts one record into the submission, or among its refused.
func (s *session) take(sub *submission, r *protocol.Record, now time.Time) {
	refuse := func(label, configID, systemID string, err error) {
		s.countRefused(label, configID, systemID, err)
		sub.refused = append(sub.refused, protocol.Refused{Seq: r.Seq, Reason: words(err)})
	}
	switch {
	case r.Invalid != nil:
		refuse(unusable, "", "", r.Invalid)
	case r.Result != nil:
		run, label, err := s.judge(r.Result, now)
		if err != nil {
			refuse(label, r.Result.ConfigID, r.Result.SystemID, err)
			return
		}
		sub.item.Runs = append(sub.item.Runs, run)
		sub.runSeqs = append(sub.runSeqs, r.Seq)
	case r.Skip != nil:
		skip, label, err := s.judgeSkip(r.Skip, now)
		if err != nil {
			refuse(label, r.Skip.ConfigID, r.Skip.SystemID, err)
			return
		}
		sub.item.Skips = append(sub.item.Skips, skip)
		sub.skipSeqs = append(sub.skipSeqs, r.Seq)
	}
}

var errNotAssigned = fault.New(fault.Forbidden, "this check of this system is not assigned to the satellite")

// judge decides whether the satellite may report the result (spec M29) and makes
// a run of it. label is how a refusal is counted.
func (s *session) judge(m *protocol.Result, now time.Time) (run health.Run, label string, err error) {
	set := s.currentSet()
	pair := protocol.Pair{ConfigID: m.ConfigID, SystemID: m.SystemID}
	environmentID := m.EnvironmentID.OrZero()
	asked := s.askedFor(pair, environmentID, m.Slot, now)
	guest := asked.covers(environmentID)
	if !guest && (!set.granted(pair) || !s.knowsNone(m) && !set.environment(pair, environmentID)) {
		return health.Run{}, notAssigned, errNotAssigned
	}
	s.redacted(set, pair, asked, m)
	a := set.assignment(pair)
	if guest {
		a = asked.Assignment
	}
	run, err = health.Prepare(s.origin, a, m, now)
	if err != nil {
		return health.Run{}, unusable, err
	}
	if !guest && !set.grantedFor(pair, run.Slot) {
		return health.Run{}, notAssigned, errNotAssigned
	}
	run.Asked, run.Guest = asked.kind(), guest
	return run, "", nil
}

// knowsNone reports whether the result is of an agent that knows no environments: it
// runs the pair once, whatever those are, and what it hears counts without one until
// an agent that does know them reports (spec B, 0.9.4).
func (s *session) knowsNone(m *protocol.Result) bool {
	return s.features == 0 && !m.EnvironmentID.Present
}

func (s *session) judgeSkip(m *protocol.Skip, now time.Time) (skip health.Skip, label string, err error) {
	set := s.currentSet()
	pair := protocol.Pair{ConfigID: m.ConfigID, SystemID: m.SystemID}
	asked := s.askedFor(pair, m.EnvironmentID, m.From, now)
	guest := asked.guest() != nil && m.Count == 1
	if !guest && (!set.granted(pair) || !set.environment(pair, m.EnvironmentID)) {
		return health.Skip{}, notAssigned, errNotAssigned
	}
	skip, err = health.PrepareSkip(s.origin, m, now)
	if err != nil {
		return health.Skip{}, unusable, err
	}
	if !guest && !set.grantedFor(pair, skip.From) {
		return health.Skip{}, notAssigned, errNotAssigned
	}
	if m.Count == 1 {
		skip.Asked = asked.kind()
	}
	return skip, "", nil
}

func (s *session) currentSet() *set {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set
}

func (s *session) countRefused(label, configID, systemID string, err error) {
	s.hub.metrics.refused.WithLabelValues(label).Inc()
	s.warn("refused a result", "reason", label, "config_id", configID, "system_id", systemID, "error", err.Error())
}

// words are what the satellite's operator gets to read.
func words(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Message
	}
	if invalid, ok := errors.AsType[*protocol.InvalidError](err); ok {
		return invalid.Error()
	}
	return "the core could not store it"
}

// submit hands the item on and notes what is owed for it. It waits while ingest
// is full, too much is in flight in all, or too much of this session is pending:
// the satellite then is not read from, and nothing is dropped (spec M13).
func (s *session) submit(sub *submission) {
	if len(sub.item.Runs)+len(sub.item.Skips) > 0 {
		if s.hub.hold(s, sub.size) != nil {
			return // the session has ended; what was not acknowledged is sent again
		}
		s.stalled.Store(true)
		s.hand(sub)
		s.stalled.Store(false)
	}
	s.mu.Lock()
	r := &s.results
	r.pending = append(r.pending, sub)
	r.unacked += sub.size
	if !r.settling {
		r.settling = true
		s.work.Go(s.settle)
	}
	var room chan struct{}
	if len(r.pending) >= s.hub.limits.Pending {
		room = make(chan struct{})
		r.room = room
	}
	s.mu.Unlock()
	if room == nil {
		return
	}
	s.stalled.Store(true)
	defer s.stalled.Store(false)
	select {
	case <-room:
	case <-s.ctx.Done():
	}
}

// hold takes the bytes out of what may be in flight, waiting for them if it must.
func (h *Hub) hold(s *session, bytes int64) error {
	if h.inFlight.TryAcquire(bytes) {
		return nil
	}
	s.stalled.Store(true)
	defer s.stalled.Store(false)
	return h.inFlight.Acquire(s.persist, bytes)
}

// hand gives the item to ingest; what that says comes through done.
func (s *session) hand(sub *submission) {
	done, err := s.hub.ingest.Submit(s.persist, sub.item)
	if err != nil {
		failed := make(chan error, 1)
		failed <- err
		done = failed
	}
	sub.done = done
}

// settle waits for the pending submissions one after the other and acknowledges
// them. It ends when none is left.
func (s *session) settle() {
	var ack protocol.Ack
	for {
		sub := s.head()
		if sub == nil {
			return
		}
		if err := s.outcome(sub); err != nil {
			s.giveAway(err)
			return
		}
		if sub.upTo > 0 {
			ack.UpTo = sub.upTo
			ack.Refused = append(ack.Refused, sub.refused...)
		}
		// One ack for all that are done already; refusals are not made to wait.
		if more := s.settled(sub); ack.UpTo > 0 && (!more || len(ack.Refused) > 0) {
			s.send(&protocol.Ack{UpTo: ack.UpTo, Refused: ack.Refused})
			ack = protocol.Ack{}
		}
	}
}

// head is the oldest pending submission; nil ends the settling.
func (s *session) head() *submission {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.results
	if len(r.pending) == 0 {
		r.pending, r.settling = nil, false
		return nil
	}
	return r.pending[0]
}

// settled takes the head away and reports whether the next one is done as well.
func (s *session) settled(sub *submission) bool {
	if sub.done != nil {
		s.hub.inFlight.Release(sub.size)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.results
	r.pending[0] = nil
	r.pending = r.pending[1:]
	r.unacked -= sub.size
	if r.room != nil && len(r.pending) <= s.hub.limits.Pending/2 {
		close(r.room)
		r.room = nil
	}
	return len(r.pending) > 0 && (r.pending[0].done == nil || len(r.pending[0].done) > 0)
}

// giveAway forgets what is pending. Our satellites send it again; from original
// agents it is lost, after it was tried for as long as Limits.Linger says.
func (s *session) giveAway(err error) {
	s.mu.Lock()
	r := &s.results
	pending := r.pending
	r.pending, r.unacked, r.settling = nil, 0, false
	s.mu.Unlock()
	gone := 0
	for _, sub := range pending {
		if sub.done != nil {
			s.hub.inFlight.Release(sub.size)
		}
		if sub.upTo == 0 {
			gone += len(sub.item.Runs)
		}
	}
	if gone > 0 {
		s.hub.metrics.lost.Add(float64(gone))
		s.logger().Error("results of an original agent are lost: they could not be stored in time", "results", gone, "error", err)
	}
}

// outcome waits until the submission is durable, or what cannot be is among its
// refused. The error is that there is no time left.
func (s *session) outcome(sub *submission) error {
	if sub.done == nil {
		return nil
	}
	for {
		err := s.await(sub)
		switch {
		case err == nil:
			s.results.failures = 0
			return nil
		case s.persist.Err() != nil:
			return err
		case again(err):
			s.hub.metrics.retries.Inc()
			if !wait(s.persist, backoff(s.results.failures)) {
				return err
			}
			s.results.failures++
			s.hand(sub)
		default:
			return s.apart(sub, err)
		}
	}
}

func (s *session) await(sub *submission) error {
	select {
	case err := <-sub.done:
		return err
	case <-s.persist.Done():
		return context.Cause(s.persist)
	}
}

// again reports whether the same item may succeed later.
func again(err error) bool {
	return fault.Is(err, fault.Unavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// attempts is how often a record is tried that fails for a reason of ours.
const attempts = 3

// apart stores what can be stored of an item that failed as a whole, record by
// record, and refuses the rest: one bad record must not block those behind it for
// ever, nor take its neighbours with it.
func (s *session) apart(sub *submission, err error) error {
	item, runSeqs, skipSeqs := sub.item, sub.runSeqs, sub.skipSeqs
	for i := range item.Runs {
		one := &submission{item: health.Item{Runs: item.Runs[i : i+1]}}
		if err := s.alone(sub, one, at(runSeqs, i)); err != nil {
			return err
		}
	}
	for i := range item.Skips {
		one := &submission{item: health.Item{Skips: item.Skips[i : i+1]}}
		if err := s.alone(sub, one, at(skipSeqs, i)); err != nil {
			return err
		}
	}
	return nil
}

func at(seqs []int64, i int) int64 {
	if seqs == nil {
		return 0
	}
	return seqs[i]
}

// alone stores one record of sub, or refuses it. The error is that there is no
// time left.
func (s *session) alone(sub, one *submission, seq int64) error {
	for tries := 1; ; tries++ {
		s.hand(one)
		err := s.await(one)
		switch {
		case err == nil:
			return nil
		case s.persist.Err() != nil:
			return err
		case again(err):
			tries = 0
		case tries >= attempts || fault.KindOf(err) != fault.Internal:
			s.hub.metrics.refused.WithLabelValues(notStored).Inc()
			s.logger().Error("a result cannot be stored", "seq", seq, "error", err)
			if seq > 0 {
				sub.refused = append(sub.refused, protocol.Refused{Seq: seq, Reason: words(err)})
			}
			return nil
		}
		if !wait(s.persist, backoff(tries+1)) {
			return err
		}
	}
}
