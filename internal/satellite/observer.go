package satellite

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// ObserverConfig is what a satellite watches of itself. The zero value watches its
// scheduler and its clock, which needs nobody else.
type ObserverConfig struct {
	// Resolver is asked for Names; nil watches none. It is well as long as one of the
	// names is resolved. Without names it is asked for one that cannot exist, and any
	// answer is well.
	Resolver Resolver
	Names    []string
	// Gateway watches the gateway of the default route, on Linux.
	Gateway bool
	// References are targets that the operator knows to be up: tcp://host:port, or http://
	// or https:// URLs. ReferenceShare of them, by default half, must answer.
	References     []string
	ReferenceShare float64
	// MaxLag is how late slots may begin. Default DefaultMaxLag.
	MaxLag time.Duration
	// MaxClockOffset is how far the clock may be from the core's. Default
	// DefaultMaxClockOffset.
	MaxClockOffset time.Duration
}

// Resolver resolves names; *net.Resolver is one.
type Resolver interface {
	LookupHost(ctx context.Context, name string) ([]string, error)
}

const (
	DefaultMaxLag         = time.Second
	DefaultMaxClockOffset = 5 * time.Second
	DefaultReferenceShare = 0.5
)

const (
	// observeEvery is how often the observer asks others when all is as it was, and
	// observeSoon when something is wrong or may be. What it knows without asking anybody
	// it looks at that often always.
	observeEvery = 10 * time.Second
	observeSoon  = time.Second
	// observeWithin bounds one look, and observeApart is how far two are apart at least,
	// however many runs fail.
	observeWithin = 2 * time.Second
	observeApart  = 500 * time.Millisecond
	// observeTwice is how many looks in a row must agree before a change is told. Runs
	// are judged by the last one.
	observeTwice = 2
	// lagSpan is how long a late slot counts as an illness of now.
	lagSpan = 10 * time.Second
)

// observer watches the satellite itself, so that a failure of ours is not reported as
// one of the target's. It looks every few seconds, and at once when a run has failed:
// the verdict on that run waits for the look, so that the first run after a cut is
// judged as rightly as the last. All runs that fail meanwhile share it.
type observer struct {
	config ObserverConfig
	senses []sense
	lag    lag
	clock  *clock
	now    func() time.Time // the wall clock
	log    *slog.Logger
	// looks asks for a look that begins after the asking; the channel closes when it is over.
	looks chan chan struct{}
	// bell rings when what is told has changed.
	bell chan struct{}

	mu       sync.Mutex
	symptoms map[protocol.IllnessKind]*symptom // guarded by mu
}

// sense is one thing that is watched by asking others. What it finds is "" when all is
// well, and unwatched when there is nothing to look at.
type sense struct {
	kind  protocol.IllnessKind
	blame check.Blame // what it explains
	look  func(context.Context) (wrong string, watched bool)
}

// symptom is how one kind stands.
type symptom struct {
	blame   check.Blame
	wrong   string    // what the last look found
	since   time.Time // the first of the looks that found it, by the wall clock
	seen    time.Time // until when it may have lasted, with the monotonic clock
	streak  int       // looks in a row that found what told does not say
	told    bool
	detail  string // of what is told
	watched bool
}

func newObserver(c ObserverConfig, clock *clock, now func() time.Time, log *slog.Logger) (*observer, error) {
	if c.MaxLag == 0 {
		c.MaxLag = DefaultMaxLag
	}
	if c.MaxClockOffset == 0 {
		c.MaxClockOffset = DefaultMaxClockOffset
	}
	if c.ReferenceShare == 0 {
		c.ReferenceShare = DefaultReferenceShare
	}
	if c.MaxLag < 0 || c.MaxClockOffset < 0 || c.ReferenceShare < 0 || c.ReferenceShare > 1 {
		return nil, fmt.Errorf("the bounds of lag and clock cannot be negative, and the share of references is from 0 to 1")
	}
	o := &observer{
		config: c, clock: clock, now: now, log: log,
		looks: make(chan chan struct{}), bell: make(chan struct{}, 1),
		symptoms: map[protocol.IllnessKind]*symptom{},
	}
	if c.Resolver != nil {
		o.senses = append(o.senses, sense{protocol.IllResolver, check.BlameResolver, (&resolverSense{c.Resolver, c.Names}).look})
	}
	if c.Gateway {
		o.senses = append(o.senses, sense{protocol.IllGateway, check.BlamePath, (&gatewaySense{route: routeFile, neighbours: neighbourFile}).look})
	}
	if len(c.References) > 0 {
		r, err := newReferenceSense(c)
		if err != nil {
			return nil, err
		}
		o.senses = append(o.senses, sense{protocol.IllReference, check.BlamePath, r.look})
	}
	return o, nil
}

// Run looks until the context ends.
func (o *observer) Run(ctx context.Context) error {
	var own sync.WaitGroup
	defer own.Wait()
	own.Go(func() { o.lookInside(ctx) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	var began time.Time
	for {
		var waiting []chan struct{}
		select {
		case <-ctx.Done():
			return nil
		case done := <-o.looks:
			waiting = append(waiting, done)
		case <-timer.C:
		}
		apart := time.NewTimer(observeApart - time.Since(began))
		for gathering := !began.IsZero(); gathering; {
			select {
			case <-ctx.Done():
				apart.Stop()
				return nil
			case done := <-o.looks:
				waiting = append(waiting, done)
			case <-apart.C:
				gathering = false
			}
		}
		apart.Stop()
		began = time.Now()
		o.look(ctx)
		for _, done := range waiting {
			close(done)
		}
		timer.Reset(o.rest())
	}
}

// lookInside looks at what is known without asking anybody: asking may take seconds
// and is done rarely, and lateness is to be told while it lasts.
func (o *observer) lookInside(ctx context.Context) {
	ticker := time.NewTicker(observeSoon)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		o.found(protocol.IllScheduler, check.BlameScheduler, o.late(time.Now().Add(-lagSpan)), true)
		o.found(protocol.IllClock, check.BlameClock, o.wrongClock(), true)
	}
}

// rest is the time to the next look.
func (o *observer) rest() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, sense := range o.senses {
		if s := o.symptoms[sense.kind]; s != nil && (s.told || s.streak > 0) {
			return observeSoon
		}
	}
	return observeEvery
}

// look asks all others at once.
func (o *observer) look(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, observeWithin)
	defer cancel()
	var all sync.WaitGroup
	for _, s := range o.senses {
		all.Go(func() {
			wrong, watched := s.look(limited)
			if ctx.Err() == nil {
				o.found(s.kind, s.blame, wrong, watched)
			}
		})
	}
	all.Wait()
}

// found takes in what a look found of one kind.
func (o *observer) found(kind protocol.IllnessKind, blame check.Blame, wrong string, watched bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.symptoms[kind]
	if s == nil {
		s = &symptom{blame: blame}
		o.symptoms[kind] = s
	}
	if wrong != "" || s.wrong != "" { // it may have ended as late as during the first good look
		s.seen = time.Now()
	}
	if wrong != "" && s.wrong == "" {
		s.since = o.now()
	}
	s.wrong, s.watched = wrong, watched
	if (wrong != "") == s.told {
		s.streak = 0
		return
	}
	s.streak++
	if s.streak < observeTwice {
		return
	}
	s.told, s.streak, s.detail = !s.told, 0, check.Truncate(wrong, 500)
	ring(o.bell)
	if s.told {
		o.log.Warn("this satellite is ill; runs that fail for it are inconclusive", "kind", kind, "detail", s.detail)
	} else {
		o.log.Info("this satellite is well again", "kind", kind)
	}
}

// explain says why a run that began then and has just failed says nothing about its
// target; "" when nothing here explains the failure. It looks before it answers.
func (o *observer) explain(ctx context.Context, b check.Blame, began time.Time) string {
	if b == 0 {
		return ""
	}
	if why := o.known(b, began); why != "" {
		return why
	}
	asks := slices.ContainsFunc(o.senses, func(s sense) bool { return s.blame&b != 0 })
	if !asks {
		return ""
	}
	done := make(chan struct{})
	select {
	case o.looks <- done:
	case <-ctx.Done():
		return ""
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
	return o.known(b, began)
}

// known explains by what is wrong now, and by what may have been wrong since then.
func (o *observer) known(b check.Blame, began time.Time) string {
	var reasons []string
	if b&check.BlameScheduler != 0 {
		if late := o.late(began); late != "" {
			reasons = append(reasons, string(protocol.IllScheduler)+": "+late)
		}
	}
	if b&check.BlameClock != 0 {
		if wrong := o.wrongClock(); wrong != "" {
			reasons = append(reasons, string(protocol.IllClock)+": "+wrong)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, sense := range o.senses {
		s := o.symptoms[sense.kind]
		switch {
		case s == nil || sense.blame&b == 0:
		case s.wrong != "":
			reasons = append(reasons, string(sense.kind)+": "+s.wrong)
		case s.seen.After(began):
			reasons = append(reasons, string(sense.kind)+": was ill while this ran")
		}
	}
	return check.Truncate(strings.Join(reasons, "; "), protocol.MaxName)
}

// late says how late slots began since then, if that is too late.
func (o *observer) late(since time.Time) string {
	worst := o.lag.worst(since)
	if worst < o.config.MaxLag {
		return ""
	}
	return fmt.Sprintf("slots began %s late", worst.Round(time.Millisecond))
}

// wrongClock says how far the clock is off, if that is too far. What may be the
// uncertainty of the measurement is not held against it.
func (o *observer) wrongClock() string {
	offset, uncertainty := o.clock.estimate()
	if offset == nil || math.Abs(*offset)-*uncertainty <= float64(o.config.MaxClockOffset.Milliseconds()) {
		return ""
	}
	side := "behind"
	if *offset < 0 {
		side = "ahead of"
	}
	return fmt.Sprintf("the clock is %s %s the core's", (time.Duration(math.Abs(*offset)) * time.Millisecond).Round(time.Millisecond), side)
}

// report is what is told.
func (o *observer) report() *protocol.Observer {
	r := &protocol.Observer{LagMs: float64(o.lag.worst(time.Now().Add(-lagSpan)).Milliseconds())}
	o.mu.Lock()
	defer o.mu.Unlock()
	for kind, s := range o.symptoms {
		if s.told {
			r.Ill = append(r.Ill, protocol.Illness{Kind: kind, Since: s.since.UnixMilli(), Detail: s.detail})
		}
	}
	slices.SortFunc(r.Ill, func(a, b protocol.Illness) int { return strings.Compare(string(a.Kind), string(b.Kind)) })
	return r
}

// watched are the kinds that there is something to look at.
func (o *observer) watched() []protocol.IllnessKind {
	o.mu.Lock()
	defer o.mu.Unlock()
	var kinds []protocol.IllnessKind
	for kind, s := range o.symptoms {
		if s.watched {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	return kinds
}

// lag is how late the scheduler does what it means to do. It is told by the scheduler
// itself, slot by slot; a timer beside it would be starved together with it and would
// miss what it missed.
type lag struct {
	mu      sync.Mutex
	due     time.Time // when the scheduler means to wake; zero while it is awake
	samples []lateness
}

type lateness struct {
	at   time.Time
	late time.Duration
}

const (
	// lagNoise is lateness that is none, and lagSamples how many others are kept.
	lagNoise   = 20 * time.Millisecond
	lagSamples = 256
)

// sleeps notes that the scheduler means to wake after d.
func (l *lag) sleeps(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due = time.Now().Add(d)
}

// wakes notes that it has.
func (l *lag) wakes() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.due.IsZero() {
		l.add(time.Since(l.due))
	}
	l.due = time.Time{}
}

// slot notes how late a slot was decided on.
func (l *lag) slot(late time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(late)
}

func (l *lag) add(late time.Duration) {
	if late < lagNoise {
		return
	}
	if len(l.samples) == lagSamples {
		l.samples = slices.Delete(l.samples, 0, 1)
	}
	l.samples = append(l.samples, lateness{time.Now(), late})
}

// worst is the most of what was late since then, what is late now included.
func (l *lag) worst(since time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var worst time.Duration
	if !l.due.IsZero() {
		worst = max(0, time.Since(l.due))
	}
	for _, s := range l.samples {
		if !s.at.Before(since) {
			worst = max(worst, s.late)
		}
	}
	if worst < lagNoise {
		return 0
	}
	return worst
}
