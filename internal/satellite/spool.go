package satellite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// spool keeps records from the moment a slot is accounted for until the core has
// them. It is an append-only log in segment files, with three additions: how far
// the core is (position), for each key the last slot accounted for (read off the
// records; of records that are deleted, off the checkpoint), and a bound on its
// size.
//
// What survives: a kill at any instant loses nothing, because every write is in
// the kernel's hands before the call returns. A power cut loses what was written
// since the last sync: at most syncInterval or syncBytes, whichever is less. A
// record that was not written to its end is cut off at the next start.
//
// When it is full: the oldest segment that has not begun to be sent is replaced
// by a summary, in which skips of reason overflow stand for the results, so that
// no slot goes unaccounted. What may have reached the core is never dropped,
// because it would then be accounted for twice.
//
// When the disk does not take a write, records wait in memory (at most tailBytes;
// beyond that, the oldest are summarised likewise) and can be sent from there;
// the write is tried again every syncInterval. Append never fails and never
// blocks on anything but the disk.
type spool struct {
	dir         string
	limit       int64
	segmentSize int64
	log         *slog.Logger

	// (*os.File).Write and Sync. Tests fill the disk here, and spare it.
	write func(*os.File, []byte) (int, error)
	sync  func(*os.File) error

	// Bells, each of size one: more than one ring means the same as one.
	arrived  chan struct{} // records to send
	progress chan struct{} // records acknowledged
	dirty    chan struct{} // something to sync
	urgent   chan struct{} // a lot to sync

	mu       sync.Mutex
	segments []*segment // oldest first
	active   *os.File   // the last segment, if it still takes records
	position *positionFile
	at       position
	next     int64 // sequence number of the next record
	slots    map[check.Key]int64
	bytes    int64 // of all segments
	unsynced int64
	tail     []entry // what the disk did not take; it follows what is on disk
	tailSize int64
	failure  error // why tail is not empty, or a sync failed
	cursor   cursor
}

// entry is a record with the size of its frame.
type entry struct {
	stored
	size int64
}

const (
	syncInterval = time.Second
	syncBytes    = 1 << 20
	tailBytes    = 4 << 20
	// maxSegment and minSegment bound a segment file; in between it is a sixteenth
	// of the spool, so that what is dropped at once is a small part.
	maxSegment = 4 << 20
	minSegment = 4 << 10
	// DefaultSpoolBytes is the bound of a spool that is not told another.
	DefaultSpoolBytes = 256 << 20
	// MinSpoolBytes is the smallest spool: the most that can be in flight, and room
	// beside it.
	MinSpoolBytes = 1 << 20
)

// openSpool opens the spool in the folder, or makes one.
func openSpool(dir string, limit int64, log *slog.Logger) (*spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening spool: %w", err)
	}
	s := &spool{
		dir:         dir,
		limit:       limit,
		segmentSize: min(max(limit/16, minSegment), maxSegment),
		log:         log,
		write:       (*os.File).Write,
		sync:        (*os.File).Sync,
		arrived:     make(chan struct{}, 1),
		progress:    make(chan struct{}, 1),
		dirty:       make(chan struct{}, 1),
		urgent:      make(chan struct{}, 1),
		slots:       make(map[check.Key]int64),
	}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("opening spool: %w", err)
	}
	return s, nil
}

func (s *spool) load() error {
	if err := removeLeftovers(s.dir); err != nil {
		return err
	}
	through, err := s.loadCheckpoint()
	if err != nil {
		return err
	}
	if s.position, s.at, err = openPosition(filepath.Join(s.dir, "position")); err != nil {
		return err
	}
	for range 2 { // both slots exist from now on: writing them needs no room on a full disk
		if err := s.position.write(s.at); err != nil {
			return err
		}
	}
	found, err := listSegments(s.dir)
	if err != nil {
		return err
	}
	for _, seg := range found {
		if err := s.adopt(seg, through); err != nil {
			return err
		}
	}
	s.next = max(through, s.at.acked, s.at.sent) + 1
	if n := len(s.segments); n > 0 {
		s.next = max(s.next, s.segments[n-1].last+1)
	}
	return s.reopen()
}

// reopen goes on with the last segment if it takes more records. After a torn
// record that may have been sent there is a gap in the numbers; what follows it
// goes into a segment of its own, so that a segment's records can be counted.
func (s *spool) reopen() error {
	n := len(s.segments)
	if n == 0 || s.segments[n-1].summary || s.segments[n-1].size >= s.segmentSize || s.segments[n-1].last+1 != s.next {
		return nil
	}
	f, err := os.OpenFile(s.segments[n-1].path, os.O_RDWR|os.O_APPEND, 0o600)
	s.active = f
	return err
}

// removeLeftovers deletes files whose writing did not come to its end.
func removeLeftovers(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), temporaryPrefix) {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// adopt takes in a segment that was found on disk. Slots of records up to through
// are in the checkpoint already.
func (s *spool) adopt(seg *segment, through int64) error {
	good, err := seg.load(func(r *stored) {
		if r.Seq > through {
			s.account(r)
		}
	})
	if err != nil {
		return err
	}
	if torn := seg.size - good; torn > 0 {
		s.log.Warn("cut off the torn end of a spool segment", "segment", filepath.Base(seg.path), "bytes", torn)
		if err := os.Truncate(seg.path, good); err != nil {
			return err
		}
		seg.size = good
	}
	if seg.records == 0 {
		return os.Remove(seg.path)
	}
	for n := len(s.segments); n > 0 && s.segments[n-1].name >= seg.covers; n-- {
		if err := s.remove(n-1, n); err != nil {
			return err
		}
	}
	s.segments = append(s.segments, seg)
	s.bytes += seg.size
	return nil
}

// Append takes in one record and gives it its sequence number.
func (s *spool) Append(r protocol.Record) { s.append(stored{Record: r}) }

// AppendAsked takes in the record of a run that the core asked for, beside the
// schedule.
func (s *spool) AppendAsked(r protocol.Record) { s.append(stored{Record: r, Asked: true}) }

func (s *spool) append(r stored) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Seq = s.next
	frame, err := appendFrame(nil, &r)
	if err != nil { // Encodable is asked before; this keeps the account if it was not
		s.log.Error("a record cannot be written", "error", err)
		r.Record = protocol.Record{Seq: r.Seq, Skip: standIn(&r.Record)}
		frame, _ = appendFrame(nil, &r)
	}
	s.next++
	s.account(&r)
	if len(s.tail) == 0 {
		err = s.writeFrame(r.Seq, frame)
	}
	if len(s.tail) > 0 || err != nil {
		s.hold(entry{r, int64(len(frame))}, err)
	}
	s.makeRoom()
	ring(s.arrived)
	ring(s.dirty)
}

// account notes the record's slot as the last one of its key. Records of a key
// come in the order of their slots; only a clock that was set back lowers it.
func (s *spool) account(r *stored) {
	key, _, to := span(&r.Record)
	if to != 0 && !r.Asked {
		s.slots[key] = to
	}
}

// writeFrame writes to the active segment, which it opens when there is none.
func (s *spool) writeFrame(seq int64, frame []byte) error {
	if s.active == nil {
		if err := s.roll(seq); err != nil {
			return err
		}
	}
	seg := s.segments[len(s.segments)-1]
	if _, err := s.write(s.active, frame); err != nil {
		// What was written of it must not stay in front of the next record.
		if cut := s.active.Truncate(seg.size); cut != nil {
			s.seal()
		}
		return err
	}
	seg.note(seq)
	seg.size += int64(len(frame))
	s.bytes += int64(len(frame))
	s.unsynced += int64(len(frame))
	if s.unsynced > syncBytes {
		ring(s.urgent)
	}
	if seg.size >= s.segmentSize {
		s.seal()
	}
	return nil
}

// roll begins a new active segment.
func (s *spool) roll(seq int64) error {
	path := segmentPath(s.dir, seq)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if _, err := s.write(f, segmentHeader(segmentMagic, seq)); err != nil {
		return errors.Join(err, f.Close(), os.Remove(path))
	}
	s.segments = append(s.segments, &segment{path: path, name: seq, covers: seq, size: headerSize})
	s.bytes += headerSize
	s.active = f
	return nil
}

// seal ends the active segment: it is synced and takes no more records.
func (s *spool) seal() {
	if s.active == nil {
		return
	}
	if err := errors.Join(s.sync(s.active), s.active.Close(), syncFolder(s.dir, s.sync)); err != nil {
		s.fail(err)
	}
	s.active = nil
	s.unsynced = 0
	if n := len(s.segments); s.segments[n-1].records == 0 {
		if err := s.remove(n-1, n); err != nil {
			s.fail(err)
		}
	}
}

// Ack says that everything up to seq is the core's. Segments of which that is
// true are deleted.
func (s *spool) Ack(seq int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq = min(seq, s.at.sent); seq <= s.at.acked {
		return
	}
	s.at.acked = seq
	s.savePosition()
	s.trim()
	ring(s.progress)
	ring(s.dirty)
}

func (s *spool) trim() {
	for len(s.tail) > 0 && s.tail[0].Seq <= s.at.acked {
		s.tailSize -= s.tail[0].size
		s.tail = s.tail[1:]
	}
	done := 0
	for done < len(s.segments) && s.segments[done].last <= s.at.acked {
		done++
	}
	if s.active != nil && done == len(s.segments) {
		done--
	}
	if done == 0 || len(s.tail) > 0 {
		return
	}
	err := s.saveCheckpoint()
	if err == nil {
		err = s.remove(0, done)
	}
	if err != nil {
		s.fail(fmt.Errorf("trimming spool: %w", err))
	}
}

// remove deletes the segments [from, to).
func (s *spool) remove(from, to int) error {
	for range to - from {
		seg := s.segments[from]
		if err := os.Remove(seg.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.bytes -= seg.size
		s.segments = slices.Delete(s.segments, from, from+1)
	}
	return nil
}

func (s *spool) savePosition() {
	if err := s.position.write(s.at); err != nil {
		s.fail(fmt.Errorf("writing the spool's position: %w", err))
	}
}

// fail notes a failure of the disk; the first of a series is logged.
func (s *spool) fail(err error) {
	if s.failure == nil {
		s.log.Error("the spool cannot use its disk; trying again", "error", err)
	}
	s.failure = err
}

// Accounted is the last slot of the key, in Unix milliseconds, that a record
// accounts for.
func (s *spool) Accounted(key check.Key) (slot int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot, ok = s.slots[key]
	return slot, ok
}

// Begin notes, before it is run, that a slot of a seat is: whoever has this disk next
// knows of it also when no record of it came to be.
func (s *spool) Begin(slot int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slot > s.at.begun {
		s.at.begun = slot
		s.savePosition()
	}
}

// Begun is the last slot with which Begin was called.
func (s *spool) Begun() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at.begun
}

// Forget drops what it knows of keys that are not to be kept.
func (s *spool) Forget(keep func(check.Key) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.slots {
		if !keep(key) {
			delete(s.slots, key)
		}
	}
}

// SpoolStatus is what the status page and the heartbeat say of the spool.
type SpoolStatus struct {
	Records int64  `json:"records"` // that wait for the core
	Bytes   int64  `json:"bytes"`   // on disk and in memory, acknowledged segments included
	Limit   int64  `json:"limit"`
	Dropped int64  `json:"dropped"` // results dropped in all
	InRAM   int64  `json:"inMemory,omitempty"`
	Error   string `json:"error,omitempty"`
}

func (s *spool) Status() SpoolStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := SpoolStatus{
		Records: int64(len(s.tail)),
		Bytes:   s.bytes + s.tailSize,
		Limit:   s.limit,
		Dropped: s.at.dropped,
		InRAM:   int64(len(s.tail)),
	}
	for _, seg := range s.segments {
		st.Records += seg.waiting(s.at.acked)
	}
	if s.failure != nil {
		st.Error = s.failure.Error()
	}
	return st
}

// Acked is the sequence number up to which everything is the core's.
func (s *spool) Acked() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at.acked
}

// Run syncs what was written, in groups, and tries again what the disk did not take.
func (s *spool) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.dirty:
		}
		pause := time.NewTimer(syncInterval)
		select {
		case <-ctx.Done():
		case <-s.urgent:
		case <-pause.C:
		}
		pause.Stop()
		s.flush()
	}
}

// flush writes what waits in memory and syncs the active segment, during which
// appending goes on.
func (s *spool) flush() {
	s.mu.Lock()
	err := s.writeTail()
	active, size := s.active, s.unsynced
	s.mu.Unlock()
	if active != nil && size > 0 {
		// A segment that was sealed meanwhile is synced already.
		if synced := s.sync(active); !errors.Is(synced, os.ErrClosed) {
			err = errors.Join(err, synced)
		}
	}
	err = errors.Join(err, s.sync(s.position.f))

	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.fail(err)
		ring(s.dirty)
		return
	}
	if s.active == active {
		s.unsynced = max(0, s.unsynced-size)
	}
	if s.failure != nil && len(s.tail) == 0 {
		s.log.Info("the spool can use its disk again")
		s.failure = nil
	}
}

// Close writes everything down and deletes what the core has. The spool cannot
// be used afterwards.
func (s *spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.writeTail()
	s.seal()
	s.trim()
	if err = errors.Join(err, s.sync(s.position.f), s.position.f.Close(), s.failure); err != nil {
		return fmt.Errorf("closing spool: %w", err)
	}
	return nil
}

// ring rings a bell of size one.
func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
