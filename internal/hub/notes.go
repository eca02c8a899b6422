package hub

import (
	"context"
	"errors"

	"github.com/perigee-monitoring/perigee/protocol"
)

// notes are what a satellite said of itself and is to be kept. Only the latest of
// each counts, so they are bounded however long the database is away, and the
// reading goroutine never waits for it.
type notes struct {
	inventory *protocol.Inventory
	applied   *protocol.Applied
	sync      *protocol.ScriptPackageSyncState
	pulse     *protocol.Pulse // that says something new of the observer
	writing   bool
}

// note changes the notes and sees to it that somebody writes them down.
func (s *session) note(change func(*notes)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.notes)
	if !s.notes.writing {
		s.notes.writing = true
		s.work.Go(s.writeNotes)
	}
}

// writeNotes writes until there is nothing new. Each note is tried at least once,
// and again for as long as the session lives.
func (s *session) writeNotes() {
	for failures := 0; ; {
		s.mu.Lock()
		n := s.notes
		s.notes = notes{writing: n.inventory != nil || n.applied != nil || n.sync != nil || n.pulse != nil}
		more := s.notes.writing
		s.mu.Unlock()
		if !more {
			return
		}
		left, err := s.keep(n)
		if err == nil {
			failures = 0
			continue
		}
		if !again(err) || s.ctx.Err() != nil {
			s.logger().Warn("what the satellite says of itself was not recorded", "error", err)
			continue
		}
		s.putBack(left)
		failures++
		wait(s.ctx, backoff(failures))
	}
}

// keep writes the notes and returns those that could not be.
func (s *session) keep(n notes) (left notes, err error) {
	ctx, cancel := context.WithTimeout(s.hub.base, callTimeout)
	defer cancel()
	f := s.hub.fleet
	if n.inventory != nil {
		if e := f.SetInventory(ctx, s.id, *n.inventory); e != nil {
			left.inventory, err = n.inventory, e
		}
	}
	if n.applied != nil {
		if e := f.SetApplied(ctx, s.id, *n.applied); e != nil {
			left.applied, err = n.applied, errors.Join(err, e)
		}
	}
	if n.sync != nil {
		if e := f.SetSyncState(ctx, s.id, *n.sync); e != nil {
			left.sync, err = n.sync, errors.Join(err, e)
		}
	}
	if n.pulse != nil {
		known, e := f.Observe(ctx, s.id, s.epoch, n.pulse)
		if e != nil {
			left.pulse, err = n.pulse, errors.Join(err, e)
		} else {
			s.mu.Lock()
			s.observer = &known
			s.mu.Unlock()
		}
	}
	return left, err
}

// putBack keeps what could not be written, unless there is newer.
func (s *session) putBack(left notes) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.notes.inventory == nil {
		s.notes.inventory = left.inventory
	}
	if s.notes.applied == nil {
		s.notes.applied = left.applied
	}
	if s.notes.sync == nil {
		s.notes.sync = left.sync
	}
	if s.notes.pulse == nil {
		s.notes.pulse = left.pulse
	}
}
