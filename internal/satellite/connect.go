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
	// ErrSuperseded: another process uses the same identity, and is newer.
	ErrSuperseded = errors.New("superseded by another process with the same identity")
)

const (
	dialTimeout = 20 * time.Second
	// shutdownPause is how long a satellite stays away that was asked to disconnect.
	shutdownPause = 5 * time.Minute
)

// connect keeps a session with the core until the context ends, or until the
// core says that there is no point in coming back.
func (s *Satellite) connect(ctx context.Context) error {
	attempt := 0
	for {
		authenticated, err := s.oneSession(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if final := final(err); final != nil {
			s.state.lost(final)
			return final
		}
		if authenticated {
			attempt = 0
		}
		delay := pause(err, attempt)
		attempt++
		s.state.lost(err)
		s.log.Warn("not connected to the core; trying again", "error", err, "in", delay.Round(time.Millisecond))
		timer := time.NewTimer(delay)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

func (s *Satellite) oneSession(ctx context.Context) (authenticated bool, err error) {
	dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := s.dial(dialCtx)
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
	return fmt.Errorf("%w (code %d): %s", ErrRefused, closed.Code, closed.Reason)
}

// pause is how long to stay away: what the core wishes, or the back-off.
func pause(err error, attempt int) time.Duration {
	if _, ok := errors.AsType[*shutdownError](err); ok {
		return jitter(shutdownPause)
	}
	delay := backoff(attempt)
	if refused, ok := errors.AsType[*link.HandshakeError](err); ok && refused.RetryAfter > 0 {
		return max(delay, refused.RetryAfter+jitter(refused.RetryAfter/4))
	}
	return delay
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
