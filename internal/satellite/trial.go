package satellite

import (
	"context"
	"fmt"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/assertion"
	"github.com/perigee-monitoring/perigee/protocol"
)

const (
	// maxTrials bounds the trials that go on at once, beside everything else, and
	// maxTrialsHeard those together with the ones that are being refused.
	maxTrials      = 4
	maxTrialsHeard = 64
	// trialTime bounds a trial of which the core says nothing.
	trialTime = 20 * time.Second
	// maxTried bounds what a trial shows, in bytes. What is never stored is shown too, as
	// far as there is room.
	maxTried = 512 << 10
)

// try runs what the core wants to be tried, and answers. It touches neither the spool nor
// the schedule: nobody but who asked is to hear of it.
func (s *session) try(m *protocol.Try) {
	if !s.agreed(protocol.FeatureTry) {
		return
	}
	n := s.trials.Add(1)
	if n > maxTrialsHeard {
		s.trials.Add(-1)
		s.log.Warn("dropped a check that the core wants to be tried: too many wait")
		return
	}
	s.work.Go(func() {
		defer s.trials.Add(-1)
		answer := &protocol.Tried{RequestID: m.RequestID, Error: "it is trying as many checks as it may at once; wait a moment"}
		if n <= maxTrials {
			answer = s.executor.try(s.life, m)
		}
		if err := s.send(answer); err != nil && s.life.Err() == nil {
			s.log.Warn("the answer to a trial was not sent", "error", err)
		}
	})
}

// try carries out a trial.
func (x *executor) try(ctx context.Context, m *protocol.Try) *protocol.Tried {
	answer := &protocol.Tried{RequestID: m.RequestID}
	refuse := func(reason string) *protocol.Tried {
		answer.Error = check.Truncate(reason, protocol.MaxText)
		return answer
	}
	a := &m.Assignment
	if err := x.prober.Check(a); err != nil {
		return refuse(err.Error())
	}
	w := &work{assignment: a, within: trialTime}
	if m.DeadlineMs > 0 {
		w.within = min(time.Duration(m.DeadlineMs)*time.Millisecond, maxRunTime)
	}
	if len(a.Environments) > 0 {
		w.environment = &a.Environments[0]
	}
	began := time.Now()
	l := &lease{secrets: x.secrets, configID: a.ConfigID}
	r, err := x.execute(ctx, w, l)
	if err != nil {
		return refuse(err.Error())
	}
	answer.Inconclusive = x.inconclusive(ctx, r, began)
	assertions, collectorIDs := assertionsOf(a)
	assertion.Explain(assertions, &r)
	assertion.Slow(boundsOf(a), &r)
	fit(collectorIDs, &r)
	tried := record(w, r, 0, x.now())
	answer.Result, answer.TookMs, answer.Fences, answer.ExecutedAt = tried.Result, r.TookMs, r.Fences, tried.ExecutedAt
	if err := answer.Validate(); err != nil {
		answer.Result = nil
		return refuse(err.Error())
	}
	return answer
}

// fit leaves out what there is no room for, and says so.
func fit(collectorIDs map[string]string, r *check.Result) {
	size := func() (n int) {
		for _, found := range r.Metadata.Collectors {
			n += len(found)
		}
		return n
	}
	if size() <= maxTried {
		return
	}
	assertion.StripEphemeral(collectorIDs, r)
	if n := size(); n > maxTried {
		r.Metadata.Collectors = nil
		r.Metadata.Error = fmt.Sprintf("what was found, %d bytes, is left out: the limit is %d. %s", n, maxTried, r.Metadata.Error)
	}
}
