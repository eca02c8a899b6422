package bus

import "testing"

// rung takes a ring if there is one.
func rung(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func TestRingsReachWhoSubscribed(t *testing.T) {
	t.Parallel()
	var b Local
	b.Ring("nobody listens") // and that is all right
	events, endEvents := b.Subscribe("events")
	both, endBoth := b.Subscribe("events", "config")
	defer endBoth()

	b.Ring("config")
	if rung(events) || !rung(both) {
		t.Error("a ring of config went to the wrong one")
	}
	b.Ring("events")
	b.Ring("events") // nobody has looked yet: one ring is enough
	if !rung(events) || rung(events) || !rung(both) || rung(both) {
		t.Error("two rings in a row are not one look for each")
	}
	endEvents()
	b.Ring("events")
	if rung(events) || !rung(both) {
		t.Error("a subscription that ended still rings, or took another with it")
	}
}
