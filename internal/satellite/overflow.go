package satellite

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// span is the key and the slots that a record accounts for. A record without a
// slot (it cannot come from this build) has none.
func span(r *protocol.Record) (key check.Key, from, to int64) {
	if k := r.Skip; k != nil {
		return check.Key{CheckID: k.ConfigID, SystemID: k.SystemID, EnvironmentID: k.EnvironmentID}, k.From, k.To
	}
	if res := r.Result; res != nil {
		key = check.Key{CheckID: res.ConfigID, SystemID: res.SystemID, EnvironmentID: res.EnvironmentID.OrZero()}
		return key, res.Slot, res.Slot
	}
	return check.Key{}, 0, 0
}

// standIn is the skip that accounts for a record's slots in its place: the record
// itself if it is one, else one of reason overflow.
func standIn(r *protocol.Record) *protocol.Skip {
	if r.Skip != nil {
		skip := *r.Skip
		return &skip
	}
	key, from, to := span(r)
	return newSkip(key, from, to, 1, protocol.SkipOverflow)
}

func newSkip(key check.Key, from, to, count int64, reason protocol.SkipReason) *protocol.Skip {
	return &protocol.Skip{
		ConfigID: key.CheckID, SystemID: key.SystemID, EnvironmentID: key.EnvironmentID,
		From: from, To: to, Count: count, Reason: reason,
	}
}

// maxLines is how many skips a summary keeps for one key. A key that changes
// between reasons more often has all of them called overflow.
const maxLines = 8

// maxAsked is how many answers to runs that the core asked for a summary keeps. They
// are not part of the account; beyond that, the oldest go.
const maxAsked = 256

// summarise returns records that account for the same slots as those given, with
// skips in place of results. Neighbours of a key with the same reason become one.
// Each carries the sequence number of the last record it stands for, so that
// order, per key and overall, remains. results is how many results were dropped.
func summarise(records []stored) (summary []stored, results int64) {
	lines := make(map[check.Key][]protocol.Record)
	var asked []stored
	for i := range records {
		r := &records[i].Record
		if r.Result != nil {
			results++
		}
		key, _, to := span(r)
		if to == 0 {
			continue
		}
		if records[i].Asked {
			asked = append(asked, stored{protocol.Record{Seq: r.Seq, Skip: standIn(r)}, true})
			continue
		}
		kept := lines[key]
		next := protocol.Record{Seq: r.Seq, Skip: standIn(r)}
		if n := len(kept); n > 0 && kept[n-1].Skip.Reason == next.Skip.Reason {
			join(&kept[n-1], &next)
		} else {
			kept = append(kept, next)
		}
		if len(kept) > maxLines {
			for i := range kept[1:] {
				join(&kept[0], &kept[i+1])
			}
			kept[0].Skip.Reason = protocol.SkipOverflow
			kept = kept[:1]
		}
		lines[key] = kept
	}
	summary = append(summary, asked[max(0, len(asked)-maxAsked):]...)
	for _, kept := range lines {
		for _, line := range kept {
			summary = append(summary, stored{Record: line})
		}
	}
	slices.SortFunc(summary, func(a, b stored) int { return cmp.Compare(a.Seq, b.Seq) })
	return summary, results
}

// join lets a account for the slots of b too, which come after its own.
func join(a, b *protocol.Record) {
	a.Seq = b.Seq
	a.Skip.To = b.Skip.To
	a.Skip.Count += b.Skip.Count
}

// makeRoom brings the spool back under its bound: the oldest segment that has not
// begun to be sent is replaced by its summary, together with the summary before
// it, until it fits or there is nothing left to drop. That takes some writing, so
// it waits while the disk takes none.
func (s *spool) makeRoom() {
	for s.bytes > s.limit && len(s.tail) == 0 {
		victim := s.droppable()
		if victim < 0 {
			return
		}
		if victim == len(s.segments)-1 {
			s.seal()
		}
		if err := s.drop(victim); err != nil {
			s.fail(fmt.Errorf("making room in the spool: %w", err))
			return
		}
	}
}

// droppable is the index of the oldest segment of which nothing was sent and which
// is no summary, or -1.
func (s *spool) droppable() int {
	return slices.IndexFunc(s.segments, func(seg *segment) bool {
		return seg.first > s.at.sent && !seg.summary
	})
}

// drop replaces the segment by a summary of it and, if it can, of the summary
// before it. The replacement is one rename: a crash leaves the old or the new,
// and at most a superseded summary, which the next start removes (adopt).
func (s *spool) drop(victim int) error {
	seg := s.segments[victim]
	covers, first := seg.covers, victim
	if victim > 0 && s.segments[victim-1].summary && s.segments[victim-1].first > s.at.sent {
		first = victim - 1
		covers = s.segments[first].covers
	}
	var records []stored
	for _, old := range s.segments[first : victim+1] {
		again := segment{path: old.path}
		if _, err := again.load(func(r *stored) { records = append(records, *r) }); err != nil {
			return err
		}
	}
	summary, results := summarise(records)
	replacement := &segment{path: seg.path, name: seg.name, covers: covers, summary: true}
	content := segmentHeader(summaryMagic, covers)
	for i := range summary {
		var err error
		if content, err = appendFrame(content, &summary[i]); err != nil {
			return err
		}
		replacement.note(summary[i].Seq)
	}
	replacement.size = int64(len(content))
	if err := writeDurably(seg.path, content, s.sync); err != nil {
		return err
	}
	s.bytes += replacement.size - seg.size
	s.segments[victim] = replacement
	s.at.dropped += results
	s.savePosition()
	s.log.Warn("the spool is full: dropped its oldest results", "results", results, "limit_bytes", s.limit)
	return s.remove(first, victim)
}

// hold keeps an entry in memory that the disk did not take. Beyond tailBytes the
// older half of what was not sent yet is summarised.
func (s *spool) hold(e entry, err error) {
	if err != nil {
		s.fail(err)
	}
	s.tail = append(s.tail, e)
	s.tailSize += e.size
	if s.tailSize <= tailBytes {
		return
	}
	unsent := slices.IndexFunc(s.tail, func(e entry) bool { return e.Seq > s.at.sent })
	if unsent < 0 {
		return
	}
	half := unsent + (len(s.tail)-unsent+1)/2
	records := make([]stored, 0, half-unsent)
	for _, e := range s.tail[unsent:half] {
		records = append(records, e.stored)
	}
	summary, results := summarise(records)
	var short []entry
	for i := range summary {
		frame, err := appendFrame(nil, &summary[i])
		if err != nil {
			s.log.Error("a record cannot be written", "error", err)
			return
		}
		short = append(short, entry{summary[i], int64(len(frame))})
	}
	s.tail = slices.Replace(s.tail, unsent, half, short...)
	s.tailSize = 0
	for _, e := range s.tail {
		s.tailSize += e.size
	}
	s.at.dropped += results
	s.savePosition()
}

// writeTail writes down what waits in memory.
func (s *spool) writeTail() error {
	for len(s.tail) > 0 {
		e := s.tail[0]
		frame, err := appendFrame(nil, &e.stored)
		if err != nil {
			return err
		}
		if err := s.writeFrame(e.Seq, frame); err != nil {
			return err
		}
		s.tail = s.tail[1:]
		s.tailSize -= e.size
	}
	s.makeRoom()
	return nil
}
