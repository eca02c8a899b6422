package hub

import (
	"context"
	"fmt"
	"time"

	"github.com/perigee-monitoring/perigee/internal/secret"
	"github.com/perigee-monitoring/perigee/internal/trial"
	"github.com/perigee-monitoring/perigee/protocol"
)

// Trials are the checks that people try; *trial.Service is one.
type Trials interface {
	// Claim takes what is to be tried at these satellites; each is given to one core only.
	Claim(ctx context.Context, satelliteIDs []string) ([]trial.Order, error)
	// Answer hands an answer to who asked.
	Answer(ctx context.Context, id string, a trial.Answer) error
}

const (
	// maxTrials bounds the trials of one satellite that may still be answered.
	maxTrials = 32
	// trialGrace is how long after its deadline a trial may be answered, and its secrets
	// be asked for.
	trialGrace = 15 * time.Second
)

// openTrial is a trial that a satellite was given, and until when it counts.
type openTrial struct {
	secret.Trial
	until time.Time
}

// tryNow passes on what is to be tried at the satellites that are connected here.
func (h *Hub) tryNow(ctx context.Context) error {
	if h.config.Trials == nil {
		return nil
	}
	sessions := map[string]*session{}
	var ids []string
	for _, s := range h.snapshot() {
		sessions[s.id] = s
		ids = append(ids, s.id)
	}
	timed, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	orders, err := h.config.Trials.Claim(timed, ids)
	if err != nil {
		return fmt.Errorf("taking the checks that are to be tried: %w", err)
	}
	for _, o := range orders {
		if why := sessions[o.SatelliteID].try(o); why != "" {
			if err := h.config.Trials.Answer(timed, o.ID, trial.Answer{Refused: why}); err != nil {
				return fmt.Errorf("refusing a trial: %w", err)
			}
		}
	}
	return nil
}

// try has the satellite try the check, or says why it does not. An original agent runs
// what it is given by its schedule and answers to history, so that it is not asked.
func (s *session) try(o trial.Order) (refused string) {
	if !s.features.has(protocol.FeatureTry) {
		return "it does not know how to try checks; update it"
	}
	now := time.Now()
	s.mu.Lock()
	for id, t := range s.trials {
		if now.After(t.until) {
			delete(s.trials, id)
		}
	}
	if s.phase != open || len(s.trials) >= maxTrials {
		s.mu.Unlock()
		return "it has too many checks to try"
	}
	if s.trials == nil {
		s.trials = map[string]*openTrial{}
	}
	s.trials[o.ID] = &openTrial{Trial: o.Trial, until: now.Add(o.Deadline + trialGrace)}
	s.mu.Unlock()
	s.send(&protocol.Try{RequestID: o.ID, Assignment: *o.Trial.Assignment, DeadlineMs: o.Deadline.Milliseconds()})
	return ""
}

// openTrials are those of which the satellite may have the secrets now.
func (s *session) openTrials() []*secret.Trial {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*secret.Trial
	for _, t := range s.trials {
		if !now.After(t.until) {
			all = append(all, &t.Trial)
		}
	}
	return all
}

// tried hands on what a trial found, without what its secrets hold. An answer to what was
// not asked is nobody's.
func (s *session) tried(m *protocol.Tried) {
	s.mu.Lock()
	t := s.trials[m.RequestID]
	delete(s.trials, m.RequestID)
	s.mu.Unlock()
	if t == nil || time.Now().After(t.until) {
		s.warn("ignored the answer to a trial that was not asked for", "trial", m.RequestID)
		return
	}
	s.aside(func() {
		ctx, cancel := context.WithTimeout(s.hub.base, callTimeout)
		defer cancel()
		answer := trial.Answer{Result: m.Result, TookMs: m.TookMs, Fences: m.Fences, ExecutedAt: m.ExecutedAt, Inconclusive: m.Inconclusive, Refused: m.Error}
		if err := s.trialRedacted(ctx, &t.Trial, &answer); err != nil {
			s.logger().Error("a trial was withheld: its secrets cannot be taken out", "trial", m.RequestID, "error", err)
			answer = trial.Answer{Refused: withheld}
		}
		if err := s.hub.config.Trials.Answer(ctx, m.RequestID, answer); err != nil {
			s.logger().Error("the answer to a trial was not handed on", "trial", m.RequestID, "error", err)
		}
	})
}

func (s *session) trialRedacted(ctx context.Context, t *secret.Trial, a *trial.Answer) error {
	if s.hub.config.Secrets == nil {
		return nil
	}
	r, err := s.hub.config.Secrets.TrialRedactor(ctx, t)
	if err != nil {
		return err
	}
	if a.Result != nil {
		r.Result(a.Result)
	}
	a.Refused, a.Inconclusive = r.String(a.Refused), r.String(a.Inconclusive)
	return nil
}

// abandonTrials answers for those that the satellite did not before its session ended.
func (s *session) abandonTrials() {
	s.mu.Lock()
	left := s.trials
	s.trials = nil
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.hub.base, callTimeout)
	defer cancel()
	for id := range left {
		if err := s.hub.config.Trials.Answer(ctx, id, trial.Answer{Refused: "its connection ended before it answered"}); err != nil {
			s.logger().Warn("the end of a trial was not told", "trial", id, "error", err)
		}
	}
}
