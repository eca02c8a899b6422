package satellite

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

// sender ships the spool through one session: batches that the core acknowledges
// (our core), or single results that count as delivered once a pong has answered
// a ping sent after them (an original core, which acknowledges nothing). Either
// way it begins with the first record that is not acknowledged, keeps a bounded
// amount in flight and does not wait for one answer before it sends the next.
type sender struct {
	spool *spool
	conn  link.Conn
	log   *slog.Logger
	// batches: the core takes Results and answers with Ack.
	batches bool
	// slots: results may name their slot and revision, and skips may be sent.
	slots bool
	// marks: the core knows results that are inconclusive.
	marks    bool
	refusals *refusals

	mu     sync.Mutex
	acked  int64
	credit int64
	bell   chan struct{} // acked or credit changed
}

// What an original core is sent at once. Its handler works on the messages of one
// connection at the same time, so this is how many of its inserts we cause.
const (
	plainBatch   = 25
	plainRecords = 100
	plainCredit  = 256 << 10
)

// flight is a batch on its way.
type flight struct {
	upTo    int64
	bytes   int64
	records int
}

func newSender(sp *spool, conn link.Conn, log *slog.Logger, batches, slots bool, credit int64, r *refusals) *sender {
	s := &sender{
		spool: sp, conn: conn, log: log, batches: batches, slots: slots, refusals: r,
		acked: sp.Acked(), credit: credit, bell: make(chan struct{}, 1),
	}
	if !batches {
		s.credit = plainCredit
	} else if credit <= 0 {
		s.credit = protocol.MaxBatchBytes
	}
	return s
}

// Run sends until the context ends or the connection does.
func (s *sender) Run(ctx context.Context) error {
	var flights []flight
	next := s.spool.Acked()
	for {
		acked, credit := s.window()
		s.spool.Ack(acked)
		var bytes int64
		var records int
		for len(flights) > 0 && flights[0].upTo <= acked {
			flights = flights[1:]
		}
		for _, f := range flights {
			bytes += f.bytes
			records += f.records
		}
		sent, err := s.sendNext(next, credit-bytes, records)
		if err != nil {
			return err
		}
		if sent.records > 0 {
			next = sent.upTo
			flights = append(flights, sent)
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.bell:
		case <-s.spool.arrived:
		}
	}
}

// sendNext sends one batch if the window has room for it. When nothing is in
// flight there is always room, or a record larger than the window would never go.
func (s *sender) sendNext(after, room int64, inFlight int) (flight, error) {
	maxRecords := protocol.MaxBatchRecords
	if !s.batches {
		maxRecords = min(plainBatch, plainRecords-inFlight)
	}
	if room <= 0 && inFlight > 0 || maxRecords <= 0 {
		return flight{}, nil
	}
	batch, err := s.spool.Take(after, min(room, protocol.MaxBatchBytes-batchEnvelope), maxRecords, inFlight == 0)
	if err != nil || len(batch) == 0 {
		return flight{}, err
	}
	f := flight{upTo: batch[len(batch)-1].Seq, records: len(batch)}
	for _, e := range batch {
		f.bytes += e.size
	}
	if s.batches {
		return f, s.sendBatch(batch)
	}
	return f, s.sendPlain(batch, f.upTo)
}

// batchEnvelope is room for what a batch has around its records.
const batchEnvelope = 64

func (s *sender) sendBatch(batch []entry) error {
	m := &protocol.Results{Records: make([]protocol.Record, len(batch))}
	for i, e := range batch {
		m.Records[i] = s.unmarked(e.Record)
	}
	frame, err := protocol.Encode(m)
	if err != nil {
		return err
	}
	if err := s.conn.Write(frame); err != nil {
		return fmt.Errorf("sending results: %w", err)
	}
	return nil
}

// unmarked is the record for a core that knows no inconclusive results: what we know to
// be a failure of ours is not told as one of the target's. Its slot is accounted for.
func (s *sender) unmarked(r protocol.Record) protocol.Record {
	if s.marks || r.Result == nil || r.Result.Inconclusive == "" {
		return r
	}
	key := check.Key{CheckID: r.Result.ConfigID, SystemID: r.Result.SystemID, EnvironmentID: r.Result.EnvironmentID.OrZero()}
	return protocol.Record{Seq: r.Seq, Skip: newSkip(key, r.Result.Slot, r.Result.Slot, 1, protocol.SkipInconclusive)}
}

// sendPlain sends results one by one and a ping after them.
func (s *sender) sendPlain(batch []entry, upTo int64) error {
	for _, e := range batch {
		if e.Result == nil || !s.marks && e.Result.Inconclusive != "" {
			continue // an original core knows no skips, and would take our failure for one of the target
		}
		r := *e.Result
		if !s.slots {
			r.Slot, r.Revision = 0, 0
		}
		frame, err := protocol.Encode(&r)
		if err != nil {
			return err
		}
		if err := s.conn.Write(frame); err != nil {
			return fmt.Errorf("sending a result: %w", err)
		}
	}
	return s.conn.Ping(func() { s.answered(upTo, 0) })
}

// ack takes in an acknowledgement. It is called by the reading goroutine and does
// not block; the spool hears of it from Run.
func (s *sender) ack(m *protocol.Ack) {
	for _, r := range m.Refused {
		s.refusals.add(r)
		s.log.Warn("the core refused a record for good", "seq", r.Seq, "reason", check.Truncate(r.Reason, 200))
	}
	s.answered(m.UpTo, min(m.Credit, protocol.MaxCredit))
}

func (s *sender) answered(upTo, credit int64) {
	s.mu.Lock()
	s.acked = max(s.acked, upTo)
	if credit > 0 {
		s.credit = credit
	}
	s.mu.Unlock()
	ring(s.bell)
}

func (s *sender) window() (acked, credit int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked, s.credit
}

// refusals counts what the core would not take, and keeps the last.
type refusals struct {
	mu    sync.Mutex
	count int64
	last  string
}

func (r *refusals) add(refused protocol.Refused) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	r.last = check.Truncate(refused.Reason, 500)
}

func (r *refusals) get() (count int64, last string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count, r.last
}
