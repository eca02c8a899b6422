package satellite

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// cursor is where the last Take ended.
type cursor struct {
	segment *segment
	offset  int64
	seq     int64
}

// Take returns the records after seq, oldest first: as many as the bounds allow,
// and, if atLeastOne, one that is larger. From now on they may have reached the
// core.
func (s *spool) Take(after int64, maxBytes int64, maxRecords int, atLeastOne bool) ([]entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := &batch{maxBytes: maxBytes, maxRecords: maxRecords, atLeastOne: atLeastOne}
	for _, seg := range s.segments {
		if seg.last <= after || batch.full {
			continue
		}
		if err := s.read(seg, after, batch); err != nil {
			return nil, fmt.Errorf("reading spool: %w", err)
		}
	}
	for _, e := range s.tail {
		if e.Seq > after {
			batch.add(e)
		}
	}
	if n := len(batch.entries); n > 0 && batch.entries[n-1].Seq > s.at.sent {
		s.at.sent = batch.entries[n-1].Seq
		s.savePosition()
	}
	return batch.entries, nil
}

type batch struct {
	entries    []entry
	bytes      int64
	maxBytes   int64
	maxRecords int
	atLeastOne bool
	full       bool
}

// add takes in an entry if there is room.
func (b *batch) add(e entry) bool {
	fits := b.bytes+e.size <= b.maxBytes && len(b.entries) < b.maxRecords
	if b.full || !fits && !(b.atLeastOne && len(b.entries) == 0) {
		b.full = true
		return false
	}
	b.entries = append(b.entries, e)
	b.bytes += e.size
	return true
}

// read adds the segment's records after seq to the batch.
func (s *spool) read(seg *segment, after int64, into *batch) error {
	offset := int64(headerSize)
	if s.cursor.segment == seg && s.cursor.seq <= after {
		offset = s.cursor.offset
	}
	f, err := os.Open(seg.path)
	if err != nil {
		return err
	}
	defer f.Close()
	window := make([]byte, 0)
	for offset < seg.size {
		payload, n, err := nextFrame(window)
		if err != nil { // the window is used up, or too small for the frame
			size := min(seg.size-offset, max(into.maxBytes, int64(2*len(window)), minSegment))
			if int64(len(window)) == seg.size-offset {
				return fmt.Errorf("%s at %d: %w", filepath.Base(seg.path), offset, errTorn)
			}
			window = make([]byte, size)
			if _, err := f.ReadAt(window, offset); err != nil {
				return err
			}
			continue
		}
		e := entry{size: int64(n)}
		if err := json.Unmarshal(payload, &e.Record); err != nil {
			return err
		}
		if e.Seq > after && !into.add(e) {
			return nil
		}
		window = window[n:]
		offset += int64(n)
		s.cursor = cursor{segment: seg, offset: offset, seq: e.Seq}
	}
	return nil
}
