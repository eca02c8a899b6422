package hub_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perigee-monitoring/perigee/internal/hub"
	"github.com/perigee-monitoring/perigee/protocol"
)

const span = 5 * time.Second

func draining(c *hub.Config) { c.Limits.DrainSpan = span }

// M26 and M27: a core that stops lets its satellites go over a span. Ours leave by
// themselves and work until then; the originals are closed one by one; nobody is
// told that they were away.
func TestM26_M27_StoppingCoreLetsItsSatellitesGo(t *testing.T) {
	inBubble(t, func(w *world) {
		for _, id := range []string{"ours", "stays", "original"} {
			w.fleet.add(id, pair("c"))
		}
		ours, stays := w.ours("ours", protocol.FeatureAck, protocol.FeatureDrain), w.ours("stays", protocol.FeatureAck, protocol.FeatureDrain)
		original := w.original("original")
		synctest.Wait()
		edges := w.fleet.edges()

		began := time.Now()
		stopped := make(chan struct{})
		go func() { w.stop(); close(stopped) }()
		for _, a := range []*agent{ours, stays} {
			if m := next[*protocol.Drain](a); m.SpanMs != span.Milliseconds() {
				t.Errorf("told to leave within %d ms", m.SpanMs)
			}
		}
		if !w.hub.Draining() {
			t.Error("the hub does not say that it drains")
		}
		w.connect().wantClosed(protocol.CloseGoingAway)
		ours.send(batch(slotted(1, "c")))
		next[*protocol.Ack](ours) // it works on
		ours.conn.Close(protocol.CloseNormal, "leaving")
		original.wantClosed(protocol.CloseGoingAway)
		if took := time.Since(began); took > span {
			t.Errorf("the original agent was closed after %s", took)
		}
		stays.wantClosed(protocol.CloseGoingAway)
		<-stopped
		w.fleet.wantEdges(t, edges...)
	}, draining)
}

func TestCoreWithoutSatellitesStopsAtOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		began := time.Now()
		w.stop()
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %s", took)
		}
	}, draining)
}

// A core that cannot reach its database sends its satellites to the others before
// those take them for silent, and tells nobody that they went.
func TestM45_CoreThatIsCutOffSendsItsSatellitesAway(t *testing.T) {
	var unreachable atomic.Int64
	inBubble(t, func(w *world) {
		w.fleet.add("a")
		a := w.ours("a", protocol.FeatureAck)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		edges := w.fleet.edges()
		unreachable.Store(int64(12 * time.Second)) // read by the sweep, which sleeps now
		a.wantClosed(protocol.CloseUnavailable)
		synctest.Wait()
		w.fleet.wantEdges(t, edges...)
	}, func(c *hub.Config) {
		c.Limits.CutOff = 12 * time.Second
		c.Unreachable = func() time.Duration { return time.Duration(unreachable.Load()) }
	})
}
