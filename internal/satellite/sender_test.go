package satellite

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

// longLink delays everything by half a round trip and keeps its order, as TCP
// does: what is lost arrives after it was sent again, and what came after it
// waits.
type longLink struct {
	link.Conn
	delay time.Duration
	lost  func() bool

	mu     sync.Mutex
	last   time.Time
	queue  chan parcel
	ending sync.Once
}

type parcel struct {
	at      time.Time
	deliver func()
}

// longDistance puts a link of the round trip and loss between two ends.
func longDistance(t *testing.T, roundTrip time.Duration, loss float64, agent, core link.Conn) (link.Conn, link.Conn) {
	random := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	lost := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return random.Float64() < loss
	}
	wrap := func(c link.Conn) *longLink {
		l := &longLink{Conn: c, delay: roundTrip / 2, lost: lost, queue: make(chan parcel, 1<<16)}
		go l.carry()
		return l
	}
	return wrap(agent), wrap(core)
}

func (l *longLink) carry() {
	for p := range l.queue {
		time.Sleep(time.Until(p.at))
		p.deliver()
	}
}

func (l *longLink) post(deliver func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := time.Now().Add(l.delay)
	if l.lost() {
		at = at.Add(2*l.delay + 200*time.Millisecond)
	}
	if at.Before(l.last) {
		at = l.last
	}
	l.last = at
	select {
	case l.queue <- parcel{at, deliver}:
	default:
		panic("more is under way than any window allows")
	}
}

func (l *longLink) Write(frame []byte) error {
	copied := append([]byte(nil), frame...)
	l.post(func() { l.Conn.Write(copied) })
	return nil
}

func (l *longLink) Ping(done func()) error {
	// The pong of the pipe is immediate; the way back is added here.
	l.post(func() {
		l.Conn.Ping(func() {
			if done != nil {
				go func() {
					time.Sleep(l.delay)
					done()
				}()
			}
		})
	})
	return nil
}

func (l *longLink) Close(code int, reason string) error {
	l.ending.Do(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		close(l.queue)
	})
	return l.Conn.Close(code, reason)
}

const shipSeconds = 20

// ship produces so many records a second for a while and says how many the core
// had when the time was over.
func ship(t *testing.T, original bool, roundTrip time.Duration, loss float64, perSecond int) (inTime int64) {
	var delivered atomic.Int64
	synctest.Test(t, func(t *testing.T) {
		agent, mine := link.PipeWith(link.Options{Silence: time.Hour}, link.Options{Silence: time.Hour})
		near, far := longDistance(t, roundTrip, loss, agent, mine)
		s := open(t, t.TempDir(), DefaultSpoolBytes)
		sender := newSender(s, near, quiet, !original, !original, 1<<20, new(refusals))
		var reading, running sync.WaitGroup
		reading.Go(func() { // the core
			for {
				frame, err := mine.Read()
				if err != nil {
					return
				}
				m, err := protocol.DecodeFromAgent(frame)
				if err != nil {
					t.Error(err)
					return
				}
				switch m := m.(type) {
				case *protocol.Result:
					delivered.Add(1)
				case *protocol.Results:
					delivered.Add(int64(len(m.Records)))
					say(far, &protocol.Ack{UpTo: m.Records[len(m.Records)-1].Seq})
				}
			}
		})
		reading.Go(func() { // the satellite's reader
			for {
				frame, err := agent.Read()
				if err != nil {
					return
				}
				m, err := protocol.DecodeFromCore(frame)
				if err != nil {
					t.Error(err)
					return
				}
				sender.ack(m.(*protocol.Ack))
			}
		})
		running.Go(func() {
			if err := sender.Run(t.Context()); err != nil {
				t.Error(err)
			}
		})
		const ticks = 20
		slot := int64(0)
		for range shipSeconds * ticks {
			for range perSecond / ticks {
				slot++
				s.Append(result(front, slot, 600))
			}
			time.Sleep(time.Second / ticks)
		}
		synctest.Wait()
		inTime = delivered.Load()
		// The rest comes, and all of it is acknowledged.
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if left := s.Status().Records; left != 0 {
			t.Errorf("%d records wait after five more seconds", left)
		}
		near.Close(protocol.CloseNormal, "")
		far.Close(protocol.CloseNormal, "")
		reading.Wait()
		t.Cleanup(func() {
			running.Wait()
			s.Close()
		})
	})
	return inTime
}

// A link of 230 ms round trip and 1 % loss delivers at least 80 % of what a LAN
// does, because nothing waits for the answer to what went before.
func TestALongLinkDeliversNearlyWhatALanDoes(t *testing.T) {
	t.Parallel()
	const perSecond = 500
	lan := ship(t, false, time.Millisecond, 0, perSecond)
	wan := ship(t, false, 230*time.Millisecond, 0.01, perSecond)
	t.Logf("LAN %d, long link %d records in %d s", lan, wan, shipSeconds)
	if lan < shipSeconds*perSecond*99/100 {
		t.Errorf("the LAN delivers %d of %d", lan, shipSeconds*perSecond)
	}
	if wan < lan*80/100 {
		t.Errorf("the long link delivers %d, the LAN %d", wan, lan)
	}
}

// Towards an original core the window is a hundred results, so the rate has a
// bound; what a satellite produces is far below it.
func TestALongLinkToAnOriginalCore(t *testing.T) {
	t.Parallel()
	const perSecond = 200
	lan := ship(t, true, time.Millisecond, 0, perSecond)
	wan := ship(t, true, 230*time.Millisecond, 0.01, perSecond)
	t.Logf("LAN %d, long link %d records in %d s", lan, wan, shipSeconds)
	if wan < lan*80/100 {
		t.Errorf("the long link delivers %d, the LAN %d", wan, lan)
	}
}

// No more than the credit is in flight, whatever waits; a record larger than the
// credit goes when nothing else is under way.
func TestCreditBoundsWhatIsInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		agent, mine := link.Pipe()
		s := open(t, t.TempDir(), DefaultSpoolBytes)
		const large = 300
		for slot := range int64(500) {
			size := 1000
			if slot+1 == large {
				size = 200_000
			}
			s.Append(result(front, slot+1, size))
		}
		const credit = 64 << 10
		sender := newSender(s, agent, quiet, true, true, credit, new(refusals))
		ctx, stop := context.WithCancel(t.Context())
		var inFlight, last int64 // written by the core, read when everything rests
		var all sync.WaitGroup
		all.Go(func() { sender.Run(ctx) })
		all.Go(func() {
			for {
				frame, err := mine.Read()
				if err != nil {
					return
				}
				m, err := protocol.DecodeFromAgent(frame)
				if err != nil {
					t.Error(err)
					return
				}
				inFlight += int64(len(frame))
				for _, r := range m.(*protocol.Results).Records {
					if r.Seq != last+1 {
						t.Errorf("record %d after %d", r.Seq, last)
					}
					last = r.Seq
				}
			}
		})
		for {
			synctest.Wait()
			if inFlight > credit && last != large {
				t.Errorf("%d bytes in flight, the credit is %d", inFlight, credit)
			}
			if inFlight == 0 {
				break
			}
			inFlight = 0
			sender.ack(&protocol.Ack{UpTo: last})
		}
		if last != 500 {
			t.Errorf("%d records arrived, want 500", last)
		}
		stop()
		agent.Close(protocol.CloseNormal, "")
		all.Wait()
		s.Close()
	})
}
