package hub

import (
	"cmp"
	"time"

	"github.com/perigee-monitoring/perigee/protocol"
)

// Limits bound what peers may cost. Zero fields take the default.
type Limits struct {
	// AuthTimeout is how long a socket may take to authenticate, and how long the
	// core may take to answer. Default protocol.AuthTimeout (spec M17, M18).
	AuthTimeout time.Duration
	// Sockets that have not authenticated: in all, default 16,384, and from one
	// address, default 8,192. Thousands of satellites behind one address that all
	// come back at once are normal; sockets that say nothing are gone after AuthTimeout.
	Unauthenticated, UnauthenticatedPerAddress int
	// Handshakes worked on at once; the others wait. Default 512.
	Handshakes int
	// FailedAttempts that one address may make at once, default 100, and
	// FailedPerSecond that it gets back, default 5. Beyond them only satellites that
	// have authenticated before are let try from there.
	FailedAttempts  int
	FailedPerSecond float64
	// QueueFrames and QueueBytes bound what waits to be sent to one satellite;
	// beyond them the session ends as slow (spec M24). Defaults 1024 and 8 MiB. A
	// single larger message passes when nothing else waits.
	QueueFrames int
	QueueBytes  int
	// Credit is the bytes of results that a satellite may have in flight (feature
	// ack). Default 1 MiB.
	Credit int64
	// Pending submissions of one session, beyond which it is not read from. Default 256.
	Pending int
	// InFlightBytes of results of all sessions that are not durable yet. Default 256 MiB.
	InFlightBytes int64
	// Linger is how long the results of an original agent, which cannot send them
	// again, are kept trying after its session has ended. Default 1 min.
	Linger time.Duration
	// EdgePatience is how long the end of a session is kept trying to be recorded.
	// Default 2 min; the monitor finds what is given up.
	EdgePatience time.Duration
	// PingAfter is how long a session may be quiet before it is pinged, default 15 s,
	// and Sweep how often that is looked at, default 5 s.
	PingAfter, Sweep time.Duration
	// Poll is how often revisions are compared though nothing rang. Default 10 s.
	Poll time.Duration
	// DeafPoll is how often while other cores' bells are not heard. Default 1 s, and Poll
	// at most.
	DeafPoll time.Duration
	// Grace is how long the end of a session is not told, in case the satellite comes back
	// (spec M46). Default none, as the original.
	Grace time.Duration
	// DrainSpan is over how long a stopping hub lets its satellites go, so that they
	// do not come back all at once (spec M27). Zero lets them go at once.
	DrainSpan time.Duration
	// CutOff is how long the database may be out of reach before satellites are sent
	// away, to come back through a core that can write down that they live. Zero is
	// never, for a core that is alone.
	CutOff time.Duration
	// DrainGrace is how long a stopping hub waits for what is still being made
	// durable. Default 5 s.
	DrainGrace time.Duration
}

func (l Limits) withDefaults() Limits {
	l.AuthTimeout = cmp.Or(l.AuthTimeout, protocol.AuthTimeout)
	l.Unauthenticated = cmp.Or(l.Unauthenticated, 16_384)
	l.UnauthenticatedPerAddress = cmp.Or(l.UnauthenticatedPerAddress, 8_192)
	l.Handshakes = cmp.Or(l.Handshakes, 512)
	l.FailedAttempts = cmp.Or(l.FailedAttempts, 100)
	l.FailedPerSecond = cmp.Or(l.FailedPerSecond, 5)
	l.QueueFrames = cmp.Or(l.QueueFrames, 1024)
	l.QueueBytes = cmp.Or(l.QueueBytes, 8<<20)
	l.Credit = min(cmp.Or(l.Credit, 1<<20), protocol.MaxCredit)
	l.Pending = cmp.Or(l.Pending, 256)
	l.InFlightBytes = max(cmp.Or(l.InFlightBytes, 256<<20), 2*protocol.MaxFrame)
	l.Linger = cmp.Or(l.Linger, time.Minute)
	l.EdgePatience = cmp.Or(l.EdgePatience, 2*time.Minute)
	l.PingAfter = cmp.Or(l.PingAfter, 15*time.Second)
	l.Sweep = cmp.Or(l.Sweep, 5*time.Second)
	l.Poll = cmp.Or(l.Poll, 10*time.Second)
	l.DeafPoll = min(cmp.Or(l.DeafPoll, time.Second), l.Poll)
	l.DrainGrace = cmp.Or(l.DrainGrace, 5*time.Second)
	return l
}

const (
	// maxNonsense is how many messages that cannot be read a socket may send before
	// it authenticates; the original ignores them all (spec A.3).
	maxNonsense = 8
	// openTimeout bounds the recording of a new session. It is not cut short by the
	// socket's end, because the epoch must be known to be closed again.
	openTimeout = time.Minute
	// callTimeout bounds one call of fleet on behalf of an open session.
	callTimeout = 10 * time.Second
	// flushTimeout is how long an ending session goes on sending what is queued.
	flushTimeout = 5 * time.Second
	// relayParallel is how many desired sets are loaded at once.
	relayParallel = 8
	relayRetry    = time.Second

	retryAfterSeconds = 1
)

// backoff is the wait before trying again what the database's absence made fail,
// the first time being 0: at once.
func backoff(failures int) time.Duration {
	const first, most = 100 * time.Millisecond, 5 * time.Second
	if failures == 0 {
		return 0
	}
	return min(first<<min(failures-1, 10), most)
}
