package satellite

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// Whatever moves seats on purpose, each slot is run, and once.
func TestEachSlotOfASeatIsRunOnceWhenSeatsMove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const count = 2
		w := newSeatWorld(t, 3)
		defer w.end()
		w.assign(4, count)
		sleep(10 * time.Second)
		begin := time.Now()
		for i, c := range []fleet.Cordon{fleet.Drained, fleet.Uncordoned, fleet.Drained, fleet.Uncordoned} {
			if _, err := w.fleet.SetCordon(t.Context(), entity.System, w.posts[i/2].id, c); err != nil {
				t.Fatal(err)
			}
			sleep(75 * time.Second)
		}
		w.doubles()
		w.missing(count, begin, time.Now().Add(-time.Second))
		movers := map[string]bool{}
		w.mu.Lock()
		for _, who := range w.began {
			movers[who[0][:len("sat-0")]] = true
		}
		w.mu.Unlock()
		if len(movers) != 3 {
			t.Errorf("only %v ran anything", movers)
		}
	})
}

// seeds is how many stories TestNoSlotOfASeatIsRunTwice tells: make seats tells more.
var seeds = flag.Uint64("seeds", 2, "how many stories of seats that move and fail are tried")

// Whatever fails, no slot is run twice; and when nothing fails any more, none is missing.
func TestNoSlotOfASeatIsRunTwice(t *testing.T) {
	t.Parallel()
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { runSeatFaults(t, seed) })
		})
	}
}

func runSeatFaults(t *testing.T, seed uint64) {
	const assignments, count = 3, 2
	w := newSeatWorld(t, 4)
	defer w.end()
	w.assign(assignments, count)
	chance := rand.New(rand.NewPCG(seed, 1))
	var story []string
	f := &seatFaults{w: w, chance: chance, tell: func(format string, args ...any) {
		story = append(story, time.Now().UTC().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	}}
	for end := time.Now().Add(8 * time.Minute); time.Now().Before(end); {
		sleep(time.Duration(chance.Int64N(int64(6 * time.Second))))
		f.next(assignments, count)
	}
	f.mend(assignments, count)
	sleep(150 * time.Second)
	w.doubles()
	w.missing(count, time.Now().Add(-time.Minute), time.Now().Add(-time.Second))
	if t.Failed() {
		for _, line := range story {
			t.Log(line)
		}
	}
}

// seatFaults lets things go wrong, and right again.
type seatFaults struct {
	w      *seatWorld
	chance *rand.Rand
	tell   func(format string, args ...any)
}

func (f *seatFaults) cordon(p *seatPost, c fleet.Cordon) {
	if _, err := f.w.fleet.SetCordon(f.w.t.Context(), entity.System, p.id, c); err != nil {
		f.w.t.Fatal(err)
	}
}

func (f *seatFaults) next(assignments, count int) {
	p := f.w.posts[f.chance.IntN(len(f.w.posts))]
	c := f.w.cores[f.chance.IntN(len(f.w.cores))]
	switch f.chance.IntN(14) {
	case 0:
		f.tell("%s: link cut", p.name)
		p.cut()
	case 1:
		p.unplugged.Store(!p.unplugged.Load())
		f.tell("%s: unplugged %v", p.name, p.unplugged.Load())
		if p.unplugged.Load() {
			p.cut()
		}
	case 2:
		f.tell("%s: frozen", p.name)
		p.process.frozen.shut()
	case 3:
		f.tell("%s: hears late", p.name)
		p.process.deaf.shut()
	case 4, 5:
		f.tell("%s: goes on", p.name)
		p.thaw()
	case 6:
		if p.running {
			kill := f.chance.IntN(3) > 0
			f.tell("%s: stopped, killed %v", p.name, kill)
			p.stop(kill)
		}
	case 7:
		if !p.running {
			f.tell("%s: started", p.name)
			p.start()
		}
	case 8:
		offsets := []time.Duration{0, 0, 3 * time.Second, -3 * time.Second, 15 * time.Second, -15 * time.Second, 40 * time.Second, -40 * time.Second, -3 * time.Minute}
		offset := offsets[f.chance.IntN(len(offsets))]
		f.tell("%s: its clock is ahead by %s", p.name, offset)
		p.offset.Store(int64(offset))
	case 9:
		if c.up {
			late := f.chance.IntN(2) > 0
			f.tell("a core dies, after its next transaction %v", late)
			if late {
				c.store.last.Store(true)
				sleep(2 * time.Second)
			}
			c.crash()
		} else {
			f.tell("a core starts")
			c.start()
		}
	case 10, 11:
		to := []fleet.Cordon{fleet.Uncordoned, fleet.Uncordoned, fleet.Cordoned, fleet.Drained}[f.chance.IntN(4)]
		f.tell("%s: cordon %d", p.name, to)
		f.cordon(p, to)
	case 12, 13:
		i, again := f.chance.IntN(assignments), f.chance.IntN(3) > 0
		f.tell("check-%d: disabled, enabled again %v", i, again)
		f.w.put(i, count, false)
		if again {
			sleep(2 * time.Second)
			f.w.put(i, count, true)
		}
	}
}

func (f *seatFaults) mend(assignments, count int) {
	f.tell("all is mended")
	for _, c := range f.w.cores {
		if c.store.dead.Load() {
			c.crash()
		}
		if !c.up {
			c.start()
		}
	}
	for _, p := range f.w.posts {
		p.thaw()
		p.unplugged.Store(false)
		p.offset.Store(0)
		if !p.running {
			p.start()
		}
		f.cordon(p, fleet.Uncordoned)
	}
	for i := range assignments {
		f.w.put(i, count, true)
	}
}

// A slot that was begun is not begun again, also by who does not remember it: a process
// that was killed in the middle of it, an assignment that was paused.
func TestASlotOfASeatIsRunOnceAlthoughTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(*seatWorld){
		"killed": func(w *seatWorld) {
			w.posts[0].stop(true)
			w.posts[0].offset.Store(int64(-40 * time.Second))
			w.posts[0].start()
		},
		"paused": func(w *seatWorld) {
			w.put(0, 1, false)
			sleep(2 * time.Second)
			w.posts[0].offset.Store(int64(-40 * time.Second))
			w.put(0, 1, true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newSeatWorld(t, 1)
				defer w.end()
				w.assign(1, 1)
				sleep(time.Minute)
				for n := w.runs(); w.runs() == n; { // until one has begun
					sleep(50 * time.Millisecond)
				}
				forget(w)
				sleep(90 * time.Second)
				w.doubles()
				w.missing(1, time.Now().Add(-80*time.Second), time.Now().Add(-41*time.Second))
			})
		})
	}
}
