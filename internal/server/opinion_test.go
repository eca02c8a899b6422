package server_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/internal/perigeetest"
	"github.com/perigee-monitoring/perigee/internal/probe"
	"github.com/perigee-monitoring/perigee/internal/satellite"
	"github.com/perigee-monitoring/perigee/internal/server"
	"github.com/perigee-monitoring/perigee/internal/store"
	"github.com/perigee-monitoring/perigee/verdict"
)

// scene is a shop that is watched from eu alone, and satellites at places of other
// regions, which can be asked.
type scene struct {
	t      *testing.T
	core   atomic.Pointer[server.Server] // which satellites dial
	api    *client.Client
	places map[string]*perigeetest.Place
	stop   map[string]func() // ends the satellite
	shut   atomic.Bool       // the shop answers 503

	resolvers resolvers // what satellites watch of themselves
}

// resolvers answer when each place asks for its own name, but for the one that is ill.
type resolvers struct{ ill atomic.Pointer[string] }

func (r *resolvers) LookupHost(_ context.Context, place string) ([]string, error) {
	if ill := r.ill.Load(); ill != nil && *ill == place {
		return nil, errors.New("no such host")
	}
	return []string{"127.0.0.1"}, nil
}

func newScene(t *testing.T, c server.Config, policy map[string]any, places ...string) *scene {
	t.Helper()
	core, _ := start(t, c)
	return newSceneAt(t, core, policy, places...)
}

func newSceneAt(t *testing.T, core *server.Server, policy map[string]any, places ...string) *scene {
	t.Helper()
	api, err := client.New(client.Options{URL: core.URL(), Token: token})
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{t: t, api: api, places: map[string]*perigeetest.Place{}, stop: map[string]func(){}}
	s.core.Store(core)
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if s.shut.Load() {
			http.Error(w, "closed", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "open")
	}))
	t.Cleanup(shop.Close)
	address := strings.TrimPrefix(shop.URL, "http://")
	network := perigeetest.NewNetwork(t, map[string]string{"shop.test": address})
	for _, name := range places {
		s.places[name] = network.Place()
		s.join(name)
	}
	online(t, s.api, places...)
	_, port, _ := strings.Cut(address, ":")
	meta := map[string]any{"name": "shop"}
	if err := s.api.Post(t.Context(), "/apply", map[string]any{"documents": []any{
		map[string]any{"apiVersion": "perigee/v1", "kind": "System", "metadata": meta, "spec": map[string]any{}},
		map[string]any{"apiVersion": "perigee/v1", "kind": "Check", "metadata": meta, "spec": map[string]any{
			"strategy": "healthcheck-http.http", "config": map[string]any{}, "interval": "1s",
			"collectors": []any{map[string]any{
				"id": "page", "collector": "healthcheck-http.request", "config": map[string]any{"url": "http://shop.test:" + port + "/", "timeout": 10_000},
				"assertions": []any{map[string]any{"field": "statusCode", "operator": "equals", "value": 200}},
			}},
		}},
		map[string]any{"apiVersion": "perigee/v1", "kind": "Assignment", "metadata": meta, "spec": map[string]any{
			"check": "shop", "system": "shop", "includeLocal": false, "policy": policy, "satellites": map[string]any{"names": []string{places[0]}},
		}},
	}}, nil); err != nil {
		t.Fatal(err)
	}
	s.wait("healthy", "none")
	s.results(6)
	return s
}

// results waits for so many more from eu: one each second, so by the sixth the core has
// looked who can be asked, however slow it is.
func (s *scene) results(n int) {
	s.t.Helper()
	latest := func() time.Time {
		runs, err := client.All[health.Run](s.t.Context(), s.api, "/results", nil, 1, nil)
		if err != nil || len(runs) == 0 {
			s.t.Fatalf("there are %d results: %v", len(runs), err)
		}
		return runs[0].Slot
	}
	from := latest()
	eventually(s.t, "a few results, by when the core knows who can be asked", func() error {
		if passed := latest().Sub(from); passed < time.Duration(n-1)*time.Second {
			return fmt.Errorf("they are of %s", passed)
		}
		return nil
	})
}

// join makes a satellite of that name, whose region is what stands before the dash.
func (s *scene) join(name string) {
	s.t.Helper()
	region, _, _ := strings.Cut(name, "-")
	var made httpapi.SatelliteToken
	if err := s.api.Post(s.t.Context(), "/satellites", httpapi.NewSatellite{Name: name, Region: region}, &made); err != nil {
		s.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	// This machine may have much to do; a satellite that is late is the business of others.
	observer := satellite.ObserverConfig{Resolver: &s.resolvers, Names: []string{name}, MaxLag: time.Minute}
	agent, err := satellite.New(satellite.Config{ID: made.Satellite.ID, Token: made.Token, DataDir: s.t.TempDir(), Version: "test", Observer: observer},
		probe.New(probe.Options{Log: log, Version: "test", Nameservers: []string{s.places[name].Nameserver}}),
		[]satellite.Core{{URL: s.core.Load().URL(), Dial: func(ctx context.Context) (link.Conn, error) { return dialTo(s.core.Load())(ctx) }}}, log)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = agent.Run(ctx)
	}()
	s.stop[name] = func() { cancel(); <-done }
	s.t.Cleanup(s.stop[name])
}

// wait waits until the verdict that holds is of that status and class, and gives it
// with its evidence, from which the same must follow.
func (s *scene) wait(status check.Status, class verdict.Class) verdict.Judged {
	s.t.Helper()
	var judged verdict.Judged
	eventually(s.t, fmt.Sprintf("the verdict %s of class %s", status, class), func() error {
		all, err := client.All[verdict.Verdict](s.t.Context(), s.api, "/checks/shop/verdicts", nil, 1, nil)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return errors.New("there is none")
		}
		if all[0].Status != status || all[0].Class != class {
			return fmt.Errorf("it is %+v", all[0])
		}
		return s.api.Get(s.t.Context(), "/checks/shop/evidence/"+all[0].ID, nil, &judged)
	})
	if err := verdict.Verify(judged); err != nil {
		s.t.Errorf("the verdict does not follow from its evidence: %v\n%+v", err, judged)
	}
	return judged
}

// statuses are those of all verdicts so far, oldest first.
func (s *scene) statuses() string {
	s.t.Helper()
	all, err := client.All[verdict.Verdict](s.t.Context(), s.api, "/checks/shop/verdicts", nil, 0, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	var text []string
	for i := len(all) - 1; i >= 0; i-- {
		text = append(text, string(all[i].Status)+"/"+string(all[i].Class))
	}
	return strings.Join(text, " ")
}

func (s *scene) want(statuses string) {
	s.t.Helper()
	if got := s.statuses(); got != statuses {
		s.t.Errorf("verdicts are %s, want %s", got, statuses)
	}
}

func onBothEngines(t *testing.T, test func(t *testing.T, c server.Config)) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) { t.Parallel(); test(t, server.Config{}) })
	t.Run("PostgreSQL", func(t *testing.T) { t.Parallel(); test(t, server.Config{Database: dbtest.PostgreSQL(t)}) })
}

// The shop is closed: another region says so too before the verdict turns red.
func TestATargetThatIsDownIsConfirmedFromAnotherRegion(t *testing.T) {
	onBothEngines(t, func(t *testing.T, c server.Config) {
		s := newScene(t, c, nil, "eu-1", "us-1", "ap-1")
		s.shut.Store(true)
		down := s.wait(check.Unhealthy, verdict.ClassTarget)
		if o := down.Evidence.Opinion; o == nil || len(o.Answers) != 2 || !strings.HasPrefix(down.Verdict.Word, "eu-1, ") {
			t.Errorf("on the word of %q, opinion %+v", down.Verdict.Word, o)
		}
		s.shut.Store(false)
		s.wait(check.Healthy, verdict.ClassNone)
		s.want("healthy/none unhealthy/target healthy/none")
	})
}

// Only the way from eu is cut: the location is red, the check is degraded and says
// from where.
func TestAPathThatIsDownIsToldFromATargetThatIs(t *testing.T) {
	onBothEngines(t, func(t *testing.T, c server.Config) {
		s := newScene(t, c, nil, "eu-1", "us-1", "ap-1")
		s.places["eu-1"].Way("shop.test", perigeetest.WayRefused)
		path := s.wait(check.Degraded, verdict.ClassPath)
		if !strings.HasPrefix(path.Verdict.Reason, "only from eu-1: ") || path.Verdict.Word != "eu-1" {
			t.Errorf("the verdict is %+v", path.Verdict)
		}
		var view httpapi.SystemStatus
		if err := s.api.Get(t.Context(), "/systems/shop/status", nil, &view); err != nil {
			t.Fatal(err)
		}
		if at := view.Checks[0].Locations; len(at) != 1 || at[0].Status != check.Unhealthy {
			t.Errorf("locations: %+v", at)
		}
		s.places["eu-1"].Way("shop.test", perigeetest.WayOpen)
		s.wait(check.Healthy, verdict.ClassNone)
		s.want("healthy/none degraded/path healthy/none")
	})
}

// eu is ill, of something that does not explain why its way is cut: others find the shop
// open, and the verdict says that it is the observer who is in doubt. When others find it
// shut as well, the shop is, whoever is ill.
func TestAnObserverThatIsIllIsNamed(t *testing.T) {
	onBothEngines(t, func(t *testing.T, c server.Config) {
		s := newScene(t, c, nil, "eu-1", "us-1", "ap-1")
		s.resolvers.ill.Store(new("eu-1"))
		s.eventuallyIll("eu-1")
		s.places["eu-1"].Way("shop.test", perigeetest.WayRefused)
		ill := s.wait(check.Degraded, verdict.ClassObserver)
		if !strings.HasPrefix(ill.Verdict.Reason, "only from eu-1, which is ill (as it says itself): ") ||
			!strings.HasSuffix(ill.Verdict.Reason, "; healthy from ap-1, us-1") || ill.Verdict.Word != "eu-1" {
			t.Errorf("the verdict is %+v", ill.Verdict)
		}
		if o := ill.Evidence.Opinion; o == nil || len(o.Suspects) != 1 || o.Suspects[0].Ill == "" {
			t.Errorf("the evidence is %+v", o)
		}
		s.places["eu-1"].Way("shop.test", perigeetest.WayOpen)
		s.wait(check.Healthy, verdict.ClassNone)
		s.shut.Store(true)
		s.wait(check.Unhealthy, verdict.ClassTarget)
		s.want("healthy/none degraded/observer healthy/none unhealthy/target")
	})
}

// eventuallyIll waits until the core knows that the place is ill, as second opinions do.
func (s *scene) eventuallyIll(place string) {
	s.t.Helper()
	eventually(s.t, place+" to say that it is ill", func() error {
		var of fleet.Satellite
		err := s.api.Get(s.t.Context(), "/satellites/"+place, nil, &of)
		if err == nil && of.IllSince == nil {
			err = fmt.Errorf("it says %+v", of.Observer)
		}
		return err
	})
	s.results(5) // they read who is there about every second
}

// Two are asked, and the way of one of them hangs: the other's word is enough, and the
// deadline is not waited for.
func TestOneThatConfirmsIsEnough(t *testing.T) {
	t.Parallel()
	s := newScene(t, server.Config{}, map[string]any{"secondOpinion": map[string]any{"wait": "25s"}}, "eu-1", "us-1", "ap-1")
	s.places["us-1"].Way("shop.test", perigeetest.WaySilent)
	s.shut.Store(true)
	down := s.wait(check.Unhealthy, verdict.ClassTarget)
	if o := down.Evidence.Opinion; !o.DecidedAt.Before(o.Deadline) || down.Verdict.Word != "eu-1, ap-1" {
		t.Errorf("on the word of %q, decided %v of %v: %+v", down.Verdict.Word, o.DecidedAt, o.Deadline, o.Answers)
	}
}

// Who is asked does not answer, because it ends right then or its own way hangs: the
// verdict changes at the deadline on the word that there is, and says so.
func TestWithoutAnAnswerTheVerdictChangesAtTheDeadline(t *testing.T) {
	t.Parallel()
	s := newScene(t, server.Config{}, map[string]any{"secondOpinion": map[string]any{"wait": "500ms"}}, "eu-1", "us-1")
	s.places["us-1"].Way("shop.test", perigeetest.WaySilent)
	s.shut.Store(true)
	alone := s.wait(check.Unhealthy, verdict.ClassNone)
	if !strings.Contains(alone.Verdict.Reason, "no second opinion: us-1: no answer in time") {
		t.Errorf("the reason is %q", alone.Verdict.Reason)
	}
	s.want("healthy/none unhealthy/none")
}

// With nobody of another region, or with the policy off, nothing waits.
func TestWhereNobodyCanBeAskedNothingWaits(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		policy map[string]any
		places []string
	}{
		"nobody elsewhere": {nil, []string{"eu-1", "eu-2"}},
		"off":              {map[string]any{"secondOpinion": map[string]any{"off": true}}, []string{"eu-1", "us-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, server.Config{}, tc.policy, tc.places...)
			s.shut.Store(true)
			if down := s.wait(check.Unhealthy, verdict.ClassNone); down.Evidence.Opinion != nil {
				t.Errorf("somebody was asked: %+v", down.Evidence.Opinion)
			}
		})
	}
}

// The core that asked ends before the answers: another one decides when the deadline
// has passed, and the verdict changes once.
func TestAnotherCoreDecidesWhenTheOneThatAskedEnds(t *testing.T) {
	t.Parallel()
	database := dbtest.PostgreSQL(t)
	first, stop := startUntil(t, server.Config{Database: database})
	s := newSceneAt(t, first, map[string]any{"secondOpinion": map[string]any{"wait": "3s"}}, "eu-1", "us-1")
	s.places["us-1"].Way("shop.test", perigeetest.WaySilent)
	s.shut.Store(true)
	eventually(t, "the verdict to wait", func() error {
		var view httpapi.SystemStatus
		if err := s.api.Get(t.Context(), "/systems/shop/status", nil, &view); err != nil {
			return err
		}
		if c := view.Checks[0]; !strings.HasPrefix(c.Reason, "suspect: ") || c.Status != check.Healthy {
			return fmt.Errorf("it is %s: %s", c.Status, c.Reason)
		}
		return nil
	})
	stop()
	_, s.api = start(t, server.Config{Database: database})
	start(t, server.Config{Database: database})
	s.wait(check.Unhealthy, verdict.ClassNone)
	s.want("healthy/none unhealthy/none")
}

// Only the way from eu is cut, and the core is stopped and started again. Others were to
// be asked anew right then: they are once they are connected, and the verdict stays.
func TestARestartOfTheCoreMakesNoPathATarget(t *testing.T) {
	onBothEngines(t, func(t *testing.T, c server.Config) {
		c.DataDir = t.TempDir()
		c.Database = cmp.Or(c.Database, filepath.Join(c.DataDir, "perigee.db"))
		first, stop := startUntil(t, c)
		s := newSceneAt(t, first, nil, "eu-1", "us-1", "ap-1")
		s.places["eu-1"].Way("shop.test", perigeetest.WayRefused)
		s.wait(check.Degraded, verdict.ClassPath)
		stop()
		s.askAnewAtOnce(c.Database)
		second, api := start(t, c)
		s.core.Store(second)
		s.api = api
		var view httpapi.SystemStatus
		eventually(t, "the others to be asked anew", func() error {
			if err := api.Get(t.Context(), "/systems/shop/status", nil, &view); err != nil {
				return err
			}
			for _, place := range []string{"us-1", "ap-1"} {
				asked, err := client.All[health.Run](t.Context(), api, "/results", url.Values{"satellite": {place}}, 10, nil)
				if err != nil {
					return err
				}
				if len(asked) < 2 && !strings.Contains(view.Checks[0].Reason, "since then") {
					return fmt.Errorf("%s was asked %d times; %s", place, len(asked), view.Checks[0].Reason)
				}
			}
			if strings.HasPrefix(view.Checks[0].Reason, "suspect: ") {
				return errors.New("it waits for them")
			}
			return nil
		})
		// One may be late on a machine that has much to do; the other's word is enough.
		_, others, _ := strings.Cut(view.Checks[0].Reason, "; healthy from ")
		if !slices.Contains([]string{"ap-1, us-1", "ap-1", "us-1"}, others) {
			t.Errorf("after the restart: %s", view.Checks[0].Reason)
		}
		s.places["eu-1"].Way("shop.test", perigeetest.WayOpen)
		s.wait(check.Healthy, verdict.ClassNone)
		s.want("healthy/none degraded/path healthy/none")
	})
}

// askAnewAtOnce has others asked anew as soon as a core runs. (None does.)
func (s *scene) askAnewAtOnce(database string) {
	s.t.Helper()
	db, err := store.Open(s.t.Context(), database, slog.New(slog.DiscardHandler))
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	health, err := db.SystemHealths(s.t.Context(), nil)
	if err == nil {
		err = db.InTx(s.t.Context(), func(tx entity.Tx) error {
			opinions, err := tx.(*store.Tx).OpinionsOf(s.t.Context(), slices.Collect(maps.Keys(health)))
			if err != nil {
				return err
			}
			for i := range opinions {
				opinions[i].Again = &opinions[i].HeldAt
			}
			return tx.(*store.Tx).PutOpinions(s.t.Context(), opinions)
		})
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// startUntil starts a core that ends when the function is called.
func startUntil(t *testing.T, c server.Config) (*server.Server, func()) {
	t.Helper()
	c.Listen, c.AdminToken, c.Version, c.Log = "127.0.0.1:0", token, "test", slog.New(slog.DiscardHandler)
	c.DataDir = cmp.Or(c.DataDir, t.TempDir())
	schema(t, c)
	s, err := server.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	end := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the core ended with %v", err)
		}
	})
	t.Cleanup(end)
	return s, end
}
