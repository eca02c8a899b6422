package hub

import (
	"context"

	"golang.org/x/time/rate"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/redact"
	"github.com/perigee-monitoring/perigee/internal/secret"
	"github.com/perigee-monitoring/perigee/protocol"
)

// Secrets gives satellites the values that their assignments declare (spec H);
// *secret.Service is one. An error's message is what the satellite is answered.
type Secrets interface {
	RunEnv(ctx context.Context, ask secret.Ask) (map[string]string, error)
	ConfigSecrets(ctx context.Context, ask secret.Ask) (strategy map[string]string, collectors map[string]map[string]string, err error)
	// Redactor takes out of results what the assignment's secrets hold; nil for one
	// that declares none.
	Redactor(ctx context.Context, a *protocol.Assignment) (*redact.Redactor, error)
	// TrialRedactor is Redactor for a check that is tried.
	TrialRedactor(ctx context.Context, t *secret.Trial) (*redact.Redactor, error)
}

const (
	// A satellite may ask for secrets this often in a second, and this often at once
	// after a while of quiet (M35): a thousand checks each ten seconds.
	secretRate     = 100
	secretBurst    = 500
	tooManySecrets = "Too many requests for secrets from this satellite; wait a moment."
)

// runSecrets answers a request for the secretEnv of a collector (spec H.2).
func (s *session) runSecrets(m *protocol.RequestRunSecrets) {
	if s.hub.config.Secrets == nil {
		s.send(&protocol.RunSecrets{RequestID: m.RequestID, Error: noRunSecrets})
		return
	}
	reply := &protocol.RunSecrets{RequestID: m.RequestID}
	s.askFor(func(why string) { reply.Error = why; s.send(reply) }, func(ctx context.Context) error {
		env, err := s.hub.config.Secrets.RunEnv(ctx, s.ask(m.ConfigID, m.CollectorID, m.RunID))
		if err != nil {
			return err
		}
		reply.Env = env
		if s.features.has(protocol.FeatureSeal) {
			reply.Sealed, err = protocol.Seal(s.sealKey, m.RequestID, reply)
			reply.Env = nil
		}
		return err
	})
}

// configSecrets answers a request for the secrets of a configuration (spec H.3).
func (s *session) configSecrets(m *protocol.RequestConfigSecrets) {
	if s.hub.config.Secrets == nil {
		s.send(&protocol.ConfigSecrets{RequestID: m.RequestID, Error: noConfigSecrets})
		return
	}
	reply := &protocol.ConfigSecrets{RequestID: m.RequestID}
	s.askFor(func(why string) { reply.Error = why; s.send(reply) }, func(ctx context.Context) (err error) {
		reply.Strategy, reply.Collectors, err = s.hub.config.Secrets.ConfigSecrets(ctx, s.ask(m.ConfigID, "", m.RunID))
		if err == nil && s.features.has(protocol.FeatureSeal) {
			reply.Sealed, err = protocol.Seal(s.sealKey, m.RequestID, reply)
			reply.Strategy, reply.Collectors = nil, nil
		}
		return err
	})
}

// askFor answers a request beside the reading goroutine, within the session's means;
// a satellite that asks for more than it may is told so, and its other messages are
// not held up.
func (s *session) askFor(answer func(why string), get func(context.Context) error) {
	if s.leases == nil {
		s.leases = rate.NewLimiter(secretRate, secretBurst)
	}
	if !s.leases.Allow() {
		s.hub.metrics.secrets.WithLabelValues("too_many").Inc()
		answer(tooManySecrets)
		return
	}
	s.aside(func() {
		ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
		defer cancel()
		err := get(ctx)
		switch {
		case err == nil:
			s.hub.metrics.secrets.WithLabelValues("given").Inc()
			answer("")
		case fault.KindOf(err) == fault.Internal || fault.KindOf(err) == fault.Unavailable:
			s.logger().Error("secrets cannot be given", "error", err)
			s.hub.metrics.secrets.WithLabelValues("failed").Inc()
			answer(fault.Message(err))
		default:
			s.hub.metrics.secrets.WithLabelValues("refused").Inc()
			answer(fault.Message(err))
		}
	})
}

func (s *session) ask(configID, collector, runID string) secret.Ask {
	return secret.Ask{
		SatelliteID: s.id, ConfigID: configID, Collector: collector, RunID: runID,
		Assignments: s.currentSet().order, Guests: s.guests(), Trials: s.openTrials(), Sealed: s.features.has(protocol.FeatureSeal),
	}
}

// withheld stands in place of what cannot be shown because it may hold a secret.
const withheld = "[withheld: it may hold a secret, and which ones could not be found out]"

// redacted takes out of a result what the pair's secrets hold, once more than the
// satellite did (M36). When the values cannot be had, what the run says is withheld;
// its verdict stays. A result whose session has ended meanwhile may be stored still, so
// it is not the session's context in which they are looked for.
func (s *session) redacted(set *set, pair protocol.Pair, asked *askedRun, m *protocol.Result) {
	if s.hub.config.Secrets == nil || m.Result == nil || !set.secretive(pair) && !asked.secretive() {
		return
	}
	ctx, cancel := context.WithTimeout(s.hub.base, callTimeout)
	defer cancel()
	for _, a := range []*protocol.Assignment{set.pairs[pair], set.former[pair], asked.guest()} {
		if a == nil {
			continue
		}
		r, err := s.hub.config.Secrets.Redactor(ctx, a)
		if err != nil {
			s.logger().Error("a result was withheld: its secrets cannot be taken out", "config_id", pair.ConfigID, "system_id", pair.SystemID, "error", err)
			m.Result.Message, m.Result.Metadata.Error, m.Result.Metadata.Collectors = withheld, "", nil
			return
		}
		r.Result(m.Result)
	}
}

// secretive reports whether what runs for the pair may refer to secrets.
func (s *set) secretive(pair protocol.Pair) bool { return s.secrets[pair] }

// markSecrets notes the pairs whose assignments, now or before, refer to secrets, so
// that results of all others are not looked at.
func (s *set) markSecrets() {
	mark := func(pair protocol.Pair, a *protocol.Assignment) {
		if !secret.Declares(a) {
			return
		}
		if s.secrets == nil {
			s.secrets = map[protocol.Pair]bool{}
		}
		s.secrets[pair] = true
	}
	for pair, a := range s.pairs {
		mark(pair, a)
	}
	for pair, a := range s.former {
		mark(pair, a)
	}
}
