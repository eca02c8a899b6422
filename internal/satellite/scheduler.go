package satellite

import (
	"bytes"
	"container/heap"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// scheduler decides what becomes of every slot. One goroutine (Run) owns
// everything in it; others send it changes and hear from it through run.
//
// A key is idle, waiting for a place among the runs that go on at once, or
// running. What is due meanwhile is skipped: overlap while it runs, limit when it
// found no place before its next slot. Skips of a busy key are held back until its
// run is recorded, so that records of a key are in the order of their slots.
type scheduler struct {
	path   string // of desired.json
	spool  *spool
	prober Prober
	log    *slog.Logger
	now    func() time.Time // the wall clock, which may jump
	limit  int              // runs that go on at once
	run    func(ctx context.Context, key check.Key, w *work, slot int64)
	// stepped hears that the clock was set.
	stepped func()
	lag     *lag

	changes chan order
	asked   chan *protocol.RunNow
	leases  *leases

	// Owned by Run.
	desired  desired
	saved    []byte // desired.json as it is on disk
	ledger   ledger
	entries  map[check.Key]*timetable
	due      dueHeap
	queue    []*timetable // waiting, in order
	running  int
	finished chan *timetable
	runs     sync.WaitGroup
	answered answered
	// guests are runs of what is not desired, beside running. They count themselves out.
	guests atomic.Int32
	wall   time.Time // of the last look; zero before the first
	mono   time.Time // likewise, with the monotonic clock

	status schedulerStatus
}

// order is a change with the place for the answer.
type order struct {
	change change
	answer chan<- protocol.Applied // of size one
}

// timetable is one key with its next slot and what goes on with it.
type timetable struct {
	key      check.Key
	schedule check.Schedule
	work     *work // nil once it was taken away
	next     int64 // the next slot, Unix milliseconds
	index    int   // in the heap, -1 when not
	state    state
	slot     int64             // that is waiting or running
	missed   []protocol.Record // skips after slot, held back
	seat     protocol.Seat     // zero for none
	ran      int64             // the last slot that was started
	held     int64             // one that was asked for while another ran, zero for none
	// doubt is up to where slots of a seat may have been started by a process before, or
	// before they were taken away: that is known of all seats together.
	doubt int64
}

type state byte

const (
	idle state = iota
	waiting
	running
)

const (
	// look is how long the scheduler sleeps at most, so that it notices a clock that
	// was set, or a machine that was asleep, within that time.
	look = time.Second
	// jump is a step of the clock that is more than lateness: slots inside it were
	// never there to be kept, and running one of each key now would be a burst (M75).
	jump = 10 * time.Second
	// rewindLimit is how far the clock may be set back before slots that were
	// accounted for are run again. Up to there the satellite waits for time to catch
	// up; beyond, it would be silent for too long.
	rewindLimit = 15 * time.Minute
)

// start opens the books: slots that were due while nothing ran become skips, and
// what is desired gets its next slot.
func (s *scheduler) start() {
	now := s.now().UnixMilli()
	s.entries = make(map[check.Key]*timetable)
	s.finished = make(chan *timetable, s.limit)
	s.ledger.eras = s.desired.Ledger
	for i := range s.ledger.eras {
		if g, ok := s.ledger.missing(&s.ledger.eras[i], now); ok {
			s.spool.Append(protocol.Record{Skip: newSkip(g.key, g.from, g.to, g.count, protocol.SkipDown)})
		}
	}
	s.adopt(s.desired, now)
}

// Run schedules until the context ends, then waits for the runs that go on, as
// long as drain allows.
func (s *scheduler) Run(ctx context.Context, drain time.Duration) error {
	runCtx, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer s.runs.Wait()
	defer giveUp()
	s.start()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			s.drain(drain)
			return nil
		case o := <-s.changes:
			s.lag.wakes()
			s.advance()
			o.answer <- s.apply(o.change)
		case m := <-s.asked:
			s.lag.wakes()
			s.advance()
			s.dispatch(runCtx) // what is due goes first
			s.runNow(runCtx, m)
		case t := <-s.finished:
			s.lag.wakes()
			s.finish(t)
			s.startHeld(runCtx, t)
			s.advance()
		case <-timer.C:
			s.lag.wakes()
			s.advance()
		}
		s.dispatch(runCtx)
		rest := s.sleep()
		s.lag.sleeps(rest)
		timer.Reset(rest)
	}
}

// sleep is the time to the next slot, or to the next look.
func (s *scheduler) sleep() time.Duration {
	if len(s.due) == 0 {
		return look
	}
	return min(max(0, time.UnixMilli(s.due[0].next).Sub(s.now())), look)
}

// apply takes a change in: on disk first, then at once and in place (spec M63).
// The slots up to now have been decided by what was desired before.
func (s *scheduler) apply(c change) protocol.Applied {
	next, err := s.desired.with(c)
	if err != nil {
		s.log.Warn("a change of assignments does not fit; asking for all of them", "error", err)
		return protocol.Applied{Revision: s.desired.Revision, Errors: []protocol.AppliedError{{Message: err.Error()}}}
	}
	refused := s.adopt(next, s.now().UnixMilli())
	s.log.Info("assignments taken in", "revision", next.Revision, "assignments", len(next.Assignments), "refused", len(refused))
	for _, r := range refused {
		s.log.Warn("an assignment cannot be carried out here", "check", r.ConfigID, "system", r.SystemID, "reason", r.Message)
	}
	return protocol.Applied{Revision: next.Revision, Errors: refused}
}

// adopt makes next what is desired from now on.
func (s *scheduler) adopt(next desired, now int64) []protocol.AppliedError {
	works, refused := next.works(s.prober.Check)
	s.ledger.eras = s.ledger.turn(now, works)
	s.lateSeats(now)
	next.Ledger = s.ledger.eras
	s.desired = next
	s.save()
	for key, w := range works {
		s.schedule(key, w, now)
	}
	for key, t := range s.entries {
		if works[key] == nil {
			s.withdraw(t)
		}
	}
	known := make(map[check.Key]bool, len(s.ledger.eras))
	for i := range s.ledger.eras {
		known[s.ledger.eras[i].key()] = true
	}
	s.spool.Forget(func(key check.Key) bool { return known[key] })
	s.status.set(&s.desired, refused, len(s.entries))
	return refused
}

// save writes desired.json if it has changed. Failing that, the satellite goes on
// with what it has in memory; the status says so, and the next look tries again.
func (s *scheduler) save() {
	if s.desired.SatelliteID == "" {
		s.desired.SatelliteID = s.ledger.satelliteID
	}
	b, err := json.MarshalIndent(&s.desired, "", " ")
	if err == nil && !bytes.Equal(b, s.saved) {
		if err = writeDurably(s.path, b, s.spool.sync); err == nil {
			s.saved = b
		}
	}
	if err != nil {
		err = fmt.Errorf("writing the assignments down: %w", err)
	}
	if s.status.unsaved(err) {
		s.log.Error("assignments are not on disk; trying again", "error", err)
	}
}

// schedule gives the key its work and, where that is new, its next slot.
func (s *scheduler) schedule(key check.Key, w *work, now int64) {
	t := s.entries[key]
	if t == nil {
		t = &timetable{key: key, index: -1}
		s.entries[key] = t
	}
	seat := w.seat()
	fresh := t.work == nil || t.schedule.Interval != w.interval || t.seat.Number != seat.Number || t.seat.After != seat.After
	t.work, t.seat = w, seat
	if !fresh {
		s.bound(t)
		return
	}
	if seat.Number > 0 {
		t.doubt = s.spool.Begun()
	}
	t.schedule = check.SeatSchedule(s.ledger.satelliteID, seat.Number, key, w.interval)
	after := now
	if slot, ok := s.spool.Accounted(key); ok && slot > now && slot-now <= rewindLimit.Milliseconds() {
		after = slot
	}
	t.next = t.schedule.Next(time.UnixMilli(max(after, t.slot, seat.After))).UnixMilli()
	if seat.Number == 0 && t.next-now > w.interval.Milliseconds()+rewindLimit.Milliseconds() {
		t.next = t.schedule.Next(time.UnixMilli(now)).UnixMilli()
	}
	if t.index < 0 {
		heap.Push(&s.due, t)
	} else {
		heap.Fix(&s.due, t.index)
	}
	s.bound(t)
}

// bound takes a key out of what is due that has run its last slot here.
func (s *scheduler) bound(t *timetable) {
	if t.index >= 0 && t.seat.Until > 0 && t.next > t.seat.Until {
		heap.Remove(&s.due, t.index)
	}
}

// lateSeats accounts for slots of seats that were due here before they were taken in.
func (s *scheduler) lateSeats(now int64) {
	for i := range s.ledger.eras {
		e := &s.ledger.eras[i]
		if e.Seat == 0 || e.Until != 0 || s.entries[e.key()] != nil || e.Since >= now {
			continue
		}
		if g, ok := s.ledger.missing(e, now); ok {
			s.skip(g.key, g.from, g.to, g.count, protocol.SkipDown)
		}
	}
}

// withdraw ends a key that is no longer wanted. A run that goes on comes to its
// end and is recorded; a slot that waits is skipped.
func (s *scheduler) withdraw(t *timetable) {
	t.work = nil
	if t.index >= 0 {
		heap.Remove(&s.due, t.index)
	}
	if t.state == running {
		return
	}
	if t.state == waiting {
		s.skip(t.key, t.slot, t.slot, 1, protocol.SkipLimit)
		t.state = idle // which takes it out of the queue (dispatch)
		s.report(t)
	}
	delete(s.entries, t.key)
}

// advance decides the slots that have become due.
func (s *scheduler) advance() {
	now := s.now()
	stepped := s.step(now)
	if stepped <= -jump {
		s.rewind(now)
	}
	for len(s.due) > 0 && s.due[0].next <= now.UnixMilli() {
		t := s.due[0]
		until := now
		if t.seat.Until > 0 && t.seat.Until < now.UnixMilli() {
			until = time.UnixMilli(t.seat.Until)
		}
		first, last := t.next, t.schedule.Last(until).UnixMilli()
		count := t.schedule.Due(time.UnixMilli(first-1), until)
		t.next = t.schedule.Next(now).UnixMilli()
		heap.Fix(&s.due, 0)
		s.bound(t)
		if stepped >= jump {
			s.miss(t, first, last, count, protocol.SkipClock)
			continue
		}
		s.lag.slot(now.Sub(time.UnixMilli(first)) - max(0, stepped))
		if count > 1 {
			// The process was held up, for example stopped by a signal.
			before := t.schedule.Last(time.UnixMilli(last - 1)).UnixMilli()
			s.miss(t, first, before, count-1, protocol.SkipDown)
		}
		s.fallDue(t, last)
	}
	if s.status.isUnsaved() {
		s.save()
	}
}

// step is how far the wall clock has gone beyond the time that really passed
// since the last look.
func (s *scheduler) step(now time.Time) time.Duration {
	mono := time.Now()
	wall := now.Round(0)
	defer func() { s.wall, s.mono = wall, mono }()
	if s.wall.IsZero() {
		return 0
	}
	step := wall.Sub(s.wall) - mono.Sub(s.mono)
	if step >= jump || step <= -jump {
		s.log.Warn("the clock was set, or the machine was asleep", "step", step)
		s.stepped()
	}
	return step
}

// rewind gives keys whose next slot has moved too far away a nearer one.
func (s *scheduler) rewind(now time.Time) {
	for _, t := range s.due {
		if t.next-now.UnixMilli() > t.schedule.Interval.Milliseconds()+rewindLimit.Milliseconds() {
			t.next = t.schedule.Next(time.UnixMilli(max(now.UnixMilli(), t.seat.After))).UnixMilli()
		}
	}
	heap.Init(&s.due)
}

// fallDue decides one slot. One of a seat is run once, also when the clock is set back,
// and only within a lease.
func (s *scheduler) fallDue(t *timetable, slot int64) {
	if t.seat.Number > 0 {
		if slot <= t.ran {
			return // it has its record
		}
		if slot <= t.doubt { // then the clock was set back
			if accounted, ok := s.spool.Accounted(t.key); !ok || slot > accounted {
				s.miss(t, slot, slot, 1, protocol.SkipClock)
			}
			return
		}
		if !s.leases.cover(slot, s.desired.Revision) {
			s.miss(t, slot, slot, 1, protocol.SkipLease)
			return
		}
	}
	switch t.state {
	case running:
		s.miss(t, slot, slot, 1, protocol.SkipOverlap)
	case waiting:
		// It keeps its place in the queue, with the newer slot.
		s.skip(t.key, t.slot, t.slot, 1, protocol.SkipLimit)
		s.report(t)
		t.slot = slot
	case idle:
		t.state, t.slot = waiting, slot
		s.queue = append(s.queue, t)
	}
}

// miss accounts for slots that are not run, after the one that the key is busy with.
func (s *scheduler) miss(t *timetable, from, to, count int64, reason protocol.SkipReason) {
	if t.state == idle {
		s.skip(t.key, from, to, count, reason)
		return
	}
	next := protocol.Record{Skip: newSkip(t.key, from, to, count, reason)}
	if n := len(t.missed); n > 0 && (t.missed[n-1].Skip.Reason == reason || n >= maxLines) {
		join(&t.missed[n-1], &next)
		return
	}
	t.missed = append(t.missed, next)
}

// report spools the skips that were held back.
func (s *scheduler) report(t *timetable) {
	for _, r := range t.missed {
		s.spool.Append(r)
		s.status.skipped(r.Skip.Reason, r.Skip.Count)
	}
	t.missed = nil
}

func (s *scheduler) skip(key check.Key, from, to, count int64, reason protocol.SkipReason) {
	s.spool.Append(protocol.Record{Skip: newSkip(key, from, to, count, reason)})
	s.status.skipped(reason, count)
}

// dispatch starts what waits, as far as there are places.
func (s *scheduler) dispatch(ctx context.Context) {
	for len(s.queue) > 0 && s.running < s.limit {
		t := s.queue[0]
		s.queue = s.queue[1:]
		if t.state != waiting { // withdrawn meanwhile
			continue
		}
		t.state, t.ran = running, max(t.ran, t.slot)
		s.running++
		w, slot := t.work, t.slot
		if t.seat.Number > 0 {
			s.spool.Begin(slot)
		}
		s.runs.Go(func() {
			s.run(ctx, t.key, w, slot)
			s.finished <- t // has room for every run
		})
	}
	s.status.busy(s.running, len(s.queue))
}

// finish takes a key back whose run has been recorded.
func (s *scheduler) finish(t *timetable) {
	s.running--
	t.state = idle
	s.report(t)
	if t.work == nil {
		delete(s.entries, t.key)
	}
}

// drain waits for the runs that go on. Slots that wait for a place are left to
// the next start, which finds them missing.
func (s *scheduler) drain(atMost time.Duration) {
	deadline := time.NewTimer(atMost)
	defer deadline.Stop()
	for _, t := range s.entries {
		s.refuseHeld(t, protocol.SkipDown)
	}
	for s.running > 0 {
		select {
		case t := <-s.finished:
			s.finish(t)
		case <-deadline.C:
			s.log.Warn("stopping with runs unfinished; their slots will be recorded as not executed", "runs", s.running)
			return
		}
	}
}

// dueHeap orders timetables by their next slot.
type dueHeap []*timetable

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].next < h[j].next }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *dueHeap) Push(x any) {
	t := x.(*timetable)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *dueHeap) Pop() any {
	old := *h
	n := len(old) - 1
	t := old[n]
	old[n] = nil
	*h = old[:n]
	t.index = -1
	return t
}
