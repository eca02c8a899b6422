package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"github.com/perigee-monitoring/perigee/internal/npmtest"
	"github.com/perigee-monitoring/perigee/internal/pgtest"
)

// cli runs the operator's command against the core, with input.
func (c *core) cli(input string, args ...string) string {
	c.t.Helper()
	cmd := exec.Command(build(c.t).core, args...)
	cmd.Env = append(os.Environ(), "PERIGEE_URL="+c.url, "PERIGEE_TOKEN="+c.token)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("perigee %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// found is one result as the API gives it.
type found struct {
	Status  string `json:"status"`
	Message string `json:"message"`
	Result  any    `json:"result"`
}

func (c *core) results(check string) []found {
	return all[found](c, "/api/v1/results?detail=true&check="+url.QueryEscape(check))
}

func scriptDocuments(name, script string, secretEnv map[string]string, contains string) []any {
	collector := map[string]any{"script": script}
	if secretEnv != nil {
		collector["secretEnv"] = secretEnv
	}
	return []any{
		map[string]any{"apiVersion": "perigee/v1", "kind": "System", "metadata": map[string]any{"name": "web"}, "spec": map[string]any{}},
		map[string]any{"apiVersion": "perigee/v1", "kind": "Check", "metadata": map[string]any{"name": name}, "spec": map[string]any{
			"strategy": "healthcheck-script.script", "interval": "1s", "config": map[string]any{},
			"collectors": []any{map[string]any{
				"id": "run", "collector": "healthcheck-script.execute", "config": collector,
				"assertions": []any{map[string]any{"field": "stdout", "operator": "contains", "value": contains}},
			}},
		}},
		map[string]any{"apiVersion": "perigee/v1", "kind": "Assignment", "metadata": map[string]any{"name": name}, "spec": map[string]any{
			"check": name, "system": "web", "includeLocal": false, "satellites": map[string]any{"names": []string{"runner"}},
		}},
	}
}

// healthy waits for a healthy result of the check.
func (c *core) healthy(check string, logs ...*process) {
	c.t.Helper()
	wait(c.t, "check "+check+" to be healthy", func() error {
		last := c.results(check)
		if len(last) == 0 {
			return fmt.Errorf("it has no result yet")
		}
		if last[0].Status != "healthy" {
			return fmt.Errorf("it is %s: %s %v", last[0].Status, last[0].Message, last[0].Result)
		}
		return nil
	}, logs...)
}

// TestCanary: values that are used are found nowhere: not in the database, on the
// satellite's disk, in logs, in answers of the API, on the wire, nor in what cores
// tell each other.
func TestCanary(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { canary(t, "", func(*core) *bells { return nil }) })
	t.Run("PostgreSQL and its bell", func(t *testing.T) {
		database := pgtest.URL(t)
		canary(t, database, func(*core) *bells { return listen(t, database) })
	})
	t.Run("PostgreSQL and NATS", func(t *testing.T) {
		canary(t, pgtest.URL(t), func(c *core) *bells {
			address := startNATS(t)
			c.args = append(c.args, "--bus", "nats://"+address)
			return subscribe(t, address)
		})
	})
}

func canary(t *testing.T, database string, record func(*core) *bells) {
	const tokenCanary, passwordCanary, writtenOut = "canary-3f9b-token-value", "canary-77aa-password", "canary-5e21-written-out"
	c := newCore(t, database)
	heard := record(c)
	c.start()
	c.ready()
	c.cli(tokenCanary+"\n", "secret", "set", "API_TOKEN")
	c.cli(passwordCanary, "secret", "set", "HTTP_PASSWORD")

	var right, plain atomic.Int64
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch _, password, _ := r.BasicAuth(); password {
		case passwordCanary:
			right.Add(1)
		case writtenOut:
			plain.Add(1)
		}
		fmt.Fprintf(w, "you said %s and %s", r.Header.Get("Authorization"), r.Header.Get("X-Token"))
	}))
	defer target.Close()

	wire := newRecorder(t, strings.TrimPrefix(c.url, "http://"))
	s := newSatellite(c, "runner", "eu")
	for i, arg := range s.args {
		if arg == c.url {
			s.args[i] = "http://" + wire.addr
		}
	}
	s.args = append(s.args, "--allow-scripts")
	s.start()
	documents := append(scriptDocuments("prints", `echo "got $TOKEN"; printf %s "$TOKEN" | base64; echo "$TOKEN" >&2`, map[string]string{"TOKEN": "${{ secrets.API_TOKEN }}"}, "got ****"),
		map[string]any{"apiVersion": "perigee/v1", "kind": "Check", "metadata": map[string]any{"name": "basic"}, "spec": map[string]any{
			"strategy": "healthcheck-http.http", "interval": "1s",
			"config": map[string]any{"authType": "basic", "authUsername": "ada", "authPassword": "${{ secrets.HTTP_PASSWORD }}"},
			"collectors": []any{map[string]any{
				"id": "page", "collector": "healthcheck-http.request",
				"config": map[string]any{"url": target.URL, "headers": []any{map[string]any{"name": "X-Token", "value": "${{ secrets.API_TOKEN }}"}}},
				// Fails, and so says what it got.
				"assertions": []any{map[string]any{"field": "body", "operator": "equals", "value": "nothing"}},
			}},
		}},
		map[string]any{"apiVersion": "perigee/v1", "kind": "Assignment", "metadata": map[string]any{"name": "basic"}, "spec": map[string]any{
			"check": "basic", "system": "web", "includeLocal": false, "satellites": map[string]any{"names": []string{"runner"}},
		}},
		map[string]any{"apiVersion": "perigee/v1", "kind": "Check", "metadata": map[string]any{"name": "written"}, "spec": map[string]any{
			"strategy": "healthcheck-http.http", "interval": "1s",
			"config": map[string]any{"authType": "basic", "authUsername": "ada", "authPassword": writtenOut},
			"collectors": []any{map[string]any{
				"id": "page", "collector": "healthcheck-http.request", "config": map[string]any{"url": target.URL},
				"assertions": []any{map[string]any{"field": "body", "operator": "equals", "value": "nothing"}},
			}},
		}},
		map[string]any{"apiVersion": "perigee/v1", "kind": "Assignment", "metadata": map[string]any{"name": "written"}, "spec": map[string]any{
			"check": "written", "system": "web", "includeLocal": false, "satellites": map[string]any{"names": []string{"runner"}},
		}})
	c.call(http.MethodPost, "/api/v1/apply", map[string]any{"documents": documents}, nil)
	c.healthy("prints", s.process, c.process)
	wait(t, "the password to arrive", func() error {
		if right.Load() == 0 || plain.Load() == 0 || len(c.results("basic")) == 0 || len(c.results("written")) == 0 {
			return fmt.Errorf("%d requests had the one, %d the other", right.Load(), plain.Load())
		}
		return nil
	}, s.process)
	c.cli("", "secret", "rotate-key")
	c.cli("new-"+tokenCanary, "secret", "set", "API_TOKEN")

	places := map[string]string{"the wire": wire.text()}
	for _, path := range []string{"/results?detail=true", "/events", "/checks", "/export", "/secrets", "/secrets/leases", "/satellites", "/assignments", "/systems/web/status"} {
		places["the API at "+path] = c.raw("/api/v1" + path)
	}
	if !strings.Contains(places["the API at /secrets/leases"], "API_TOKEN@1") || !strings.Contains(places["the API at /results?detail=true"], "****") {
		t.Error("nothing was leased, or nothing was masked: the search below would prove nothing")
	}
	if !strings.Contains(places["the wire"], `"type":"authenticated"`) || !strings.Contains(places["the wire"], "perigeeSealed") {
		t.Error("the recording does not show what the core said: the search below would prove nothing")
	}
	if !strings.Contains(places["the wire"], `"type":"request_run_secrets"`) || !strings.Contains(places["the wire"], `"type":"perigee_results"`) {
		t.Error("the recording does not show what the satellite said: the search below would prove nothing")
	}
	s.stop()
	c.stop()
	if heard != nil {
		places["the bells"] = heard.text()
		if !strings.Contains(places["the bells"], "secrets") {
			t.Errorf("no bell was heard: the search below would prove nothing: %q", places["the bells"])
		}
	}
	if database != "" {
		for name, text := range columns(t, database) {
			places["the database in "+name] = text
		}
	}
	for _, p := range []*process{c.process, s.process} {
		for name, text := range files(t, filepath.Dir(p.log)) {
			places[p.name+"'s file "+name] = text
		}
	}
	searched := 0
	for place, text := range places {
		searched += len(text)
		for _, canary := range []string{tokenCanary, passwordCanary, writtenOut} {
			for _, form := range []string{canary, base64.StdEncoding.EncodeToString([]byte(canary)), base64.StdEncoding.EncodeToString([]byte("ada:" + canary)), url.QueryEscape(canary)} {
				if strings.Contains(text, form) {
					t.Errorf("%s holds a value of a secret", place)
				}
			}
		}
	}
	t.Logf("searched %d places, %d bytes", len(places), searched)
}

// bells are what cores tell each other.
type bells struct {
	mu    sync.Mutex
	heard strings.Builder // guarded by mu
}

func (b *bells) add(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard.WriteString(text + "\n")
}

func (b *bells) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.heard.String()
}

// listen hears the notifications of the database.
func listen(t *testing.T, database string) *bells {
	t.Helper()
	db, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), "LISTEN perigee_bells"); err != nil {
		t.Fatal(err)
	}
	b := &bells{}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer db.Close(context.Background())
		for {
			n, err := db.WaitForNotification(ctx)
			if err != nil {
				return
			}
			b.add(n.Payload)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return b
}

// subscribe hears everything that goes over the NATS server.
func subscribe(t *testing.T, address string) *bells {
	t.Helper()
	conn, err := nats.Connect("nats://" + address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	b := &bells{}
	if _, err := conn.Subscribe(">", func(m *nats.Msg) { b.add(m.Subject + " " + string(m.Data)) }); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return b
}

// connect gives a connection to the database for a minute at most.
func connect(t *testing.T, database string) (context.Context, *pgx.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	db, err := pgx.Connect(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	return ctx, db
}

// columns are all columns of all tables as text.
func columns(t *testing.T, database string) map[string]string {
	t.Helper()
	ctx, db := connect(t, database)
	rows, err := db.Query(ctx, `SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) < 10 {
		t.Fatalf("tables %v, %v", tables, err)
	}
	texts := map[string]string{}
	for _, table := range tables {
		var text bytes.Buffer
		if _, err := db.PgConn().CopyTo(ctx, &text, "COPY (SELECT * FROM "+pgx.Identifier{table}.Sanitize()+") TO STDOUT"); err != nil {
			t.Fatal(err)
		}
		texts[table] = text.String()
	}
	return texts
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		texts[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// TestPackages: packages arrive on a satellite, are used there, are replaced, and are
// collected when nobody needs them any more.
func TestPackages(t *testing.T) {
	registry, database := npmtest.New(t), pgtest.URL(t)
	c := newCore(t, database)
	c.args = append(c.args, "--npm-registry", registry.URL)
	c.start()
	c.ready()
	s := newSatellite(c, "runner", "eu")
	s.args = append(s.args, "--allow-scripts")
	s.start()
	c.cli("", "package", "add", "@sindresorhus/slugify@1.1.2", "is-even@1.0.0")
	t.Log(c.cli("", "package", "install", "--wait"))
	c.synced(s)
	c.call(http.MethodPost, "/api/v1/apply", map[string]any{"documents": scriptDocuments("scoped",
		`node -e "console.log(require('@sindresorhus/slugify')('I am Dogs'), require('is-even')(4))"`, nil, "i-am-dogs true")}, nil)
	c.healthy("scoped", s.process)
	// The same with nothing on the machine but the satellite.
	module := scriptDocuments("module", "import slugify from '@sindresorhus/slugify'\nimport isEven from 'is-even'\nreturn `${slugify('I am Dogs')} ${isEven(4)}`", nil, "i-am-dogs true")
	collector := module[1].(map[string]any)["spec"].(map[string]any)["collectors"].([]any)[0].(map[string]any)
	collector["collector"], collector["assertions"].([]any)[0].(map[string]any)["field"] = "healthcheck-script.inline-script", "message"
	c.call(http.MethodPost, "/api/v1/apply", map[string]any{"documents": module}, nil)
	c.healthy("module", s.process)

	c.cli("", "package", "remove", "is-even")
	c.cli("", "package", "add", "is-odd@3.0.1")
	c.cli("", "package", "install", "--wait")
	c.synced(s)
	c.call(http.MethodPost, "/api/v1/apply", map[string]any{"documents": scriptDocuments("replaced",
		`node -e "console.log('odd', require('is-odd')(3)); try { require('is-even'); console.log('still there') } catch { console.log('is-even is gone') }"`, nil, "is-even is gone")}, nil)
	c.healthy("replaced", s.process)
	t.Log(c.cli("", "package", "status"))

	// What the tree before had stays, for satellites that are late; what only older ones
	// had goes when it is a day old.
	c.cli("", "package", "remove", "@sindresorhus/slugify")
	c.cli("", "package", "install", "--wait")
	c.synced(s)
	if got := c.collect(); got != 0 {
		t.Errorf("%d blobs were collected that are young", got)
	}
	before := blobs(t, database, "")
	blobs(t, database, "UPDATE script_package_blobs SET stored_at = stored_at - 90000000000")
	if got := c.collect(); got == 0 {
		t.Error("nothing was collected")
	}
	after := blobs(t, database, "")
	if len(after) >= len(before) || !slices.Contains(before, "is-even") || slices.Contains(after, "is-even") || !slices.Contains(after, "is-odd") || !slices.Contains(after, "@sindresorhus/slugify") {
		t.Errorf("of %v are left %v", before, after)
	}
	c.call(http.MethodPost, "/api/v1/apply", map[string]any{"documents": scriptDocuments("after", `node -e "console.log('odd', require('is-odd')(3))"`, nil, "odd true")}, nil)
	c.healthy("after", s.process)
	s.stop()
	c.stop()
}

// collect deletes what no tree needs and says how many blobs that were.
func (c *core) collect() int {
	c.t.Helper()
	var done struct{ Deleted, Failed int }
	c.call(http.MethodPost, "/api/v1/packages/collect", nil, &done)
	if done.Failed > 0 {
		c.t.Errorf("%d blobs could not be deleted", done.Failed)
	}
	return done.Deleted
}

// blobs are the names of the packages whose bytes the database has, after a statement.
func blobs(t *testing.T, database, statement string) []string {
	t.Helper()
	ctx, db := connect(t, database)
	if statement != "" {
		if _, err := db.Exec(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := db.Query(ctx, `SELECT name FROM script_package_blobs AS b WHERE EXISTS (SELECT 1 FROM script_package_blob_data AS d WHERE d.integrity = b.integrity) ORDER BY name`)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// synced waits until the satellite has the tree that it should have.
func (c *core) synced(s *satellite) {
	c.t.Helper()
	wait(c.t, "the packages to arrive", func() error {
		var state struct {
			Status       string  `json:"status"`
			LockfileHash *string `json:"lockfileHash"`
		}
		if err := c.try(http.MethodGet, "/api/v1/packages/install", nil, &state); err != nil {
			return err
		}
		type at struct {
			SatelliteID  string  `json:"satelliteId"`
			Status       string  `json:"status"`
			ErrorMessage string  `json:"errorMessage"`
			LockfileHash *string `json:"lockfileHash"`
		}
		for _, one := range all[at](c, "/api/v1/packages/satellites") {
			if one.SatelliteID != s.id {
				continue
			}
			if one.Status == "ready" && one.LockfileHash != nil && state.LockfileHash != nil && *one.LockfileHash == *state.LockfileHash {
				return nil
			}
			return fmt.Errorf("the satellite is %s %s", one.Status, one.ErrorMessage)
		}
		return fmt.Errorf("the satellite has said nothing; the installation is %s", state.Status)
	}, s.process, c.process)
}
