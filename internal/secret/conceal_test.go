package secret_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/checkschema"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/secret"
	"github.com/perigee-monitoring/perigee/protocol"
)

// definitions is a catalog over the world's database that keeps credentials in it.
func (w *world) definitions(t *testing.T, keep bool) *catalog.Catalog {
	t.Helper()
	recorder := entity.NewRecorder(w.db, &bus.Local{}, append(catalog.Derivers(), secret.Derivers()...)...)
	c := catalog.New(w.db, recorder, &bus.Local{}, checkschema.ValidateSpec, slog.New(slog.NewTextHandler(w.log, nil)))
	if keep {
		c.SetConcealer(w.Service)
	}
	return c
}

const (
	password = "canary-password-91"
	token    = "canary-token-45"
)

func loginCheck(config string) catalog.CheckInput {
	return catalog.CheckInput{Name: "login", Spec: check.Spec{
		Strategy: "healthcheck-http.http", Interval: check.Duration(10 * time.Second), Config: json.RawMessage(config),
		Collectors: []check.Collector{{ID: "get", Collector: "healthcheck-http.request", Config: json.RawMessage(`{"url":"http://127.0.0.1:1/"}`)}},
	}}
}

func basic(text string) string {
	return `{"authType":"basic","authUsername":"ada","authPassword":"` + text + `"}`
}

// given are the values that a satellite gets that runs the check.
func (w *world) given(t *testing.T, c catalog.Check) map[string]string {
	t.Helper()
	a := &protocol.Assignment{ConfigID: c.ID, SystemID: "s", StrategyID: c.Spec.Strategy, Config: c.Spec.Config}
	values, _, err := w.ConfigSecrets(t.Context(), secret.Ask{SatelliteID: "sat", ConfigID: c.ID, Assignments: []*protocol.Assignment{a}})
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func fieldOf(t *testing.T, c catalog.Check, name string) string {
	t.Helper()
	var config map[string]any
	if err := json.Unmarshal(c.Spec.Config, &config); err != nil {
		t.Fatal(err)
	}
	text, _ := config[name].(string)
	return text
}

// M34: definitions with credentials in the clear were stored, and relayed with every
// change of anything.
func TestM34_CredentialsDoNotStandInDefinitions(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		w := open(t, url, root(1), nil)
		checks := w.definitions(t, true)
		ctx := t.Context()

		c, err := checks.CreateCheck(ctx, ada, loginCheck(basic(password)))
		if err != nil {
			t.Fatal(err)
		}
		first := fieldOf(t, c, "authPassword")
		if !strings.HasPrefix(first, secret.Marker) || fieldOf(t, c, "authUsername") != "ada" {
			t.Fatalf("stored as %s", c.Spec.Config)
		}
		if diff := cmp.Diff(map[string]string{"authPassword": password}, w.given(t, c)); diff != "" {
			t.Errorf("given (-want +got)\n%s", diff)
		}
		if all, err := w.List(ctx); err != nil || len(all) != 0 {
			t.Errorf("people see the core's own: %v, %v", all, err)
		}

		t.Run("the same credential again changes nothing", func(t *testing.T) {
			again, err := checks.UpdateCheck(ctx, ada, "login", loginCheck(basic(password)))
			if err != nil || fieldOf(t, again, "authPassword") != first || !again.UpdatedAt.Equal(c.UpdatedAt) {
				t.Errorf("%+v, %v", again, err)
			}
		})
		t.Run("what is read can be written back", func(t *testing.T) {
			again, err := checks.UpdateCheck(ctx, ada, "login", catalog.CheckInput{Name: "login", Spec: c.Spec})
			if err != nil || w.given(t, again)["authPassword"] != password {
				t.Errorf("%+v, %v", again, err)
			}
		})
		t.Run("a new credential is a change, of which a plan shows no value", func(t *testing.T) {
			doc := checkDocument(t, loginCheck(basic(token)))
			for _, dry := range []bool{true, false} {
				plan, err := checks.Apply(ctx, ada, []catalog.Document{doc}, dry)
				if err != nil || len(plan.Changes) != 1 || plan.Changes[0].Action != catalog.Updated {
					t.Fatalf("%+v, %v", plan, err)
				}
				if text, _ := json.Marshal(plan); bytes.Contains(text, []byte(token)) || bytes.Contains(text, []byte(password)) {
					t.Errorf("the plan shows a credential: %s", text)
				}
			}
			c, err = checks.Check(ctx, "login")
			if err != nil || fieldOf(t, c, "authPassword") == first || w.given(t, c)["authPassword"] != token {
				t.Errorf("%s, %v", c.Spec.Config, err)
			}
			redactor, err := w.Redactor(ctx, &protocol.Assignment{ConfigID: c.ID, Config: c.Spec.Config})
			if err != nil || redactor.String(password+" "+token) != "**** ****" {
				t.Errorf("late results are not masked: %v", err)
			}
		})
		t.Run("a reference stays as it is", func(t *testing.T) {
			in := loginCheck(basic("${{ secrets.PW }}"))
			in.Name = "other"
			made, err := checks.CreateCheck(ctx, ada, in)
			if err != nil || fieldOf(t, made, "authPassword") != "${{ secrets.PW }}" {
				t.Errorf("%s, %v", made.Spec.Config, err)
			}
		})
		t.Run("a marker is worth nothing elsewhere", func(t *testing.T) {
			in := loginCheck(basic(first))
			in.Name = "thief"
			_, err := checks.CreateCheck(ctx, ada, in)
			if f := fieldPaths(err); !cmp.Equal([]string{"spec.config.authPassword"}, f) {
				t.Errorf("%v, %v", f, err)
			}
			_, err = checks.Apply(ctx, ada, []catalog.Document{checkDocument(t, in)}, true)
			if f := fieldPaths(err); !cmp.Equal([]string{"documents[0].spec.config.authPassword"}, f) {
				t.Errorf("%v, %v", f, err)
			}
		})
		t.Run("it goes with the check", func(t *testing.T) {
			if _, err := checks.DeleteCheck(ctx, ada, "login"); err != nil {
				t.Fatal(err)
			}
			left, err := w.db.Secrets(ctx)
			if err != nil || len(left) != 0 {
				t.Errorf("left: %+v, %v", left, err)
			}
		})
		records, err := w.db.Events(ctx, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := json.Marshal(records)
		if text = append(text, w.log.Bytes()...); bytes.Contains(text, []byte(password)) || bytes.Contains(text, []byte(token)) {
			t.Error("an event or the log holds a credential")
		}
	})
}

func TestM34_CredentialsOfOlderVersionsAreTakenIntoKeeping(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		w := open(t, url, root(1), nil)
		old, err := w.definitions(t, false).CreateCheck(t.Context(), ada, loginCheck(basic(password)))
		if err != nil || fieldOf(t, old, "authPassword") != password {
			t.Fatalf("%s, %v", old.Spec.Config, err)
		}
		before, err := w.db.Events(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		seen := before[len(before)-1].Seq
		checks := w.definitions(t, true)
		for range 2 { // each start of a core
			if err := checks.ConcealAll(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		events, err := w.db.Events(t.Context(), seen, 100)
		if err != nil || len(events) != 1 {
			t.Fatalf("%d events, %v", len(events), err)
		}
		history, _, err := w.db.Transitions(t.Context(), catalog.KindCheck, old.ID, fleet.Page{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		text, _ := json.Marshal(map[string]any{"events": events, "history": history[:1]})
		if bytes.Contains(text, []byte(password)) || history[0].At.Before(events[0].At) {
			t.Errorf("what is told of it holds what was taken away: %s", text)
		}
		now, err := checks.Check(t.Context(), "login")
		if err != nil || fieldOf(t, now, "authPassword") != secret.Marker+"v1" || w.given(t, now)["authPassword"] != password {
			t.Errorf("%s, %v", now.Spec.Config, err)
		}
	})
}

// A core that has not come to it yet, or could not, shows no credential of before either.
func TestM34_CredentialsOfOlderVersionsAreNotTold(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		w := open(t, url, root(1), nil)
		for _, name := range []string{"applied", "updated", "deleted"} {
			in := loginCheck(basic(password))
			in.Name = name
			if _, err := w.definitions(t, false).CreateCheck(t.Context(), ada, in); err != nil {
				t.Fatal(err)
			}
		}
		old, err := w.db.Events(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		checks := w.definitions(t, true)
		in := loginCheck(basic(token))
		in.Name = "applied"
		plan, err := checks.Apply(t.Context(), ada, []catalog.Document{checkDocument(t, in)}, false)
		if err != nil {
			t.Fatal(err)
		}
		in.Name = "updated"
		if _, err := checks.UpdateCheck(t.Context(), ada, "updated", in); err != nil {
			t.Fatal(err)
		}
		if _, err := checks.DeleteCheck(t.Context(), ada, "deleted"); err != nil {
			t.Fatal(err)
		}
		events, err := w.db.Events(t.Context(), old[len(old)-1].Seq, 100)
		if err != nil || len(events) != 3 {
			t.Fatalf("%d events, %v", len(events), err)
		}
		for what, v := range map[string]any{"plan": plan, "events": events} {
			if text, _ := json.Marshal(v); bytes.Contains(text, []byte(password)) || bytes.Contains(text, []byte(token)) {
				t.Errorf("the %s holds a credential: %s", what, text)
			}
		}
	})
}

// What an import brings may be anything, and makes nothing fail.
func TestM34_CredentialsInConfigsThatAreNotValid(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ config, field string }{
		"another field is wrong":           {`{"timeout":"5s","authPassword":"` + password + `"}`, "authPassword"},
		"spelt otherwise":                  {`{"AuthPassword":"` + password + `"}`, "AuthPassword"},
		"spelt otherwise and wrong before": {`{"authPassword":5,"AUTHPASSWORD":"` + password + `"}`, "AUTHPASSWORD"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t, dbtest.SQLite(t), root(1), nil)
			in := catalog.Import{Checks: []catalog.ImportCheck{{ID: "018f0000-0000-7000-8000-000000000001", Name: "login", Spec: loginCheck(c.config).Spec}}}
			for keep, id := range map[bool]string{true: in.Checks[0].ID, false: "018f0000-0000-7000-8000-000000000002"} {
				in.Checks[0].ID = id
				if _, err := w.definitions(t, keep).Import(t.Context(), ada, in, false); err != nil {
					t.Fatal(err)
				}
			}
			checks := w.definitions(t, true)
			if err := checks.ConcealAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			all, _, err := checks.Checks(t.Context(), fleet.Page{Limit: 10})
			if err != nil || len(all) != 2 {
				t.Fatalf("%d checks, %v", len(all), err)
			}
			for _, made := range all {
				if !made.Spec.Paused || fieldOf(t, made, c.field) != secret.Marker+"v1" || w.given(t, made)[c.field] != password {
					t.Errorf("stored as %s", made.Spec.Config)
				}
			}
		})
	}
}

// A core hears of a check's new credential by its definition; the bell of secrets may
// come later, or never.
func TestM34_ANewCredentialIsNotGivenAsItWas(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		w := open(t, url, root(1), nil)
		checks := w.definitions(t, true)
		c, err := checks.CreateCheck(t.Context(), ada, loginCheck(basic(password)))
		if err != nil {
			t.Fatal(err)
		}
		other := *w
		if other.Service, err = secret.New(secret.Config{Store: w.db, Bell: &bus.Local{}, Root: root(1), Log: slog.New(slog.DiscardHandler)}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = other.Run(ctx) })
		defer running.Wait()
		defer cancel()
		if got := other.given(t, c)["authPassword"]; got != password {
			t.Fatalf("given is %q", got)
		}
		if c, err = checks.UpdateCheck(t.Context(), ada, "login", loginCheck(basic(token))); err != nil {
			t.Fatal(err)
		}
		if got := other.given(t, c)["authPassword"]; got != token {
			t.Errorf("given is %q", got)
		}
	})
}

// A core whose root key is wrong goes on with everything that needs no secret.
func TestChecksWithoutCredentialsNeedNoRootKey(t *testing.T) {
	t.Parallel()
	url := dbtest.SQLite(t)
	right := open(t, url, root(1), nil)
	c, err := right.definitions(t, true).CreateCheck(t.Context(), ada, loginCheck(basic(password)))
	if err != nil {
		t.Fatal(err)
	}
	wrong := *right
	if wrong.Service, err = secret.New(secret.Config{Store: right.db, Bell: &bus.Local{}, Root: root(2), Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	checks := wrong.definitions(t, true)
	plain := loginCheck(`{"authType":"none"}`)
	plain.Name = "plain"
	if _, err := checks.CreateCheck(t.Context(), ada, plain); err != nil {
		t.Errorf("a check without credentials: %v", err)
	}
	in := catalog.CheckInput{Name: "renamed", Spec: c.Spec}
	if _, err := checks.UpdateCheck(t.Context(), ada, "login", in); err != nil {
		t.Errorf("a check whose credential stays: %v", err)
	}
	in.Name, in.Spec.Config = "new", json.RawMessage(basic(token))
	if _, err := checks.CreateCheck(t.Context(), ada, in); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a new credential: %v", err)
	}
	if page, _, err := checks.Checks(t.Context(), fleet.Page{Limit: 10}); err != nil || len(page) != 2 {
		t.Errorf("%d checks, %v", len(page), err)
	}
}

func checkDocument(t *testing.T, in catalog.CheckInput) catalog.Document {
	t.Helper()
	spec, err := json.Marshal(in.Spec)
	if err != nil {
		t.Fatal(err)
	}
	return catalog.Document{APIVersion: catalog.APIVersion, Kind: catalog.DocCheck, Metadata: catalog.Metadata{Name: in.Name}, Spec: spec}
}

func fieldPaths(err error) []string {
	var paths []string
	if e, ok := errors.AsType[*fault.Error](err); ok {
		for _, f := range e.Fields {
			paths = append(paths, f.Path)
		}
	}
	return paths
}
