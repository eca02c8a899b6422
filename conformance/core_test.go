package conformance_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/conformance"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/internal/pgtest"
	"github.com/perigee-monitoring/perigee/internal/server"
)

const administrator = "perigee_conformance-administrator"

// ours runs a core of ours and gives a satellite of it.
func ours(t *testing.T, c server.Config) conformance.Target {
	t.Helper()
	c.Listen, c.AdminToken, c.DataDir, c.Version, c.Log = "127.0.0.1:0", administrator, t.TempDir(), "test", slog.New(slog.DiscardHandler)
	s, err := server.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/api/v1/satellites", strings.NewReader(`{"name":"c","region":"r"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+administrator)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var made struct {
		Satellite struct {
			ID string `json:"id"`
		} `json:"satellite"`
		Token string `json:"token"`
	}
	if err := json.Unmarshal(text, &made); err != nil || made.Token == "" {
		t.Fatalf("%s: %v", text, err)
	}
	return conformance.Target{URL: s.URL(), ID: made.Satellite.ID, Token: made.Token}
}

func TestOurCoreConforms(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]func(testing.TB) string{"SQLite": func(testing.TB) string { return "" }, "PostgreSQL": pgtest.URL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, o := range conformance.Core(t.Context(), ours(t, server.Config{Database: database(t), Bus: "local"}), nil) {
				if !o.Pass || o.NotChecked {
					t.Errorf("%s (%s): %s", o.Name, o.What, o.Detail)
				}
			}
		})
	}
}

// stub is a core that does as the specification says, but for one thing.
type stub struct {
	defect string
	mu     sync.Mutex
	last   link.Conn // guarded by mu: the one session that the satellite has
}

// supersede makes conn the session, and ends the one before.
func (s *stub) supersede(conn link.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil {
		_ = s.last.Close(1000, "")
	}
	s.last = conn
}

// pongless is a socket that does not answer pings.
type pongless struct{ http.ResponseWriter }

func (p pongless) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(p.ResponseWriter).Hijack()
	return swallower{conn}, rw, err
}

// swallower sends everything but pongs, which are frames of their own.
type swallower struct{ net.Conn }

func (s swallower) Write(b []byte) (int, error) {
	if len(b) > 0 && b[0] == 0x8a {
		return len(b), nil
	}
	return s.Conn.Write(b)
}

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/api/ws/satellite" && s.defect != "A1_path" {
		http.NotFound(w, r)
		return
	}
	if r.Header.Get("Upgrade") == "" {
		return
	}
	limit := int64(16 << 20)
	switch s.defect {
	case "A1_too_big":
		limit = 1 << 20
	case "A1_ping":
		w = pongless{w}
	}
	conn, err := link.Accept(w, r, link.Options{ReadLimit: limit})
	if err != nil {
		return
	}
	defer conn.Close(1000, "")
	say := func(format string, args ...any) { _ = conn.Write(fmt.Appendf(nil, format, args...)) }
	known, results := false, 0
	for {
		frame, err := conn.Read()
		if err != nil {
			return
		}
		if len(frame) > 1<<20 {
			continue // which is not worth reading
		}
		var m map[string]any
		if json.Unmarshal(frame, &m) != nil {
			if s.defect == "A3_nonsense_before" && !known || s.defect == "L94_L95_unknown" && known {
				return
			}
			continue
		}
		kind, _ := m["type"].(string)
		switch {
		case kind == "authenticate" && !known:
			if m["token"] != "good" || m["clientId"] != "sat" {
				reason := "Invalid client ID or token"
				if s.defect == "M19_id_of_no_form" && m["clientId"] == "no-uuid" {
					continue // silence
				}
				if s.defect == "L31_wrong_token" && m["clientId"] == "sat" {
					reason = "go away"
				}
				if s.defect == "L54_unknown_id" && m["clientId"] != "sat" && m["clientId"] != "no-uuid" {
					reason = "No such satellite"
				}
				say(`{"type":"auth_failed","reason":%q}`, reason)
				return
			}
			if s.defect == "L92_capabilities" && m["capabilities"] != nil {
				return
			}
			known = true
			if s.defect != "M14_M15_two_connections" {
				s.supersede(conn)
			}
			switch s.defect {
			case "L30_authenticated":
				say(`{"type":"authenticated","satelliteId":"sat"}`)
			case "A4_no_extension":
				say(`{"type":"authenticated","satelliteId":"sat","assignments":[],"perigee":{}}`)
			case "no packages":
				say(`{"type":"authenticated","satelliteId":"sat","assignments":[]}`)
			default:
				say(`{"type":"authenticated","satelliteId":"sat","assignments":[],"scriptPackagesLockfileHash":null}`)
			}
		case !known && slices.Contains([]string{"heartbeat", "result"}, kind):
			reason := "Must authenticate first"
			if s.defect == "L32_authenticate_first" {
				reason = "who are you"
			}
			say(`{"type":"auth_failed","reason":%q}`, reason)
			return
		case kind == "authenticate" && s.defect == "A4_second_authenticate":
			return
		case kind == "heartbeat" && s.defect == "L33_heartbeat":
			say(`{"type":"pong"}`)
		case kind == "result":
			results++
			latency, _ := m["latencyMs"].(float64)
			switch {
			case s.defect == "A5_result":
				say(`{"type":"result_ack"}`)
			case s.defect == "A11_burst" && results > 50,
				s.defect == "M6_odd_results" && latency != math.Trunc(latency),
				s.defect == "F1_malformed_result" && m["result"] != nil:
				return
			}
		case kind == "telemetry_batch":
			say(`{"type":"telemetry_ack","batchId":%q,"accepted":0,"rejected":0,"retryable":%v}`, m["batchId"], s.defect == "A8_telemetry")
		case kind == "request_run_secrets" && s.defect != "L81_L83_run_secrets":
			say(`{"type":"run_secrets","requestId":%q,"error":"no"}`, m["requestId"])
		case kind == "request_config_secrets" && s.defect == "H3_config_secrets":
			return
		case kind == "request_config_secrets":
			say(`{"type":"config_secrets","requestId":%q,"error":"no"}`, m["requestId"])
		case kind == "capability_secret_request" && s.defect == "H4_capability_secret":
			say(`{"type":"capability_secret_response","requestId":%q,"payload":{}}`, m["requestId"])
		case kind == "capability_secret_request":
			say(`{"type":"capability_secret_response","requestId":%q,"error":"no"}`, m["requestId"])
		case kind == "request_script_package_blob" && s.defect != "L44_blob":
			say(`{"type":"script_package_blob","integrity":%q,"data":null}`, m["integrity"])
		case kind == "request_script_package_blob":
			say(`{"type":"script_package_blob","integrity":%q,"data":""}`, m["integrity"])
		case kind == "request_script_package_manifest" && s.defect == "M82_unknown_manifest":
			say(`{"type":"script_package_manifest","lockfileHash":%q,"entries":[]}`, m["lockfileHash"])
		}
	}
}

// A core without packages is not asked for them, and the outcome says so.
func TestWhatACoreHasNotIsNotChecked(t *testing.T) {
	t.Parallel()
	core := httptest.NewServer(&stub{defect: "no packages"})
	defer core.Close()
	var got []conformance.Outcome
	for _, o := range conformance.Core(t.Context(), conformance.Target{URL: core.URL, ID: "sat", Token: "good", Quiet: 100 * time.Millisecond}, nil) {
		if o.NotChecked || !o.Pass {
			got = append(got, o)
		}
	}
	want := []conformance.Outcome{{
		Name: "M82_unknown_manifest", What: "an unknown lockfile hash is not an empty tree", Pass: true, NotChecked: true, Detail: "not checked: the core knows no packages",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// defects are the faults that there are stubs with, each called by the case that finds it.
var defects = []string{
	"A1_path", "L30_authenticated", "A4_no_extension", "L31_wrong_token", "L54_unknown_id", "M19_id_of_no_form", "L32_authenticate_first",
	"A3_nonsense_before", "L94_L95_unknown", "L92_capabilities", "A4_second_authenticate", "L33_heartbeat", "A5_result", "A11_burst", "M6_odd_results",
	"F1_malformed_result", "L81_L83_run_secrets", "H3_config_secrets", "L44_blob", "M82_unknown_manifest", "A8_telemetry", "H4_capability_secret",
	"M14_M15_two_connections", "A1_ping", "A1_too_big",
}

// Nobody is there, so each case is heard of at once.
func TestEachCaseHasAFault(t *testing.T) {
	t.Parallel()
	core := httptest.NewServer(nil)
	core.Close()
	var cases []string
	for _, o := range conformance.Core(t.Context(), conformance.Target{URL: core.URL, ID: "sat", Token: "good"}, nil) {
		cases = append(cases, o.Name)
	}
	if diff := cmp.Diff(cases, defects); diff != "" {
		t.Errorf("(-cases +faults):\n%s", diff)
	}
}

// A case that cannot fail proves nothing: each of these cores has one fault, and the
// case that is about it, and no other, says so.
func TestEachFaultIsFound(t *testing.T) {
	t.Parallel()
	for _, defect := range defects {
		t.Run(defect, func(t *testing.T) {
			t.Parallel()
			core := httptest.NewServer(&stub{defect: defect})
			defer core.Close()
			var failed []string
			for _, o := range conformance.Core(t.Context(), conformance.Target{URL: core.URL, ID: "sat", Token: "good", Quiet: 100 * time.Millisecond}, nil) {
				if !o.Pass {
					failed = append(failed, o.Name)
				}
			}
			if want := []string{defect}; !slices.Equal(want, failed) {
				t.Errorf("failed %v, want %v", failed, want)
			}
		})
	}
}
