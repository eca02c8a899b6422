package satellite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/perigeetest"
	"github.com/perigee-monitoring/perigee/internal/probe"
	"github.com/perigee-monitoring/perigee/protocol"
)

// failed is a run that failed, and what besides the target may be to blame.
func failed(b check.Blame) check.Result {
	return check.Result{Status: check.Unhealthy, Message: "no answer", Metadata: check.Metadata{Error: "no answer"}, Blame: b}
}

// watching is an observer that runs until the test ends.
func watching(t *testing.T, c ObserverConfig) *observer {
	t.Helper()
	o, err := newObserver(c, &clock{}, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := o.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return o
}

// The verdict on a run waits for a look of its own: also the first that fails after a
// cut is explained, on real sockets, and what the illness does not explain is not.
func TestTheFirstRunAfterACutIsExplained(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	network := perigeetest.NewNetwork(t, map[string]string{"web.example": web.Listener.Addr().String()})
	for name, c := range map[string]struct {
		cut  func(*perigeetest.Place)
		want map[check.Blame]string
	}{
		"nothing": {func(*perigeetest.Place) {}, map[check.Blame]string{
			check.BlamePath: "", check.BlameResolver | check.BlamePath: "", 0: "",
		}},
		"a nameserver that says nothing": {func(p *perigeetest.Place) { p.Names(perigeetest.NamesSilent) }, map[check.Blame]string{
			check.BlamePath: "", check.BlameResolver | check.BlamePath: "resolver: no answer from the nameserver", check.BlameScheduler: "",
		}},
		"a nameserver that fails": {func(p *perigeetest.Place) { p.Names(perigeetest.NamesFailing) }, map[check.Blame]string{
			check.BlamePath: "", check.BlameResolver: "resolver: names are not resolved: server misbehaving",
		}},
		"a reference that is shut": {func(p *perigeetest.Place) { p.Way("web.example", perigeetest.WayRefused) }, map[check.Blame]string{
			check.BlamePath: "reference: 0 of 1 references answer; ADDRESS does not", check.BlameResolver: "", 0: "",
		}},
		"the uplink": {func(p *perigeetest.Place) { p.Uplink(false) }, map[check.Blame]string{
			check.BlamePath: "reference: 0 of 1 references answer; ADDRESS does not", check.BlameClock: "",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			place := network.Place()
			address := place.Address("web.example")
			o := watching(t, ObserverConfig{
				Resolver: probe.Resolver([]string{place.Nameserver}), Names: []string{"web.example"}, References: []string{"http://" + address},
			})
			if why := o.explain(t.Context(), check.BlamePath|check.BlameResolver, time.Now()); why != "" {
				t.Fatalf("before the cut: %s", why)
			}
			c.cut(place)
			for blame, want := range c.want {
				if got := strings.ReplaceAll(o.explain(t.Context(), blame, time.Now()), address, "ADDRESS"); got != want {
					t.Errorf("%04b is explained by %q, want %q", blame, got, want)
				}
			}
		})
	}
}

// A thousand runs that fail at once share few looks, each of which began after its run
// had failed.
func TestManyRunsThatFailShareALook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int64
		var down atomic.Bool
		o, err := newObserver(ObserverConfig{}, &clock{}, time.Now, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		o.senses = []sense{{protocol.IllReference, check.BlamePath, func(context.Context) (string, bool) {
			looks.Add(1)
			wrong := ""
			if down.Load() {
				wrong = "0 of 1 references answer"
			}
			time.Sleep(100 * time.Millisecond)
			return wrong, true
		}}}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = o.Run(ctx) })
		sleep(time.Second)
		before := looks.Load()
		// Half fail while a look is going on that began before the cut.
		var alarms, explained atomic.Int64
		var runs sync.WaitGroup
		fail := func() {
			if o.explain(ctx, check.BlamePath, time.Now()) == "" {
				alarms.Add(1)
			} else {
				explained.Add(1)
			}
		}
		runs.Go(func() { o.explain(ctx, check.BlamePath, time.Now()) })
		sleep(10 * time.Millisecond)
		down.Store(true)
		for range 1000 {
			runs.Go(fail)
		}
		runs.Wait()
		if alarms.Load() != 0 || explained.Load() != 1000 {
			t.Errorf("%d false alarms, %d explained", alarms.Load(), explained.Load())
		}
		if n := looks.Load() - before; n > 3 {
			t.Errorf("%d looks", n)
		}
		cancel()
		running.Wait()
	})
}

// A change is told once two looks agree; runs are judged by the last look, and by what
// was found while they ran.
func TestIllnessIsToldOnceItIsConfirmed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, err := newObserver(ObserverConfig{}, &clock{}, time.Now, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		found := func(wrong string) { o.found(protocol.IllGateway, check.BlamePath, wrong, true) }
		o.senses = []sense{{protocol.IllGateway, check.BlamePath, nil}}
		told := func(want ...string) {
			t.Helper()
			var got []string
			for _, ill := range o.report().Ill {
				got = append(got, string(ill.Kind)+": "+ill.Detail)
			}
			if !slices.Equal(want, got) {
				t.Errorf("told %q, want %q", got, want)
			}
		}
		began := time.Now()
		time.Sleep(time.Second)
		found("gone")
		told()
		found("")
		if got := o.known(check.BlamePath, began); got != "gateway: was ill while this ran" {
			t.Errorf("a run of before is explained by %q", got)
		}
		time.Sleep(time.Second)
		if got := o.known(check.BlamePath, time.Now()); got != "" {
			t.Errorf("a run of after is explained by %q", got)
		}
		found("gone")
		found("still gone")
		told("gateway: still gone")
		if len(o.bell) != 1 {
			t.Error("the bell did not ring")
		}
		found("")
		told("gateway: still gone")
		found("gone")
		found("")
		told("gateway: still gone")
		found("")
		told()
	})
}

// Between the last bad look and the end of the first good one nobody knows how it was: a
// run that began then is not held against its target.
func TestARunThatBeganBeforeTheFirstGoodLookIsExplained(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, err := newObserver(ObserverConfig{}, &clock{}, time.Now, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		o.senses = []sense{{protocol.IllGateway, check.BlamePath, nil}}
		looked := func(wrong string) time.Time {
			time.Sleep(time.Second)
			o.found(protocol.IllGateway, check.BlamePath, wrong, true)
			return time.Now()
		}
		looked("")
		lastBad := looked("gone")
		firstGood := looked("")
		looked("")
		got := map[string]string{}
		for name, began := range map[string]time.Time{
			"during the last bad look": lastBad.Add(-time.Millisecond), "between the two": lastBad.Add(time.Millisecond),
			"during the first good look": firstGood.Add(-time.Millisecond), "after it": firstGood.Add(time.Millisecond),
		} {
			got[name] = o.known(check.BlamePath, began)
		}
		const ill = "gateway: was ill while this ran"
		want := map[string]string{"during the last bad look": ill, "between the two": ill, "during the first good look": ill, "after it": ""}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("explained by (-want +got):\n%s", diff)
		}
	})
}

// What needs nobody to be asked is told within two looks, a second apart, also while
// all else is well and looked at rarely.
func TestLatenessIsToldSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		o, err := newObserver(ObserverConfig{}, &clock{}, time.Now, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		o.senses = []sense{{protocol.IllReference, check.BlamePath, func(context.Context) (string, bool) {
			asked.Add(1)
			return "", true
		}}}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = o.Run(ctx) })
		sleep(1500 * time.Millisecond)
		o.lag.slot(4 * time.Second)
		sleep(2 * time.Second)
		var told []string
		for _, ill := range o.report().Ill {
			told = append(told, string(ill.Kind)+": "+ill.Detail)
		}
		if diff := cmp.Diff([]string{"scheduler: slots began 4s late"}, told); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		sleep(5 * time.Second)
		if n := asked.Load(); n != 1 {
			t.Errorf("others were asked %d times for it", n)
		}
		cancel()
		running.Wait()
	})
}

// Lateness is measured by the slots themselves, and also while the scheduler has not
// come to say so itself.
func TestLag(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lag
		start := time.Now()
		l.sleeps(time.Second)
		time.Sleep(4 * time.Second) // as if stopped by a signal
		if got := l.worst(start); got != 3*time.Second {
			t.Errorf("still asleep: %v", got)
		}
		l.wakes()
		l.slot(3500 * time.Millisecond)
		l.slot(5 * time.Millisecond)
		if got := l.worst(start); got != 3500*time.Millisecond {
			t.Errorf("awake: %v", got)
		}
		time.Sleep(time.Second)
		if got := l.worst(time.Now()); got != 0 {
			t.Errorf("later: %v", got)
		}
		for range 2 * lagSamples {
			l.slot(time.Second)
		}
		if len(l.samples) != lagSamples {
			t.Errorf("%d samples", len(l.samples))
		}
	})
}

// A run that timed out while slots began late is inconclusive; one that failed for
// another reason is not.
func TestStarvedSatellite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{assignments: []protocol.Assignment{assignment("slow", "s", time.Minute), assignment("refused", "s", time.Minute)}}
		r := newRig(t, c)
		r.prober.execute = func(_ context.Context, a *protocol.Assignment, _ *check.Environment) check.Result {
			r.satellite.observer.lag.slot(4 * time.Second)
			if a.ConfigID == "slow" {
				return failed(check.BlamePath | check.BlameScheduler)
			}
			return failed(check.BlamePath)
		}
		r.start()
		sleep(65 * time.Second)
		r.end()
		got, _ := outcomes(c)
		if diff := cmp.Diff(map[string]string{"slow": "scheduler: slots began 4s late", "refused": ""}, got); diff != "" {
			t.Errorf("inconclusive (-want +got):\n%s", diff)
		}
	})
}

// A core that does not know what inconclusive is gets no red that we know to be ours:
// one of ours gets a skip, an original one nothing. Healthy runs reach them all.
func TestInconclusiveTowardsEveryCore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		core    *core
		results map[string]string
		skips   int64
	}{
		"ours":     {&core{}, map[string]string{"ill": "clock: the clock is 1m30s behind the core's", "well": ""}, 0},
		"older":    {&core{features: without(protocol.FeatureObserver)}, map[string]string{"well": ""}, 1},
		"original": {&core{original: true}, map[string]string{"well": ""}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c.core.assignments = []protocol.Assignment{assignment("ill", "s", time.Minute), assignment("well", "s", time.Minute)}
				r := newRig(t, c.core)
				r.prober.execute = func(_ context.Context, a *protocol.Assignment, _ *check.Environment) check.Result {
					if a.ConfigID == "ill" {
						return failed(check.BlameClock)
					}
					return healthy(time.Millisecond)
				}
				r.setClock(-90 * time.Second)
				r.start()
				sleep(time.Second)
				if c.core.original { // which does not tell us our offset
					r.satellite.clock.answered(&protocol.Clock{Echo: r.config.Now().UnixMilli(), ReceivedAt: time.Now().UnixMilli(), SentAt: time.Now().UnixMilli()}, r.config.Now())
				}
				sleep(65 * time.Second)
				r.end()
				got, skips := outcomes(c.core)
				if diff := cmp.Diff(c.results, got); diff != "" || skips != c.skips {
					t.Errorf("%d skips, results (-want +got):\n%s", skips, diff)
				}
			})
		})
	}
}

// outcomes are what the core got to know of each check: why its results are
// inconclusive, and how many slots were skipped for that.
func outcomes(c *core) (inconclusive map[string]string, skips int64) {
	inconclusive = map[string]string{}
	for _, r := range c.seen().results {
		inconclusive[r.ConfigID] = r.Inconclusive
	}
	for _, r := range c.seen().records {
		if r.Result != nil {
			inconclusive[r.Result.ConfigID] = r.Result.Inconclusive
		} else if r.Skip.Reason == protocol.SkipInconclusive {
			skips += r.Skip.Count
		}
	}
	return inconclusive, skips
}

func without(feature string) []string {
	return slices.DeleteFunc(protocol.Features(), func(f string) bool { return f == feature })
}

// F16: whatever the clock, the offset that heartbeats carry is right within half the
// round trip and 50 ms; a clock that drifts is followed.
func TestF16_OffsetOfWrongClocks(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{5 * time.Minute, -5 * time.Minute, 30 * time.Millisecond, 0} {
		t.Run(ahead.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &core{}
				r := newRig(t, c)
				r.setClock(ahead)
				r.start()
				sleep(time.Second)
				for drift := range 20 {
					r.setClock(ahead + time.Duration(drift)*time.Millisecond)
					sleep(protocol.HeartbeatInterval)
				}
				r.end()
				for i, beat := range c.seen().beats[1:] {
					p := beat.Perigee
					if p.OffsetMs == nil {
						continue
					}
					truth := float64(c.seen().beatAt[i+1].UnixMilli() - p.SentAt)
					if wrong := *p.OffsetMs - truth; wrong > *p.UncertaintyMs+50 || wrong < -*p.UncertaintyMs-50 {
						t.Errorf("heartbeat %d says %v ± %v, the truth is %v", i, *p.OffsetMs, *p.UncertaintyMs, truth)
					}
				}
			})
		})
	}
}

func TestGateway(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
	loopback := file("route", head+"eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\neth0\t00000000\t0100007F\t0003\t0\t0\t0\t00000000\t0\t0\t0\n")
	for name, c := range map[string]struct {
		sense   gatewaySense
		wrong   string
		watched bool
	}{
		"refused is an answer":   {gatewaySense{route: loopback}, "", true},
		"no default route":       {gatewaySense{route: file("route", head)}, "", false},
		"the default route went": {gatewaySense{route: file("route", head), had: true}, "the default route is gone", true},
		"no such table":          {gatewaySense{route: "/nonexistent"}, "", false},
		"nonsense":               {gatewaySense{route: file("route", head+"a\nb 00000000 zz 0003 0 0 0 00000000\n")}, "", false},
	} {
		if wrong, watched := c.sense.look(t.Context()); wrong != c.wrong || watched != c.watched {
			t.Errorf("%s: %q %v", name, wrong, watched)
		}
	}
	address, _ := defaultGateway(loopback)
	for flags, want := range map[string][2]bool{"0x2": {true, true}, "0x0": {true, false}} {
		arp := file("arp", "IP address       HW type     Flags       HW address            Mask     Device\n"+
			fmt.Sprintf("127.0.0.1        0x1         %s         00:00:00:00:00:00     *        eth0\n", flags))
		if known, there := neighbour(arp, address); known != want[0] || there != want[1] {
			t.Errorf("%s: known %v, there %v", flags, known, there)
		}
	}
}

// A resolver that answers that there is no such name works, when it is asked for one
// that there cannot be.
func TestResolverWithoutNames(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"not found":  {&net.DNSError{IsNotFound: true}, ""},
		"found":      {nil, ""},
		"silent":     {&net.DNSError{IsTimeout: true}, "no answer from the nameserver"},
		"failing":    {&net.DNSError{Err: "server misbehaving"}, "names are not resolved: server misbehaving"},
		"impossible": {errors.New("no sockets"), "names are not resolved: no sockets"},
	} {
		if got, _ := (&resolverSense{resolver: resolverFunc(func() error { return c.err })}).look(t.Context()); got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
	got, _ := (&resolverSense{resolverFunc(func() error { return &net.DNSError{IsNotFound: true, Name: "core.example"} }), []string{"core.example"}}).look(t.Context())
	if got != "core.example is not found" {
		t.Errorf("a name that has to be there: %q", got)
	}
}

type resolverFunc func() error

func (f resolverFunc) LookupHost(context.Context, string) ([]string, error) { return nil, f() }

func TestParseReference(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"tcp://10.0.0.1:443": true, "https://intranet.example/health": true, "http://[::1]:80": true,
		"tcp://10.0.0.1": false, "10.0.0.1:443": false, "ftp://x": false, "https://": false, "tcp://a:1/x": false, "https://u:p@x": false,
	} {
		if _, err := ParseReference(text); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}
