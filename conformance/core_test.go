package conformance_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/conformance"
	"github.com/perigee-monitoring/perigee/internal/administrator"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/internal/npmtest"
	"github.com/perigee-monitoring/perigee/internal/pgtest"
	"github.com/perigee-monitoring/perigee/internal/server"
	"github.com/perigee-monitoring/perigee/internal/server/servertest"
)

// ours runs a core of ours and gives a satellite of it.
func ours(t *testing.T, c server.Config) conformance.Target {
	t.Helper()
	url, api := servertest.Core(t, c)
	admin := administrator.New(api)
	t.Cleanup(func() { // before the core ends
		if err := admin.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	made, err := admin.Enrol(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return conformance.Target{URL: url, ID: made.ID, Token: made.Token, Administrator: admin}
}

func TestOurCoreConforms(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]func(testing.TB) string{"SQLite": func(testing.TB) string { return "" }, "PostgreSQL": pgtest.URL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, o := range conformance.Core(t.Context(), ours(t, server.Config{Database: database(t), Bus: "local", Registry: npmtest.New(t).URL}), nil) {
				if !o.Pass || o.NotChecked {
					t.Errorf("%s (%s): %s", o.Name, o.What, o.Detail)
				}
			}
		})
	}
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
	known, results, satellite := false, 0, ""
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
			id, _ := m["clientId"].(string)
			if !s.knows(id, m["token"]) {
				reason := "Invalid client ID or token"
				if s.defect == "M19_id_of_no_form" && m["clientId"] == "no-uuid" {
					continue // silence
				}
				if s.defect == "L31_wrong_token" && m["clientId"] == "sat" {
					reason = "go away"
				}
				if s.defect == "L54_unknown_id" && id == "00000000-0000-4000-8000-000000000000" {
					reason = "No such satellite"
				}
				say(`{"type":"auth_failed","reason":%q}`, reason)
				s.refuse(id)
				return
			}
			if s.defect == "L92_capabilities" && m["capabilities"] != nil && id == "sat" {
				return
			}
			known = true
			satellite = id
			assignments := s.connect(id, conn, m["capabilities"])
			defer s.disconnect(id, conn)
			told, more := id, `,"scriptPackagesLockfileHash":`+s.tree()
			switch s.defect {
			case "L30_authenticated":
				told = "nobody"
			case "A4_no_extension":
				more += `,"perigee":{}`
			case "no packages":
				more = ""
			}
			say(`{"type":"authenticated","satelliteId":%q,"assignments":%s%s}`, told, assignments, more)
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
			fallthrough
		case kind == "heartbeat":
			s.heard(satellite, m["version"])
		case kind == "result":
			results++
			s.take(satellite, m)
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
		case kind == "request_run_secrets" && s.defect == "L81_L83_run_secrets" && m["configId"] == "none":
		case kind == "request_run_secrets":
			if env := s.secrets(satellite, m["configId"]); env != "" {
				say(`{"type":"run_secrets","requestId":%q,"env":%s}`, m["requestId"], env)
				continue
			}
			say(`{"type":"run_secrets","requestId":%q,"error":"no"}`, m["requestId"])
		case kind == "request_config_secrets" && s.defect == "H3_config_secrets":
			return
		case kind == "request_config_secrets":
			say(`{"type":"config_secrets","requestId":%q,"error":"no"}`, m["requestId"])
		case kind == "capability_secret_request" && s.defect == "H4_capability_secret":
			say(`{"type":"capability_secret_response","requestId":%q,"payload":{}}`, m["requestId"])
		case kind == "capability_secret_request":
			say(`{"type":"capability_secret_response","requestId":%q,"error":"no"}`, m["requestId"])
		case kind == "request_script_package_blob":
			say(`{"type":"script_package_blob","integrity":%q,"data":%s}`, m["integrity"], s.blob(m["integrity"]))
		case kind == "request_script_package_manifest":
			if entries := s.manifest(m["lockfileHash"]); entries != "" {
				say(`{"type":"script_package_manifest","lockfileHash":%q,"entries":%s}`, m["lockfileHash"], entries)
			}
		case kind == "script_package_sync_state":
			s.noted(satellite, m)
		}
	}
}

// A core without packages is not asked for them, and the outcome says so.
func TestWhatACoreHasNotIsNotChecked(t *testing.T) {
	t.Parallel()
	stub := newStub("no packages")
	core := httptest.NewServer(stub)
	defer core.Close()
	var got []conformance.Outcome
	for _, o := range conformance.Core(t.Context(), conformance.Target{URL: core.URL, ID: "sat", Token: "good", Administrator: stub, Patience: 30 * time.Second, Quiet: 100 * time.Millisecond}, nil) {
		if o.NotChecked && slices.Contains(needPackage, o.Name) {
			continue // see there
		}
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

// What needs an administrator is not asked of a core that nobody administers.
func TestWithoutAnAdministratorNothingFails(t *testing.T) {
	t.Parallel()
	core := httptest.NewServer(newStub(""))
	defer core.Close()
	const first = "L220_assignment"
	administered := false
	for _, o := range conformance.Core(t.Context(), conformance.Target{URL: core.URL, ID: "sat", Token: "good", Quiet: 100 * time.Millisecond}, nil) {
		administered = administered || o.Name == first
		if !o.Pass || o.NotChecked != administered || administered && o.Detail != "not checked: nobody administers the core" {
			t.Errorf("%+v", o)
		}
	}
	if !administered {
		t.Errorf("there is no %s", first)
	}
}

// defects are the faults that there are stubs with, each called by the case that finds it.
var defects = []string{
	"A1_path", "L30_authenticated", "A4_no_extension", "L31_wrong_token", "L54_unknown_id", "M19_id_of_no_form", "L32_authenticate_first",
	"A3_nonsense_before", "L94_L95_unknown", "L92_capabilities", "A4_second_authenticate", "L33_heartbeat", "A5_result", "A11_burst", "M6_odd_results",
	"F1_malformed_result", "L81_L83_run_secrets", "H3_config_secrets", "L44_blob", "M82_unknown_manifest", "A8_telemetry", "H4_capability_secret",
	"M14_M15_two_connections", "A1_ping", "A1_too_big",
	"L220_assignment", "L37_config_updated", "L36_L38_away", "M62_M63_altered", "M64_others", "L34_L154_result", "L152_not_assigned", "L153_other_system",
	"L155_refreshed", "L225_failing", "L226_L228_passing", "L229_unknown_entry", "L26_L82_run_secrets", "L27_foreign_secrets", "L28_no_secrets", "L45_connected", "L48_disconnected", "L49_refused", "M16_late_close", "L33_noted",
	"L159_capabilities", "M32_rotated", "M32_deleted",
	"L39_hash", "L41_refresh", "L42_sync_state", "L43_manifest", "L44_package", "L77_removed",
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
	var running sync.WaitGroup
	defer running.Wait()
	places := make(chan struct{}, 4) // mostly they wait, which parallel tests do too few at a time
	for _, defect := range defects {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			t.Run(defect, func(t *testing.T) {
				stub := newStub(defect)
				core := httptest.NewServer(stub)
				defer core.Close()
				target := conformance.Target{
					URL: core.URL, ID: "sat", Token: "good", Administrator: stub, Patience: 4 * time.Second, Quiet: 100 * time.Millisecond,
					// So many bytes are sent to three cores only, of which two have nothing to do with them.
					Only: func(name string) bool {
						return name != "A1_too_big" || slices.Contains([]string{name, "A1_ping", "A11_burst"}, defect)
					},
				}
				var failed []string
				for _, o := range conformance.Core(t.Context(), target, nil) {
					if !o.Pass {
						failed = append(failed, o.Name)
					}
				}
				if want := []string{defect}; !slices.Equal(want, failed) {
					t.Errorf("failed %v, want %v", failed, want)
				}
			})
		})
	}
}
