package e2e

import (
	stdcmp "cmp"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/perigeetest"
	"github.com/perigee-monitoring/perigee/verdict"
)

var updateMatrix = flag.Bool("update-matrix", false, "write docs/fault-matrix.md anew")

// TestFaults breaks one thing at a time around real satellites that stand at
// different places of a network, and looks at what the core says of what they
// watch: that nothing is said to be wrong that is not, that what really fails
// meanwhile is found all the same, and on whose word.
func TestFaults(t *testing.T) {
	rows := make([]row, len(faults))
	var running sync.WaitGroup
	places := make(chan struct{}, 4) // mostly they wait, which parallel tests do too few at a time
	for i, f := range faults {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			t.Run(f.name, func(t *testing.T) { rows[i] = f.run(t) })
		})
	}
	running.Wait()
	some := slices.ContainsFunc(rows, func(r row) bool { return r.shop.Status == "" }) // were asked for with -run
	if !t.Failed() && !some {
		matrix(t, rows)
	}
}

// fault is one row of the matrix.
type fault struct {
	name, what string
	// begin breaks something; what it returns mends it.
	begin func(w *world) (mend func())
	// shop is how the system that is watched by everyone is found, "" when it is well.
	shop string
	// class is where the fault is then said to lie.
	class verdict.Class
	// ill are the kinds of illness that the first satellite is said to have.
	ill []string
	// blind: the first satellite's runs that fail say nothing, and there are some.
	blind bool
	// clock is what the first satellite's clock is ahead by.
	clock time.Duration
}

var faults = []fault{
	{
		name: "target down", what: "the page answers 503", shop: "unhealthy", class: verdict.ClassTarget,
		begin: func(w *world) func() { w.shop.sick.Store(true); return func() { w.shop.sick.Store(false) } },
	},
	{
		name: "path down from one place", what: "the way from one of three places to the page refuses", shop: "degraded", class: verdict.ClassPath,
		begin: func(w *world) func() {
			w.places[0].Way("shop.test", perigeetest.WayRefused)
			return func() { w.places[0].Way("shop.test", perigeetest.WayOpen) }
		},
	},
	{
		name: "uplink down", what: "one place has no network at all any more, the way to the core included", blind: true,
		begin: func(w *world) func() {
			w.places[0].Uplink(false)
			return func() { w.places[0].Uplink(true) }
		},
	},
	{
		name: "network behind the core's way down", what: "one place still reaches the core, and nothing else", blind: true, ill: []string{"reference", "resolver"},
		begin: func(w *world) func() {
			p := w.places[0]
			p.Uplink(false)
			p.Way("core", perigeetest.WayOpen)
			return func() { p.Uplink(true) }
		},
	},
	{
		name: "resolver silent", what: "the nameserver of one place answers nothing", blind: true, ill: []string{"resolver"},
		begin: func(w *world) func() {
			w.places[0].Names(perigeetest.NamesSilent)
			return func() { w.places[0].Names(perigeetest.NamesKnown) }
		},
	},
	{
		name: "resolver failing", what: "the nameserver of one place answers SERVFAIL", blind: true, ill: []string{"resolver"},
		begin: func(w *world) func() {
			w.places[0].Names(perigeetest.NamesFailing)
			return func() { w.places[0].Names(perigeetest.NamesKnown) }
		},
	},
	{
		name: "CPU starved", what: "one satellite is stopped for 1.5 s and goes on for 0.3 s, again and again", ill: []string{"scheduler"},
		begin: func(w *world) func() { return w.starve(w.satellites[0]) },
	},
	{
		name: "clock 5 minutes ahead", what: "from the start, at one place", ill: []string{"clock"},
		clock: 5 * time.Minute, begin: func(*world) func() { return func() {} },
	},
	{
		name: "clock 5 minutes behind", what: "from the start, at one place", ill: []string{"clock"},
		clock: -5 * time.Minute, begin: func(*world) func() { return func() {} },
	},
	{
		name: "satellite killed", what: "kill -9, and no restart until the end",
		begin: func(w *world) func() { w.satellites[0].kill(); return w.satellites[0].start },
	},
	{
		name: "core restarted", what: "kill -9 and a start, twice",
		begin: func(w *world) func() {
			for range 2 {
				w.core.kill()
				pause(500)
				w.core.start()
				w.core.ready()
				pause(1000)
			}
			return func() {}
		},
	},
}

const (
	faultChecks   = 5           // of the shop
	faultInterval = time.Second // of every check
	faultLasts    = 15 * time.Second
)

// world is a core, three satellites in three regions, and three hosts.
type world struct {
	t          *testing.T
	core       *core
	network    *perigeetest.Network
	places     []*perigeetest.Place
	satellites []*satellite
	shop       *page // watched by everyone, and well unless the fault is about it
	other      *page // watched by everyone; it really fails during each fault
}

// page is a web server that can fail.
type page struct {
	server *httptest.Server
	sick   atomic.Bool
}

func newPage(t *testing.T) *page {
	p := &page{}
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if p.sick.Load() {
			http.Error(w, "out of paper", http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(p.server.Close)
	return p
}

func (p *page) address() string { return strings.TrimPrefix(p.server.URL, "http://") }

func newWorld(t *testing.T, f fault) *world {
	w := &world{t: t, core: newCore(t, ""), shop: newPage(t), other: newPage(t)}
	reference := newPage(t)
	w.network = perigeetest.NewNetwork(t, map[string]string{
		"shop.test": w.shop.address(), "other.test": w.other.address(), "reference.test": reference.address(),
		"core": strings.TrimPrefix(w.core.url, "http://"),
	})
	w.core.start()
	w.core.ready()
	for i, region := range []string{"eu", "us", "ap"} {
		p := w.network.Place()
		s := newSatellite(w.core, region+"-1", region)
		s.at("--core", "http://"+p.Address("core"))
		s.args = append(s.args, "--nameserver", p.Nameserver, "--observer-name", "reference.test", "--reference", "http://"+p.Address("reference.test"), "--no-watch-gateway")
		if i == 0 && f.clock != 0 {
			s.args[0] = os.Args[0]
			s.env = append(s.env, clockVariable+"="+f.clock.String())
		}
		w.places, w.satellites = append(w.places, p), append(w.satellites, s)
		s.start()
	}
	w.core.call(http.MethodPost, "/api/v1/apply", map[string]any{"documents": w.documents()}, nil)
	for _, s := range w.satellites {
		s.applied(w.core)
	}
	w.becomes("shop", "healthy")
	w.becomes("other", "healthy")
	return w
}

// address is where every place reaches the page.
func address(host string, p *page) string {
	_, port, _ := net.SplitHostPort(p.address())
	return "http://" + host + ":" + port + "/"
}

func shopChecks() (names []string) {
	for i := range faultChecks {
		names = append(names, fmt.Sprintf("page-%d", i))
	}
	return names
}

// documents are checks of the shop and of the other system, everywhere.
func (w *world) documents() []any {
	document := func(kind, name string, spec map[string]any) any {
		return map[string]any{"apiVersion": "perigee/v1", "kind": kind, "metadata": map[string]any{"name": name}, "spec": spec}
	}
	documents := []any{document("System", "shop", map[string]any{}), document("System", "other", map[string]any{})}
	watch := func(name, system, url string) {
		documents = append(documents,
			document("Check", name, map[string]any{
				"strategy": "healthcheck-http.http", "config": map[string]any{"timeout": 10_000}, "interval": faultInterval.String(),
				"collectors": []any{map[string]any{
					"id": "page", "collector": "healthcheck-http.request", "config": map[string]any{"url": url},
					"assertions": []any{map[string]any{"field": "statusCode", "operator": "equals", "value": 200}},
				}},
			}),
			document("Assignment", name+"-"+system, map[string]any{
				"check": name, "system": system, "includeLocal": false, "satellites": map[string]any{"selector": "region in (eu, us, ap)"},
			}))
	}
	for _, name := range shopChecks() {
		watch(name, "shop", address("shop.test", w.shop))
	}
	watch("other-page", "other", address("other.test", w.other))
	return documents
}

// said is what the API says of a system, and where it says that the fault lies.
type said struct {
	Status string        `json:"status"`
	Reason string        `json:"reason"`
	Class  verdict.Class `json:"-"`
}

func (w *world) status(system string) (v said, err error) {
	err = w.core.try(http.MethodGet, "/api/v1/systems/"+system+"/status", nil, &v)
	return v, err
}

func (w *world) becomes(system, status string) (v said) {
	w.t.Helper()
	wait(w.t, system+" to be "+status, func() (err error) {
		if v, err = w.status(system); err == nil && v.Status != status {
			err = fmt.Errorf("it is %+v", v)
		}
		return err
	}, w.core.process, w.satellites[0].process)
	return v
}

// classes are where verdicts that are not healthy say that the fault lies. Each is
// reached again from its evidence alone.
func (w *world) classes(system string, checks ...string) (classes []verdict.Class) {
	w.t.Helper()
	for _, check := range checks {
		for _, v := range all[verdict.Verdict](w.core, "/api/v1/checks/"+check+"/verdicts?system="+system) {
			var judged verdict.Judged
			w.core.call(http.MethodGet, "/api/v1/checks/"+check+"/evidence/"+v.ID, nil, &judged)
			if err := verdict.Verify(judged); err != nil {
				w.t.Errorf("verdict %s (%s) does not follow from its evidence: %v", v.ID, v.Reason, err)
			}
			if v.Status != "healthy" && v.Status != "unknown" {
				classes = append(classes, v.Class)
			}
		}
	}
	slices.Sort(classes)
	return slices.Compact(classes)
}

// verdicts are those that are not healthy, with their evidence, for people.
func (w *world) verdicts(checks ...string) string {
	var told strings.Builder
	for _, check := range checks {
		for _, v := range all[verdict.Verdict](w.core, "/api/v1/checks/"+check+"/verdicts") {
			if v.Status == "healthy" {
				continue
			}
			var judged json.RawMessage
			w.core.call(http.MethodGet, "/api/v1/checks/"+check+"/evidence/"+v.ID, nil, &judged)
			fmt.Fprintf(&told, "%s: %s\n", check, judged)
		}
	}
	return told.String()
}

// starve lets the satellite have a little of the time only.
func (w *world) starve(s *satellite) (end func()) {
	done := make(chan struct{})
	var working sync.WaitGroup
	process := s.cmd.Process
	working.Go(func() {
		defer func() { _ = process.Signal(syscall.SIGCONT) }()
		for {
			_ = process.Signal(syscall.SIGSTOP)
			select {
			case <-done:
				return
			case <-time.After(1500 * time.Millisecond):
			}
			_ = process.Signal(syscall.SIGCONT)
			select {
			case <-done:
				return
			case <-time.After(300 * time.Millisecond):
			}
		}
	})
	return func() {
		close(done)
		working.Wait()
	}
}

// row is what a cell came to.
type row struct {
	shop, other  said            // of what the fault is about or is not, and of what really failed
	alarms       []string        // that the shop is not well
	classes      []verdict.Class // of verdicts on the shop that were not good
	found        []verdict.Class // and on what really failed
	ill          []string        // what the first satellite was said to have
	failed       []string        // runs that found the shop failing
	inconclusive int             // runs that failed and say nothing
}

// run is one cell: the fault begins, lasts, something else really fails meanwhile, and
// all is mended.
func (f fault) run(t *testing.T) (r row) {
	w := newWorld(t, f)
	began := w.lastEvent()
	mend := f.begin(w)
	pause(int(faultLasts.Milliseconds()))
	var err error
	if r.shop, err = w.status("shop"); err != nil {
		t.Fatal(err)
	}
	r.ill = w.illness()
	w.other.sick.Store(true)
	r.other = w.becomes("other", "unhealthy")
	w.other.sick.Store(false)
	t.Logf("mended at %s", time.Now().UTC().Format(time.RFC3339Nano)) // results have times too
	mend()
	w.becomes("other", "healthy")
	w.becomes("shop", "healthy")
	for _, s := range w.satellites {
		s.online(w.core)
		now := time.Now()
		if s == w.satellites[0] {
			now = now.Add(f.clock)
		}
		s.reported(w.core, now, faultChecks+1)
	}
	r.alarms = w.alarms(began, "shop")
	r.classes = w.classes("shop", shopChecks()...)
	r.found = w.classes("other", "other-page")
	r.failed, r.inconclusive = w.failed("shop")

	if want := stdcmp.Or(f.shop, "healthy"); r.shop.Status != want {
		t.Errorf("the shop is said to be %s (%s), want %s", r.shop.Status, r.shop.Reason, want)
	}
	if f.shop == "" && (len(r.alarms) > 0 || len(r.failed) > 0) {
		t.Errorf("the shop was well: there were %d false alarms %v, and runs found it failing: %v; verdicts:\n%s", len(r.alarms), r.alarms, r.failed, w.verdicts(shopChecks()...))
	}
	if f.shop != "" && (len(r.alarms) == 0 || len(r.failed) == 0) {
		t.Errorf("the shop was not well: there were %d alarms, and %d runs found it failing", len(r.alarms), len(r.failed))
	}
	// Where those who were asked took too long, it was told without a class first.
	r.found = slices.DeleteFunc(r.found, func(c verdict.Class) bool { return c == verdict.ClassNone })
	if want := []verdict.Class{verdict.ClassTarget}; !slices.Equal(r.found, want) {
		t.Errorf("what really failed is %v by class (%s), want %v", r.found, r.other.Reason, want)
	}
	if f.class != "" && !slices.Equal(r.classes, []verdict.Class{f.class}) {
		t.Errorf("the fault is %v by class, want %s", r.classes, f.class)
	}
	if f.blind != (r.inconclusive > 0) {
		t.Errorf("%d runs were inconclusive", r.inconclusive)
	}
	if !slices.Equal(r.ill, f.ill) {
		t.Errorf("the first satellite is said to be ill of %v, want %v", r.ill, f.ill)
	}
	return r
}

// failed are the runs of the system that were not healthy, and how many say nothing.
func (w *world) failed(system string) (found []string, inconclusive int) {
	for _, r := range all[struct {
		Status       string `json:"status"`
		Inconclusive string `json:"inconclusive"`
		Source       string `json:"source"`
		Message      string `json:"message"`
		ExecutedAt   string `json:"executedAt"`
		Slot         string `json:"slot"`
		LatencyMs    int64  `json:"latencyMs"`
	}](w.core, "/api/v1/results?system="+system) {
		switch {
		case r.Inconclusive != "":
			inconclusive++
		case r.Status != "healthy":
			found = append(found, fmt.Sprintf("at %s, due %s, took %d ms, %s: %s", r.ExecutedAt, r.Slot, r.LatencyMs, r.Source, r.Message))
		}
	}
	return found, inconclusive
}

type faultEvent struct {
	Seq      int64           `json:"seq"`
	Type     string          `json:"type"`
	EntityID string          `json:"entityId"`
	Payload  json.RawMessage `json:"payload"`
}

func (w *world) events() []faultEvent {
	w.t.Helper()
	var all []faultEvent
	for after := int64(0); ; {
		var page struct {
			Items []faultEvent `json:"items"`
		}
		w.core.call(http.MethodGet, fmt.Sprintf("/api/v1/events?after=%d&limit=1000", after), nil, &page)
		if len(page.Items) == 0 {
			return all
		}
		all = append(all, page.Items...)
		after = all[len(all)-1].Seq
	}
}

func (w *world) lastEvent() int64 {
	all := w.events()
	return all[len(all)-1].Seq
}

// alarms are what was told of the systems since then.
func (w *world) alarms(since int64, systems ...string) (told []string) {
	names := map[string]string{}
	for _, name := range systems {
		var s struct {
			ID string `json:"id"`
		}
		w.core.call(http.MethodGet, "/api/v1/systems/"+name, nil, &s)
		names[s.ID] = name
	}
	for _, e := range w.events() {
		if name := names[e.EntityID]; name != "" && e.Seq > since && e.Type == "healthcheck.system_degraded" {
			told = append(told, name+": "+string(e.Payload))
		}
	}
	return told
}

// illness is what the first satellite is said to be ill of.
func (w *world) illness() (kinds []string) {
	var s struct {
		Observer struct {
			Ill []struct {
				Kind string `json:"kind"`
			} `json:"ill"`
			Skewed bool `json:"clockSkewed"`
		} `json:"observer"`
	}
	w.core.call(http.MethodGet, "/api/v1/satellites/"+w.satellites[0].id, nil, &s)
	for _, i := range s.Observer.Ill {
		kinds = append(kinds, i.Kind)
	}
	if s.Observer.Skewed && !slices.Contains(kinds, "clock") {
		kinds = append(kinds, "clock")
	}
	slices.Sort(kinds)
	return kinds
}

// matrixPage is where the matrix is for people.
const matrixPage = "../docs/fault-matrix.md"

const matrixHead = `# What breaks, and what is said of it

Written by the test ` + "`TestFaults`" + ` (` + "`go test ./e2e -run Faults -args -update-matrix`" + `), and compared with each run of it. In each row a core and three
satellites in three regions, real processes, watch a shop with five checks each second, everywhere, by the default policy. Each place has its own
nameserver, its own way to every host, and one reference target; each satellite knows its core by its own way. One thing is
broken for fifteen seconds; then, while it still is, something else that everybody watches really fails; then all is mended. All verdicts of
a row are reached again from their evidence alone (package verdict).

* *The shop*: what is said of it while the fault lasts. It is well itself unless the row says otherwise.
* *Lies at*: the class of the verdicts on it. *False alarms*: events that say that it is not well although it is, in the whole row.
* *Wrong runs*: conclusive results that found it failing although it was well.
* *Inconclusive*: whether runs failed that say nothing, because the satellite was ill.
* *Said to be ill of*: what the core knows about the satellite at the first place while the fault lasts.
* *True failure*: what is found of the page that really failed.

| fault | what was done | the shop | lies at | false alarms | wrong runs | inconclusive | said to be ill of | true failure |
|---|---|---|---|---|---|---|---|---|
`

// matrix is the page about all rows, which is compared with what it says already.
func matrix(t *testing.T, rows []row) {
	page := matrixHead
	for i, r := range rows {
		f := faults[i]
		falseAlarms, wrong := strconv.Itoa(len(r.alarms)), strconv.Itoa(len(r.failed))
		if f.shop != "" {
			falseAlarms, wrong = "(true ones)", "(true ones)"
		}
		blind := "none"
		if r.inconclusive > 0 {
			blind = "yes"
		}
		page += fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %s | %s, class %s |\n", f.name, f.what, r.shop.Status, words(r.classes), falseAlarms, wrong, blind, words(r.ill), r.other.Status, words(r.found))
	}
	if *updateMatrix {
		if err := os.WriteFile(matrixPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	is, err := os.ReadFile(matrixPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(is), page); diff != "" {
		t.Errorf("%s is not what was found (-args -update-matrix writes it anew) (-is +found):\n%s", matrixPage, diff)
	}
}

func words[T ~string](all []T) string {
	text := make([]string, len(all))
	for i, one := range all {
		text[i] = string(one)
	}
	return stdcmp.Or(strings.Join(text, ", "), "-")
}
