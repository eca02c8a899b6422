package hub

import (
	"errors"
	"os"

	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

// reason is why a session ended: the label by which it is counted, and what the
// peer is told. Original agents know no codes and come back after any close
// (spec M20); those that should know why get a shutdown message as well.
type reason struct {
	name string
	// code for satellites that sent our Hello, plain for the others.
	code, plain int
	// shutdown: an original agent is sent the words.
	shutdown bool
}

var (
	peerClosed  = reason{name: "peer_closed"}
	lost        = reason{name: "lost"}
	silent      = reason{name: "silent"}
	tooBig      = reason{name: "too_big"}
	badFraming  = reason{name: "bad_framing"}
	notFirst    = reason{"not_first", protocol.CloseNormal, protocol.CloseNormal, false}
	refused     = reason{"refused", protocol.CloseRefused, protocol.CloseNormal, false}
	authTimeout = reason{"auth_timeout", protocol.CloseAuthTimeout, protocol.CloseAuthTimeout, false}
	nonsense    = reason{"nonsense", protocol.CloseProtocol, protocol.CloseProtocol, false}
	tooMany     = reason{"too_many", protocol.CloseTryLater, protocol.CloseTryLater, false}
	heldOff     = reason{"held_off", protocol.CloseTryLater, protocol.CloseNormal, false}
	unavailable = reason{"unavailable", protocol.CloseUnavailable, protocol.CloseUnavailable, false}
	internal    = reason{"internal", protocol.CloseInternal, protocol.CloseInternal, false}
	overCredit  = reason{"over_credit", protocol.CloseProtocol, protocol.CloseProtocol, false}
	resync      = reason{"resync", protocol.CloseResync, protocol.CloseResync, false}
	slow        = reason{"slow", protocol.CloseSlow, protocol.CloseSlow, false}
	superseded  = reason{"superseded", protocol.CloseSuperseded, protocol.CloseSuperseded, true}
	rotated     = reason{"rotated", protocol.CloseRotated, protocol.CloseRotated, true}
	expired     = reason{"expired", protocol.CloseRotated, protocol.CloseRotated, true}
	removed     = reason{"removed", protocol.CloseRemoved, protocol.CloseRemoved, true}
	cutOff      = reason{"cut_off", protocol.CloseUnavailable, protocol.CloseUnavailable, false}
	draining    = reason{"draining", protocol.CloseGoingAway, protocol.CloseGoingAway, false}
	allReasons  = []reason{peerClosed, lost, silent, tooBig, badFraming, notFirst, refused, authTimeout, nonsense, tooMany, heldOff, unavailable, internal, overCredit, resync, slow, superseded, rotated, expired, removed, cutOff, draining}
)

// ending is how one session ended.
type ending struct {
	reason
	text string
}

// explain names the end that came from the connection itself.
func explain(err error) ending {
	closed, ok := errors.AsType[*link.CloseError](err)
	if !ok {
		return ending{lost, err.Error()}
	}
	r := lost
	switch {
	case closed.Code == protocol.CloseSilent && closed.Local:
		r = silent
	case closed.Code == protocol.CloseTooBig && closed.Local:
		r = tooBig
	case closed.Code == protocol.CloseProtocol && closed.Local:
		r = badFraming
	case closed.Code == link.Lost && errors.Is(closed.Err, os.ErrDeadlineExceeded):
		r = slow
	case closed.Code != link.Lost && !closed.Local:
		r = peerClosed
	}
	return ending{r, closed.Error()}
}
