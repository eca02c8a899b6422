package bus

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

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

// What could not be sent is sent with the next message that can be, once.
func TestWhatCouldNotBeSentIsSentLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newShared("broken", slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		sent := make(chan []string)
		works := false
		ended := make(chan error, 1)
		go func() {
			ended <- b.forward(ctx, func(_ context.Context, payload []byte) error {
				if !works {
					works = true
					return errors.New("nobody is there")
				}
				var m message
				if err := json.Unmarshal(payload, &m); err != nil {
					return err
				}
				sent <- m.Topics
				return nil
			})
		}()
		began := time.Now()
		b.Ring("config")
		synctest.Wait()
		b.Ring("packages")
		if got := <-sent; !slices.Equal(got, []string{"config", "packages"}) {
			t.Errorf("sent were %v", got)
		}
		if took := time.Since(began); took > 2*resend {
			t.Errorf("that took %s", took)
		}
		synctest.Wait()
		if s := b.Status(); s.Sent != 1 || s.Lost != 1 || s.Connected {
			t.Errorf("the status is %+v", s)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if len(b.pending) != 0 {
			t.Errorf("still to be sent are %v", b.pending)
		}
	})
}

// However long the others cannot be told, the log says so once, and once that they can.
func TestTheLogSaysOnceThatNothingCanBeSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		b := newShared("broken", slog.New(slog.NewTextHandler(&log, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		fails := 60
		ended := make(chan error, 1)
		go func() {
			ended <- b.forward(ctx, func(context.Context, []byte) error {
				if fails--; fails >= 0 {
					return errors.New("nobody is there")
				}
				return nil
			})
		}()
		b.Ring("config")
		time.Sleep(70 * resend)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if s := b.Status(); s.Sent != 1 || s.Lost != 60 {
			t.Errorf("the status is %+v", s)
		}
		text := log.String()
		if strings.Count(text, "\n") != 2 || !strings.Contains(text, "could not be told to look") || !strings.Contains(text, "are told to look again") {
			t.Errorf("the log says:\n%s", text)
		}
	})
}

// Who listens to several topics learns which of them rang, each once.
func TestAListenerTellsTopicsApart(t *testing.T) {
	t.Parallel()
	var b Local
	l := b.Listen("events", "results")
	b.Ring("results")
	b.Ring("config")
	b.Ring("results")
	if got := l.Take(); !rung(l.Rings) || !slices.Equal(got, []string{"results"}) {
		t.Errorf("rang: %v", got)
	}
	if got := l.Take(); rung(l.Rings) || got != nil {
		t.Errorf("rang again: %v", got)
	}
	b.ringAll()
	if got := l.Take(); !rung(l.Rings) || !slices.Equal(got, []string{"events", "results"}) {
		t.Errorf("of all rang: %v", got)
	}
	l.Close()
	b.Ring("results")
	if rung(l.Rings) {
		t.Error("what was closed rang")
	}
}
