package satellite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

// Ways in which a satellite stops for good. Starting it again without a person
// having changed something would not help.
var (
	// ErrRefused: the credentials are wrong, were replaced, or the satellite was deleted.
	ErrRefused = errors.New("refused by the core")
	// ErrRemoved is an ErrRefused: the satellite was deleted.
	ErrRemoved = errors.New("deleted at the core")
	// ErrSuperseded: another process uses the same identity, and is newer.
	ErrSuperseded = errors.New("superseded by another process with the same identity")
)

const (
	dialTimeout = 20 * time.Second
	// shutdownPause is how long a satellite stays away that was asked to disconnect.
	shutdownPause = 5 * time.Minute
)

// errDrained: the core is about to stop, and this satellite goes elsewhere.
var errDrained = errors.New("the core is about to stop")

// connect keeps a session with a core until the context ends, or until a core says
// that there is no point in coming back.
func (s *Satellite) connect(ctx context.Context) error {
	way := newRoute(s.config.ID, s.cores)
	met := "" // the core of the last session
	for {
		core := way.core()
		s.state.trying(core.URL)
		if core.URL != met {
			s.clock.reset() // another core, another clock
		}
		met = core.URL
		authenticated, err := s.oneSession(ctx, core)
		if ctx.Err() != nil {
			return nil
		}
		if final := final(err); final != nil {
			s.state.lost(final)
			return final
		}
		delay := way.after(err, authenticated)
		s.state.lost(err)
		s.tellLost(err, core, way.core(), delay)
		timer := time.NewTimer(delay)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

func (s *Satellite) tellLost(err error, from, to Core, delay time.Duration) {
	if errors.Is(err, errDrained) {
		s.log.Info("leaving a core that is about to stop", "core", from.URL, "next", to.URL)
		return
	}
	s.log.Warn("not connected to the core; trying again", "core", from.URL, "error", err, "next", to.URL, "in", delay.Round(time.Millisecond))
}

func (s *Satellite) oneSession(ctx context.Context, core Core) (authenticated bool, err error) {
	dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := core.Dial(dialCtx)
	if err != nil {
		return false, err
	}
	conn.SetReadLimit(protocol.MaxFrame)
	session, err := s.newSession(conn)
	if err != nil {
		conn.Close(protocol.CloseInternal, "satellite failure")
		return false, err
	}
	return session.run(ctx)
}

// final turns the end of a session into an error for good, nil when coming back
// may help. The close codes say so (protocol.ComeBack); so does auth_failed,
// which is all that an original core has (spec M20).
func final(err error) error {
	if refused, ok := errors.AsType[*refusedError](err); ok && refused.reason != protocol.ReasonFirst {
		return fmt.Errorf("%w: %s", ErrRefused, refused.reason)
	}
	closed, ok := errors.AsType[*link.CloseError](err)
	if !ok || closed.Local || protocol.ComeBack(closed.Code) {
		return nil
	}
	if closed.Code == protocol.CloseSuperseded {
		return ErrSuperseded
	}
	if closed.Code == protocol.CloseRemoved {
		return fmt.Errorf("%w: %w (code %d): %s", ErrRefused, ErrRemoved, closed.Code, closed.Reason)
	}
	return fmt.Errorf("%w (code %d): %s", ErrRefused, closed.Code, closed.Reason)
}

// backoff is the wait before the next attempt, the first being 0 (spec K.5).
func backoff(attempt int) time.Duration {
	delay := protocol.ReconnectMax
	if attempt < 5 {
		delay = min(protocol.ReconnectBase<<attempt, protocol.ReconnectMax)
	}
	return jitter(delay)
}

// jitter spreads d by a quarter to either side.
func jitter(d time.Duration) time.Duration {
	return (d + time.Duration((rand.Float64()-0.5)*0.5*float64(d))).Round(time.Millisecond)
}
