package protocol

// Close codes. 4000-4499 mean come back (after the usual back-off), 4500-4999
// mean do not come back until a person has changed something. 4001 is the
// original agent's own code for a refused authentication and keeps its meaning.
const (
	CloseNormal     = 1000
	CloseGoingAway  = 1001 // the process ends; come back
	CloseProtocol   = 1002
	CloseTooBig     = 1009 // a frame over the limit
	CloseInternal   = 1011 // our failure; come back
	CloseTryLater   = 1013 // too many at once; come back later
	CloseAuthFailed = 4001 // sent by an agent that was refused

	CloseAuthTimeout = 4100 // no authenticate within AuthTimeout
	CloseSilent      = 4101 // nothing heard within the read deadline
	CloseSlow        = 4102 // the peer does not read; its queue was full
	CloseUnavailable = 4103 // the core's database is away
	CloseResync      = 4104 // state of the two ends disagrees; connect anew

	CloseRefused    = 4500 // credentials wrong
	CloseSuperseded = 4501 // a newer session of the same satellite took over
	CloseRotated    = 4502 // the token was replaced
	CloseRemoved    = 4503 // the satellite was deleted
)

// ComeBack reports whether a satellite should reconnect after the close code.
// Superseded is terminal for the process that was replaced: two processes with
// one identity would otherwise push each other out for ever.
func ComeBack(code int) bool { return code < 4500 && code != CloseAuthFailed }
