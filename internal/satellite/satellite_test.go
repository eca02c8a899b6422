package satellite

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Config){
		"id is missing":             func(c *Config) { c.ID = "" },
		"token is missing":          func(c *Config) { c.Token = "" },
		"data directory is missing": func(c *Config) { c.DataDir = "" },
		"token is longer":           func(c *Config) { c.Token = strings.Repeat("x", protocol.MaxToken+1) },
		"too small":                 func(c *Config) { c.SpoolBytes = 1000 },
		"cannot be negative":        func(c *Config) { c.Concurrency = -1 },
		"opening the status page":   func(c *Config) { c.StatusListen = "256.0.0.1:1" },
	} {
		r := newRig(t, &core{})
		change(&r.config)
		if _, err := New(r.config, r.prober, r.cores(), quiet); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one about %q", err, want)
		}
	}
}

// Two processes with one data directory would each deliver the other's results.
func TestOneProcessForEachDataDirectory(t *testing.T) {
	t.Parallel()
	r := newRig(t, &core{})
	first, err := New(r.config, r.prober, r.cores(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	_, err = New(r.config, r.prober, r.cores(), quiet)
	if err == nil || !strings.Contains(err.Error(), "in use by another satellite process") {
		t.Errorf("the second process: %v", err)
	}
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	second, err := New(r.config, r.prober, r.cores(), quiet)
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	second.close()
}

func TestADataDirectoryBelongsToOneSatellite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &core{})
		r.start()
		sleep(time.Second)
		r.end()
		r.config.ID = "another"
		_, err := New(r.config, r.prober, r.cores(), quiet)
		if err == nil || !strings.Contains(err.Error(), "belongs to satellite "+satelliteID) {
			t.Errorf("another satellite's directory: %v", err)
		}
	})
}

func TestUnreadableFilesAreNamed(t *testing.T) {
	t.Parallel()
	for file, content := range map[string]string{"desired.json": "{", "spool/checkpoint.json": "{"} {
		r := newRig(t, &core{})
		path := filepath.Join(r.config.DataDir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := New(r.config, r.prober, r.cores(), quiet)
		if err == nil || !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// Assignments that cannot be written down are run all the same; the status says
// so, and they are written when that is possible again.
func TestAssignmentsThatCannotBeWrittenDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{revision: 1}
		r := newRig(t, c)
		r.start()
		sleep(time.Second)
		path := filepath.Join(r.config.DataDir, "desired.json")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		// Nothing can be renamed to a folder that is not empty.
		if err := os.MkdirAll(filepath.Join(path, "full"), 0o700); err != nil {
			t.Fatal(err)
		}
		c.push(&protocol.Delta{Base: 1, Revision: 2, Upserts: []protocol.Assignment{assignment("front", "shop", 10*time.Second)}})
		sleep(30 * time.Second)
		if got := r.satellite.Status().Schedule; !strings.Contains(got.Error, "writing the assignments down") || got.Revision != 2 {
			t.Errorf("status %+v", got)
		}
		if results, _ := c.account(); len(results[front]) != 3 {
			t.Errorf("%d results", len(results[front]))
		}
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		sleep(2 * time.Second)
		if got := r.satellite.Status().Schedule; got.Error != "" {
			t.Errorf("status %+v", got)
		}
		r.end()
		if d, err := loadDesired(path); err != nil || d.Revision != 2 {
			t.Errorf("on disk: %+v, %v", d, err)
		}
	})
}

// Names come from the assignment; each falls back to its own id (L106-L108).
func TestL106_L107_L108_NamesFallBackToIds(t *testing.T) {
	t.Parallel()
	for _, names := range [][2]string{{"Front page", "Web"}, {"", "Web"}, {"Front page", ""}, {"", ""}} {
		var r recent
		a := assignment("front", "shop", time.Minute)
		a.ConfigName, a.SystemName = names[0], names[1]
		w := &work{assignment: &a}
		r.add(w, record(w, healthy(0), 1, time.Now()))
		wantCheck, wantSystem := names[0], names[1]
		if wantCheck == "" {
			wantCheck = "front"
		}
		if wantSystem == "" {
			wantSystem = "shop"
		}
		if got := r.runs[0]; got.Check != wantCheck || got.System != wantSystem {
			t.Errorf("names %q: %+v", names, got)
		}
	}
}

// A result with texts or evidence beyond the limits is cut, says so, and travels.
func TestOversizedResultsTravel(t *testing.T) {
	t.Parallel()
	a := assignment("front", "shop", time.Minute)
	r := check.Result{Status: check.Unhealthy, Message: strings.Repeat("é", protocol.MaxText)}
	big := make([]byte, protocol.MaxResult+10)
	for i := range big {
		big[i] = 'x'
	}
	big[0], big[len(big)-1] = '"', '"'
	r.Metadata.Collectors = map[string]json.RawMessage{"e1": big}
	got := record(&work{assignment: &a}, r, 1, time.Now())
	if err := encodable(got); err != nil {
		t.Fatal(err)
	}
	if got.Result.Metadata.Collectors != nil || !strings.Contains(got.Result.Metadata.Error, "left out") {
		t.Errorf("evidence: %d entries, error %q", len(got.Result.Metadata.Collectors), got.Result.Metadata.Error)
	}
	if len(got.Result.Message) > protocol.MaxText {
		t.Errorf("message of %d bytes", len(got.Result.Message))
	}
	r.Metadata.Collectors = map[string]json.RawMessage{"e1": json.RawMessage("{")}
	if err := encodable(record(&work{assignment: &a}, r, 1, time.Now())); err == nil {
		t.Error("evidence that is no JSON passed")
	}
}

func TestStatusPage(t *testing.T) {
	t.Parallel()
	c := &core{revision: 3, assignments: []protocol.Assignment{assignment("<b>front", "shop", 50*time.Millisecond)}}
	r := newRig(t, c)
	r.config.StatusListen = "127.0.0.1:0"
	heard := c.slotAfter(time.Now())
	r.start()
	<-heard
	get := func(path string) string {
		t.Helper()
		resp, err := http.Get("http://" + r.satellite.page.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %v", path, resp.StatusCode, err)
		}
		return string(b)
	}
	var status Status
	if err := json.Unmarshal([]byte(get("/status.json")), &status); err != nil {
		t.Fatal(err)
	}
	if !status.Link.Connected || status.Link.Core != "perigee" || status.Schedule.Revision != 3 || len(status.Recent) == 0 {
		t.Errorf("status %+v", status)
	}
	html := get("/")
	for _, want := range []string{"connected", "&lt;b&gt;front", "revision 3"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not say %q:\n%s", want, html)
		}
	}
	if strings.Contains(html, "csat_secret") || strings.Contains(get("/status.json"), "csat_secret") {
		t.Error("the page tells the token")
	}
	http.DefaultClient.CloseIdleConnections()
	r.end()
	c.setDown(true)
}
