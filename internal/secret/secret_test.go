package secret_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/secret"
	"github.com/perigee-monitoring/perigee/internal/store"
	"github.com/perigee-monitoring/perigee/protocol"
)

var ada = entity.Actor{Type: "user", ID: "u1", Name: "Ada"}

// world is a service on a real database.
type world struct {
	*secret.Service
	db   *store.DB
	file string // of SQLite
	log  *bytes.Buffer
}

func root(b byte) []byte { return bytes.Repeat([]byte{b}, secret.RootSize) }

func open(t *testing.T, url string, key []byte, kv *secret.KV) *world {
	t.Helper()
	return openWith(t, url, secret.Config{Root: key, KV: kv})
}

func openWith(t *testing.T, url string, config secret.Config) *world {
	t.Helper()
	w := &world{file: url, log: &bytes.Buffer{}}
	log := slog.New(slog.NewTextHandler(w.log, nil))
	db, err := store.Open(t.Context(), url, log)
	if err != nil {
		t.Fatal(err)
	}
	w.db = db
	config.Store, config.Recorder, config.Bell, config.Log = db, entity.NewRecorder(db, &bus.Local{}, secret.Derivers()...), &bus.Local{}, log
	if w.Service, err = secret.New(config); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) set(t *testing.T, name, value string) secret.Secret {
	t.Helper()
	made, err := w.Set(t.Context(), ada, name, secret.Input{Value: value})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func shell(config string) []*protocol.Assignment {
	return []*protocol.Assignment{{
		ConfigID: "c1", SystemID: "s1", StrategyID: "healthcheck-script.script", Config: json.RawMessage(`{"timeout":1000}`),
		Collectors: []protocol.Collector{
			{ID: "e1", CollectorID: "healthcheck-script.execute", Config: json.RawMessage(config)},
			{ID: "e2", CollectorID: "healthcheck-script.other", Config: json.RawMessage(`{"script":"true"}`)},
		},
	}}
}

func ask(assignments []*protocol.Assignment, collector string) secret.Ask {
	return secret.Ask{SatelliteID: "sat", ConfigID: "c1", Collector: collector, RunID: "r1", Assignments: assignments}
}

func TestL26_OnlyTheNamedCollectorsSecretEnvIsResolved(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		w := open(t, url, root(1), nil)
		w.set(t, "API_TOKEN", "canary-token")
		w.set(t, "user", "canary-user")
		w.set(t, "other", "canary-other")
		all := shell(`{"script":"x","secretEnv":{"TOKEN":"${{ secrets.API_TOKEN }}","BARE":"user","URL":"https://${{secrets.user}}:${{ secrets.API_TOKEN }}@x"}}`)
		for _, collector := range []string{"e1", "healthcheck-script.execute"} {
			env, err := w.RunEnv(t.Context(), ask(all, collector))
			want := map[string]string{"TOKEN": "canary-token", "BARE": "canary-user", "URL": "https://canary-user:canary-token@x"}
			if err != nil || !cmp.Equal(want, env) {
				t.Errorf("by %s: %v, %v", collector, env, err)
			}
		}
		leases, err := w.Leases(t.Context(), secret.LeaseFilter{}, 0, 10)
		want := secret.Lease{SatelliteID: "sat", CheckID: "c1", Collector: "healthcheck-script.execute", RunID: "r1", Names: []string{"API_TOKEN@1", "user@1"}, Allowed: true}
		if err != nil || len(leases) != 2 {
			t.Fatalf("leases = %+v, %v", leases, err)
		}
		if diff := cmp.Diff(want, leases[0], cmpopts.IgnoreFields(secret.Lease{}, "ID", "At")); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestL27_L28_L29_M35_WhatIsNotDeclaredIsNotGiven(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		w := open(t, url, root(1), nil)
		w.set(t, "known", "canary")
		good := shell(`{"secretEnv":{"A":"known"}}`)
		for name, test := range map[string]struct {
			ask  secret.Ask
			want string
		}{
			"L27 not assigned":    {ask(nil, "e1"), `No assignment "c1" for this satellite; cannot deliver secrets.`},
			"no such collector":   {ask(good, "e9"), `Collector "e9" not found in assignment "c1".`},
			"L28 declares none":   {ask(good, "e2"), `Collector "e2" declares no secretEnv; nothing to resolve.`},
			"declares nothing":    {ask(shell(`{"secretEnv":{}}`), "e1"), `Collector "e1" declares no secretEnv; nothing to resolve.`},
			"declares a literal":  {ask(shell(`{"secretEnv":{"A":"not a name!"}}`), "e1"), `Collector "e1" declares no secretEnv; nothing to resolve.`},
			"a variable of tilde": {ask(shell(`{"secretEnv":{"A~":"known"}}`), "e1"), `Collector "e1" declares no secretEnv; nothing to resolve.`},
			"L29 missing":         {ask(shell(`{"secretEnv":{"A":"known","B":"unknown"}}`), "e1"), `Secret not found: unknown`},
		} {
			env, err := w.RunEnv(t.Context(), test.ask)
			if env != nil || err == nil || fault.Message(err) != test.want {
				t.Errorf("%s: %v, %v; want %s", name, env, err, test.want)
			}
		}
		refused, err := w.Leases(t.Context(), secret.LeaseFilter{Refused: true, SatelliteID: "sat"}, 0, 10)
		if err != nil || len(refused) != 7 || refused[0].Reason == "" {
			t.Errorf("%d refusals are written down, %v", len(refused), err)
		}
	})
}

func TestL253_ConfigSecretsByPath(t *testing.T) {
	t.Parallel()
	w := open(t, dbtest.SQLite(t), root(1), nil)
	w.set(t, "pw", "canary-pw")
	w.set(t, "tok", "canary-tok")
	all := []*protocol.Assignment{{
		ConfigID: "c1", SystemID: "s1", StrategyID: "healthcheck-http.http",
		Config: json.RawMessage(`{"authPassword":"${{ secrets.pw }}","authUsername":"plain","nested":{"list":[{"x":"a ${{secrets.tok}}"},"b"]}}`),
		Collectors: []protocol.Collector{
			{ID: "e1", Config: json.RawMessage(`{"headers":[{"name":"Authorization","value":"Bearer ${{ secrets.tok }}"}],"secretEnv":{"A":"${{ secrets.pw }}"}}`)},
			{ID: "e2", Config: json.RawMessage(`{"url":"http://x/secrets.html"}`)},
		},
	}}
	strategy, collectors, err := w.ConfigSecrets(t.Context(), ask(all, ""))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"authPassword": "canary-pw", "nested.list[0].x": "a canary-tok"}, strategy); diff != "" {
		t.Errorf("strategy (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(map[string]map[string]string{"e1": {"headers[0].value": "Bearer canary-tok"}}, collectors); diff != "" {
		t.Errorf("collectors (-want +got)\n%s", diff)
	}
	_, _, err = w.ConfigSecrets(t.Context(), ask(nil, ""))
	if want := `No assignment "c1" for this satellite; cannot deliver config secrets.`; fault.Message(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
	// A marker that was copied from elsewhere stands for nothing here.
	forged := []*protocol.Assignment{{ConfigID: "c1", SystemID: "s1", Config: json.RawMessage(`{"authPassword":"` + secret.Marker + `check:c2:strategy:authPassword"}`)}}
	if strategy, _, err := w.ConfigSecrets(t.Context(), ask(forged, "")); err == nil {
		t.Errorf("a forged marker gave %v", strategy)
	}
}

func TestM36_WhatIsDeclaredNowAndWasBeforeIsTakenOut(t *testing.T) {
	t.Parallel()
	w := open(t, dbtest.SQLite(t), root(1), nil)
	w.set(t, "tok", "canary-oldest")
	w.set(t, "tok", "canary-old")
	w.set(t, "tok", "canary-new")
	w.set(t, "other", "not-declared")
	redacted := func(when string) {
		t.Helper()
		r, err := w.Redactor(t.Context(), shell(`{"secretEnv":{"A":"tok"}}`)[0])
		if err != nil {
			t.Fatal(err)
		}
		if got := r.String("canary-oldest canary-old canary-new not-declared"); got != "**** **** **** not-declared" {
			t.Errorf("%s: got %q", when, got)
		}
	}
	redacted("after two changes")
	// Results of runs before may still come: from a spool, after hours.
	if err := w.Delete(t.Context(), ada, "tok"); err != nil {
		t.Fatal(err)
	}
	redacted("after it was deleted")
	if _, err := w.RunEnv(t.Context(), ask(shell(`{"secretEnv":{"A":"tok"}}`), "e1")); fault.Message(err) != "Secret not found: tok" {
		t.Errorf("a deleted secret: %v", err)
	}
	if r, err := w.Redactor(t.Context(), shell(`{}`)[0]); r != nil || err != nil {
		t.Errorf("a pair without secrets: %v, %v", r, err)
	}
}

// A key that is written with escapes is the same key.
func TestM36_EscapedKeysDeclareToo(t *testing.T) {
	t.Parallel()
	if a := shell(`{"secret\u0045nv":{"A":"tok"}}`)[0]; !secret.Declares(a) {
		t.Error("results of an assignment that is given a secret would not be looked at")
	}
}

func TestRotatingTheKeyTouchesNoValue(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		w := open(t, url, root(1), nil)
		first := w.set(t, "a", "canary-a1")
		w.set(t, "a", "canary-a2")
		w.set(t, "b", "canary-b")
		before, err := w.db.SecretsNamed(t.Context(), []string{"a"})
		if err != nil {
			t.Fatal(err)
		}
		done, err := w.RotateKey(t.Context(), ada)
		if err != nil || done.Secrets != 2 || done.KeyID == first.KeyID {
			t.Fatalf("%+v, %v", done, err)
		}
		after, err := w.db.SecretsNamed(t.Context(), []string{"a"})
		if err != nil {
			t.Fatal(err)
		}
		if b, a := before["a"].Sealed, after["a"].Sealed; a == b || a[len(a)-24:] != b[len(b)-24:] {
			t.Error("the data key was not sealed anew, or more than it")
		}
		env, err := w.RunEnv(t.Context(), ask(shell(`{"secretEnv":{"A":"a","B":"b"}}`), "e1"))
		if err != nil || !cmp.Equal(map[string]string{"A": "canary-a2", "B": "canary-b"}, env) {
			t.Errorf("%v, %v", env, err)
		}
		r, err := w.Redactor(t.Context(), shell(`{"secretEnv":{"A":"a"}}`)[0])
		if err != nil || r.String("canary-a1") != "****" {
			t.Errorf("the value before does not open any more: %v", err)
		}
		all, err := w.List(t.Context())
		if err != nil || len(all) != 2 || all[0].KeyID != done.KeyID || all[0].Version != 2 || all[0].UpdatedBy != "Ada" {
			t.Errorf("%+v, %v", all, err)
		}
	})
}

// A value that is moved to another row, or whose row is altered, does not open.
func TestASealedValueBelongsToItsRow(t *testing.T) {
	t.Parallel()
	w := open(t, dbtest.SQLite(t), root(1), nil)
	w.set(t, "mine", "canary-mine")
	w.set(t, "theirs", "canary-theirs")
	found, err := w.db.SecretsNamed(t.Context(), []string{"mine", "theirs"})
	if err != nil {
		t.Fatal(err)
	}
	moved := found["mine"]
	moved.Sealed = found["theirs"].Sealed
	if err := w.db.InTx(t.Context(), func(tx entity.Tx) error { return tx.(*store.Tx).PutSecret(t.Context(), moved) }); err != nil {
		t.Fatal(err)
	}
	env, err := w.RunEnv(t.Context(), ask(shell(`{"secretEnv":{"A":"mine"}}`), "e1"))
	if env != nil || !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v, %v", env, err)
	}
}

func TestAnotherRootKeyOpensNothing(t *testing.T) {
	t.Parallel()
	url := dbtest.PostgreSQL(t)
	mine, other := open(t, url, root(1), nil), open(t, url, root(2), nil)
	mine.set(t, "a", "canary")
	if err := mine.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := other.Check(t.Context()); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "--secret-key-file") {
		t.Errorf("the check says %v", err)
	}
	if _, err := other.Set(t.Context(), ada, "b", secret.Input{Value: "x"}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("it sealed with another key: %v", err)
	}
	if env, err := other.RunEnv(t.Context(), ask(shell(`{"secretEnv":{"A":"a"}}`), "e1")); err == nil {
		t.Errorf("it opened %v", env)
	}
}

func TestWhatCannotBeASecretIsRefused(t *testing.T) {
	t.Parallel()
	w := open(t, dbtest.SQLite(t), root(1), nil)
	for name, in := range map[string]secret.Input{
		"1x":                    {Value: "v"},
		"check:c1:strategy:pw":  {Value: "v"},
		strings.Repeat("a", 64): {Value: "v"},
		"empty":                 {},
		"nul":                   {Value: "a\x00b"},
		"long":                  {Value: strings.Repeat("x", secret.MaxValue+1)},
		"both":                  {Value: "v", External: "a#b"},
		"nowhere":               {External: "a#b"},
	} {
		if _, err := w.Set(t.Context(), ada, name, in); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.Delete(t.Context(), ada, "absent"); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	if _, err := secret.New(secret.Config{Root: []byte("short")}); err == nil {
		t.Error("a short root key")
	}
}

// The values stand nowhere: not in the file, the log, the events.
func TestL257_CanariesStandNowhereInTheClear(t *testing.T) {
	t.Parallel()
	w := open(t, dbtest.SQLite(t), root(1), nil)
	const canary = "canary-7f3a9c-value"
	w.set(t, "tok", canary+"-old")
	w.set(t, "tok", canary)
	if _, err := w.RunEnv(t.Context(), ask(shell(`{"secretEnv":{"A":"tok"}}`), "e1")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.RotateKey(t.Context(), ada); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(w.file + "*")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte(canary)) {
			t.Errorf("%s holds the value", filepath.Base(file))
		}
	}
	events, err := w.db.Events(t.Context(), 0, 100)
	if err != nil || len(events) != 3 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	if text, _ := json.Marshal(events); bytes.Contains(text, []byte(canary)) {
		t.Error("an event holds the value")
	}
	if strings.Contains(w.log.String(), canary) {
		t.Error("the log holds the value")
	}
}

func TestCollectForgetsWhatIsOld(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		w := open(t, url, root(1), nil)
		w.set(t, "a", "one")
		w.set(t, "a", "two")
		if _, err := w.RunEnv(t.Context(), ask(shell(`{"secretEnv":{"A":"a"}}`), "e1")); err != nil {
			t.Fatal(err)
		}
		if err := w.Collect(t.Context()); err != nil {
			t.Fatal(err)
		}
		former, err := w.db.FormerSecrets(t.Context(), []string{"a"})
		if err != nil || len(former) != 1 {
			t.Errorf("%d values before, %v", len(former), err)
		}
		later := time.Now().Add(time.Hour)
		if err := w.db.InTx(t.Context(), func(tx entity.Tx) error { return tx.(*store.Tx).PurgeSecrets(t.Context(), later, later) }); err != nil {
			t.Fatal(err)
		}
		former, err = w.db.FormerSecrets(t.Context(), []string{"a"})
		leases, err2 := w.Leases(t.Context(), secret.LeaseFilter{}, 0, 10)
		if err != nil || err2 != nil || len(former) != 0 || len(leases) != 0 {
			t.Errorf("left: %+v, %v, %v %v", former, leases, err, err2)
		}
	})
}

// The vault of this test answers as the documentation of the KV engine, version 2,
// says (https://openbao.org/api-docs/secret/kv/kv-v2/#read-secret-version); a server
// could not be had where this was written.
func TestValuesAreFetchedFromAVault(t *testing.T) {
	t.Parallel()
	vault := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("X-Vault-Token") != "s.token":
			rw.WriteHeader(http.StatusForbidden)
			fmt.Fprint(rw, `{"errors":["permission denied"]}`)
		case r.URL.Path == "/v1/kv/data/apps/shop":
			fmt.Fprint(rw, `{"request_id":"x","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":{"password":"canary-vault","port":5432},"metadata":{"version":3,"destroyed":false}},"wrap_info":null,"warnings":null,"auth":null}`)
		default:
			rw.WriteHeader(http.StatusNotFound)
			fmt.Fprint(rw, `{"errors":[]}`)
		}
	}))
	defer vault.Close()
	token := "s.token"
	kv := &secret.KV{Address: vault.URL + "/", Mount: "kv", Client: vault.Client(), Token: func() (string, error) { return token, nil }}
	w := open(t, dbtest.SQLite(t), root(1), kv)
	for name, place := range map[string]string{"pw": "apps/shop#password", "port": "apps/shop#port", "gone": "apps/none#x", "field": "apps/shop#none"} {
		if _, err := w.Set(t.Context(), ada, name, secret.Input{External: place}); err != nil {
			t.Fatal(err)
		}
	}
	env, err := w.RunEnv(t.Context(), ask(shell(`{"secretEnv":{"A":"pw","B":"port"}}`), "e1"))
	if err != nil || !cmp.Equal(map[string]string{"A": "canary-vault", "B": "5432"}, env) {
		t.Errorf("%v, %v", env, err)
	}
	for _, name := range []string{"gone", "field"} {
		if env, err := w.RunEnv(t.Context(), ask(shell(`{"secretEnv":{"A":"`+name+`"}}`), "e1")); err == nil {
			t.Errorf("%s gave %v", name, env)
		}
	}
	token = "s.wrong"
	w.Forget()
	_, err = w.RunEnv(t.Context(), ask(shell(`{"secretEnv":{"A":"pw"}}`), "e1"))
	if err == nil || strings.Contains(err.Error(), "s.wrong") || !strings.Contains(err.Error(), "refuses this core's token") {
		t.Errorf("with a wrong token: %v", err)
	}
	for _, place := range []string{"", "#x", "a#", "../sys/x#y"} {
		if _, err := w.Set(t.Context(), ada, "bad", secret.Input{External: place}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", place, err)
		}
	}
}

func TestTheRootKeyIsMadeOnceAndReadAgain(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret.key")
	if _, err := secret.LoadRoot(file, false); err == nil {
		t.Error("a missing key was made where it may not be")
	}
	made, err := secret.LoadRoot(file, true)
	if err != nil {
		t.Fatal(err)
	}
	again, err := secret.LoadRoot(file, true)
	info, err2 := os.Stat(file)
	if err != nil || err2 != nil || !bytes.Equal(made, again) || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v, mode %v", err, err2, info.Mode())
	}
	if err := os.WriteFile(file, []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := secret.LoadRoot(file, true); err == nil || strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a broken key: %v", err)
	}
}

// A new root key is given beside the old one; rotating the key then seals the keyset
// by it, and the old one can go.
func TestTheRootKeyIsReplaced(t *testing.T) {
	t.Parallel()
	url := dbtest.PostgreSQL(t)
	open(t, url, root(1), nil).set(t, "a", "canary")
	both := openWith(t, url, secret.Config{Root: root(2), OldRoot: root(1)})
	declared := shell(`{"secretEnv":{"A":"a"}}`)
	if env, err := both.RunEnv(t.Context(), ask(declared, "e1")); err != nil || env["A"] != "canary" {
		t.Fatalf("%v, %v", env, err)
	}
	if err := open(t, url, root(2), nil).Check(t.Context()); err == nil {
		t.Error("the new root key alone opens what the old one sealed")
	}
	if _, err := both.RotateKey(t.Context(), ada); err != nil {
		t.Fatal(err)
	}
	if env, err := open(t, url, root(2), nil).RunEnv(t.Context(), ask(declared, "e1")); err != nil || env["A"] != "canary" {
		t.Errorf("with the new root key alone: %v, %v", env, err)
	}
	if err := open(t, url, root(1), nil).Check(t.Context()); err == nil {
		t.Error("the old root key still opens the secrets")
	}
}

// busy is a store in which something happens after each reading of records.
type busy struct {
	secret.Store
	then func()
}

func (b *busy) SecretsNamed(ctx context.Context, names []string) (map[string]secret.Record, error) {
	defer b.then()
	return b.Store.SecretsNamed(ctx, names)
}

func (b *busy) FormerSecrets(ctx context.Context, names []string) ([]secret.Former, error) {
	defer b.then()
	return b.Store.FormerSecrets(ctx, names)
}

// The keys may be rotated between the readings of values and of keys, by another core:
// no run fails for that, and nothing is left unmasked.
func TestValuesCanBeHadWhileKeysAreRotated(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		w := open(t, url, root(1), nil)
		w.set(t, "PW", "the-one-before")
		w.set(t, "PW", "the-one-now")
		for rotateAt := range 2 {
			calls := 0
			store := &busy{Store: w.db}
			store.then = func() {
				if calls++; calls == rotateAt+1 {
					if _, err := w.RotateKey(t.Context(), ada); err != nil {
						t.Error(err)
					}
				}
			}
			other, err := secret.New(secret.Config{Store: store, Bell: &bus.Local{}, Root: root(1), Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			r, err := other.Redactor(t.Context(), &protocol.Assignment{ConfigID: "c", Config: json.RawMessage(`{"x":"${{ secrets.PW }}"}`)})
			if err != nil {
				t.Fatalf("rotated after reading %d: %v", rotateAt+1, err)
			}
			if got := r.String("the-one-before the-one-now"); got != "**** ****" {
				t.Errorf("rotated after reading %d: %s", rotateAt+1, got)
			}
		}
	})
}
