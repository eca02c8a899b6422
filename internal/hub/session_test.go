package hub_test

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/hub"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
	"github.com/perigee-monitoring/perigee/protocol"
)

func TestL33_HeartbeatIsNotedWithItsVersion(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.original("s1")
		a.send(&protocol.Heartbeat{Version: "0.5.0", UptimeSeconds: 15})
		a.send(&protocol.Heartbeat{Version: "0.9.0", UptimeSeconds: 30, Capabilities: []string{"telemetry"}})
		a.quiet()
		want := []fleet.Beat{
			{SatelliteID: "s1", Epoch: 1, Version: "0.5.0"},
			{SatelliteID: "s1", Epoch: 1, Version: "0.9.0", Capabilities: []string{"telemetry"}},
		}
		if diff := cmp.Diff(want, w.fleet.heard()); diff != "" {
			t.Errorf("heartbeats (-want +got):\n%s", diff)
		}
	})
}

func TestHeartbeatOfOursIsAnsweredWithTheClock(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.ours("s1")
		pulse := &protocol.Pulse{SentAt: 1234, SpoolRecords: 7}
		a.send(&protocol.Heartbeat{Version: "1", UptimeSeconds: 1, Perigee: pulse})
		now := time.Now().UnixMilli()
		want := &protocol.Clock{Echo: 1234, ReceivedAt: now, SentAt: now}
		if diff := cmp.Diff(want, next[*protocol.Clock](a)); diff != "" {
			t.Errorf("clock (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]fleet.Beat{{SatelliteID: "s1", Epoch: 1, Version: "1", Pulse: pulse, Leases: true}}, w.fleet.heard()); diff != "" {
			t.Errorf("heartbeats (-want +got):\n%s", diff)
		}
	})
}

// M43: what restores a satellite after heartbeat_lost is the epoch of its beats,
// for as long as the socket lives.
func TestM43_HeartbeatsKeepNamingTheirSession(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.original("s1")
		a.send(&protocol.Heartbeat{Version: "1"})
		w.fleet.change("s1", func(r *record) { lost := fleet.HeartbeatLost; r.LastConnectionEvent = &lost })
		a.send(&protocol.Heartbeat{Version: "1"})
		beats := w.fleet.heard()
		if len(beats) != 2 || beats[1].Epoch != 1 {
			t.Errorf("heartbeats are %+v", beats)
		}
		a.quiet()
	})
}

func TestL35_StrategyErrorIsAWarning(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		w.original("s1").send(&protocol.StrategyError{StrategyID: "healthcheck-ssh.ssh", Message: "no such module"})
		w.wantLog(`level=WARN msg="a strategy failed on the satellite"`)
		w.wantLog(`strategy_id=healthcheck-ssh.ssh error="no such module"`)
	})
}

func TestL36_L38_PushesToSatellitesThatAreNotConnectedAreSkipped(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		a := w.original("s1")
		a.conn.Close(protocol.CloseNormal, "Client shutdown")
		synctest.Wait()
		w.fleet.assign("s1", pair("front"), pair("back"))
		before := w.fleet.desired
		w.ring()
		synctest.Wait()
		if len(w.hub.Sessions()) != 0 || w.fleet.desired != before {
			t.Error("something was computed for a satellite that is gone")
		}
	})
}

func TestL42_SyncStateIsKeptUnderTheAuthenticatedID(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.original("s1")
		a.sendText(`{"type":"script_package_sync_state","satelliteId":"other","lockfileHash":null,"status":"ready"}`)
		w.fleet.wantEdges(t, "open s1 1", "sync s1 ready")
	})
}

// What a satellite says of itself survives a database that is away; the latest counts.
func TestNotesAreWrittenWhenTheDatabaseIsBack(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.original("s1")
		w.fleet.hook(func(_ context.Context, call, _ string) error {
			if call == "sync" {
				return away()
			}
			return nil
		})
		hash := "h"
		a.send(&protocol.ScriptPackageSyncState{LockfileHash: &hash, Status: protocol.SyncSyncing})
		synctest.Wait()
		a.send(&protocol.ScriptPackageSyncState{LockfileHash: &hash, Status: protocol.SyncReady})
		<-time.After(time.Minute)
		a.send(&protocol.Heartbeat{Version: "1"})
		if len(w.fleet.heard()) != 1 {
			t.Error("a note that cannot be written holds up heartbeats")
		}
		w.fleet.hook(func(context.Context, string, string) error { return nil })
		<-time.After(time.Minute)
		w.fleet.wantEdges(t, "open s1 1", "sync s1 ready")
	})
}

// packages knows one tree.
type packages struct{ hash *string }

func (p packages) LockfileHash(context.Context) (*string, error) { return p.hash, nil }

func (p packages) Manifest(_ context.Context, hash string) ([]protocol.ManifestEntry, error) {
	if hash != "known" {
		return nil, fault.New(fault.NotFound, "no such tree")
	}
	return []protocol.ManifestEntry{{Name: "zod", Version: "4.2.1", Integrity: "sha512-x"}}, nil
}

func (p packages) Blob(_ context.Context, integrity string) (string, error) {
	if integrity != "sha512-x" {
		return "", fault.New(fault.NotFound, "no such package")
	}
	return "YmxvYg==", nil
}

func (p packages) Piece(_ context.Context, integrity string, offset, length int64) (scriptpkg.Piece, error) {
	if integrity != "sha512-x" {
		return scriptpkg.Piece{}, fault.New(fault.NotFound, "no such package")
	}
	blob := []byte("blob")
	from := min(offset, int64(len(blob)))
	return scriptpkg.Piece{Data: blob[from:min(from+length, int64(len(blob)))], Total: int64(len(blob)), Sha256: scriptpkg.Sha256(blob)}, nil
}

func with(p hub.Packages) func(*hub.Config) { return func(c *hub.Config) { c.Packages = p } }

func TestL39_AuthenticatedCarriesTheWantedHash(t *testing.T) {
	hash := "known"
	for want, p := range map[string]packages{`"scriptPackagesLockfileHash":"known"`: {&hash}, `"scriptPackagesLockfileHash":null`: {nil}} {
		t.Run(want, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.fleet.add("s1")
				a := w.connect()
				a.send(authenticate("s1"))
				if got := a.nextText(); !strings.Contains(got, want) {
					t.Errorf("%s lacks %s", got, want)
				}
			}, with(p))
		})
	}
}

// tree is a provider whose tree changes.
type tree struct {
	packages
	mu    sync.Mutex
	hash  *string
	reads int
}

func (p *tree) LockfileHash(context.Context) (*string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads++
	return p.hash, nil
}

func (p *tree) set(hash *string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hash = hash
}

func TestL41_RefreshGoesToEveryConnectedSatellite(t *testing.T) {
	provider := &tree{}
	var rings chan struct{}
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		w.fleet.add("s2")
		all := []*agent{w.original("s1"), w.ours("s2")}
		for _, hash := range []string{"h", "i"} {
			provider.set(&hash)
			rings <- struct{}{}
			for _, a := range all {
				if got := next[*protocol.RefreshScriptPackages](a).LockfileHash; got != hash {
					t.Errorf("the hash is %q, want %q", got, hash)
				}
			}
		}
		rings <- struct{}{} // who was told already hears nothing
		for _, a := range all {
			a.quiet()
		}
	}, with(provider), func(c *hub.Config) {
		rings = make(chan struct{}, 1) // of the bubble
		c.PackageChanges = rings
	})
}

// A fleet that comes back at once is told the tree that was read once, and after a
// change nobody is told an old one.
func TestM27_TheTreeIsReadOnceForAStorm(t *testing.T) {
	first, second := "h", "i"
	provider := &tree{hash: &first}
	var rings chan struct{}
	inBubble(t, func(w *world) {
		const storm = 50
		for i := range storm {
			w.fleet.add(strconv.Itoa(i))
			w.original(strconv.Itoa(i))
		}
		provider.mu.Lock()
		if provider.reads != 1 {
			t.Errorf("it was read %d times for %d satellites", provider.reads, storm)
		}
		provider.mu.Unlock()
		provider.set(&second)
		rings <- struct{}{}
		synctest.Wait()
		w.fleet.add("late")
		a := w.connect()
		a.send(authenticate("late"))
		if got := next[*protocol.Authenticated](a).ScriptPackagesLockfileHash; got.OrZero() != second {
			t.Errorf("who comes after the change is told %q", got.OrZero())
		}
	}, with(provider), func(c *hub.Config) {
		rings = make(chan struct{}, 1) // of the bubble
		c.PackageChanges = rings
	})
}

// A bell may be lost; the poll finds out.
func TestRefreshDoesNotNeedTheBell(t *testing.T) {
	provider := &tree{}
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.original("s1")
		hash := "h"
		provider.set(&hash)
		if got := next[*protocol.RefreshScriptPackages](a).LockfileHash; got != hash {
			t.Errorf("the hash is %q", got)
		}
	}, with(provider))
}

func TestM88_NoPackagesIsToldWithTheAssignments(t *testing.T) {
	hash := "h"
	provider := &tree{hash: &hash}
	var rings chan struct{}
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		w.fleet.add("s2", pair("front"))
		for _, a := range []*agent{w.original("s1"), w.ours("s2")} {
			provider.set(nil)
			rings <- struct{}{}
			got := next[*protocol.ConfigUpdated](a)
			if !got.ScriptPackagesLockfileHash.Present || got.ScriptPackagesLockfileHash.Value != nil || len(got.Assignments) != 1 {
				t.Errorf("it was told %+v", got)
			}
			provider.set(&hash)
			rings <- struct{}{}
			next[*protocol.RefreshScriptPackages](a)
		}
	}, with(provider), func(c *hub.Config) {
		rings = make(chan struct{}, 1) // of the bubble
		c.PackageChanges = rings
	})
}

func TestL43_L44_ManifestAndBlobAreAnswered(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.original("s1")
		a.send(&protocol.RequestScriptPackageManifest{LockfileHash: "known"})
		if got := next[*protocol.ScriptPackageManifest](a); got.LockfileHash != "known" || len(got.Entries) != 1 {
			t.Errorf("the manifest is %+v", got)
		}
		a.send(&protocol.RequestScriptPackageBlob{Integrity: "sha512-x"})
		if got := next[*protocol.ScriptPackageBlob](a); got.Integrity != "sha512-x" || got.Data == nil || *got.Data != "YmxvYg==" {
			t.Errorf("the blob is %+v", got)
		}
		a.send(&protocol.RequestScriptPackageBlob{Integrity: "unknown"})
		if got := next[*protocol.ScriptPackageBlob](a); got.Data != nil {
			t.Errorf("an unknown blob is %+v", got)
		}
	}, with(packages{}))
}

func TestM82_UnknownManifestIsNotAnEmptyOne(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.original("s1")
		a.send(&protocol.RequestScriptPackageManifest{LockfileHash: "stale"})
		a.quiet()
	}, with(packages{}))
}

// Our own satellites are told why, and get blobs in pieces; original agents are told
// which hash is wanted.
func TestM82_M85_PiecesAndErrorsUnderChunk(t *testing.T) {
	wanted := "known"
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		w.fleet.add("s2")
		a := w.ours("s1")
		a.send(&protocol.RequestScriptPackageManifest{LockfileHash: "stale"})
		if got := next[*protocol.ScriptPackageManifest](a); got.Error != "no such tree" {
			t.Errorf("the manifest is %+v", got)
		}
		a.send(&protocol.BlobRequest{RequestID: "1", Integrity: "sha512-x", Offset: 1, Length: 2})
		want := &protocol.BlobChunk{RequestID: "1", Offset: 1, Total: 4, Sha256: scriptpkg.Sha256([]byte("blob")), Data: "bG8="}
		if diff := cmp.Diff(want, next[*protocol.BlobChunk](a)); diff != "" {
			t.Errorf("the piece (-want +got):\n%s", diff)
		}
		a.send(&protocol.BlobRequest{RequestID: "2", Integrity: "unknown", Length: 2})
		if got := next[*protocol.BlobChunk](a); got.Error != "no such package" {
			t.Errorf("an unknown piece is %+v", got)
		}
		original := w.original("s2")
		original.send(&protocol.RequestScriptPackageManifest{LockfileHash: "stale"})
		if got := next[*protocol.RefreshScriptPackages](original); got.LockfileHash != wanted {
			t.Errorf("the original is told %+v", got)
		}
	}, with(packages{&wanted}))
}

// A satellite that reads 100 MiB of packages is not slow, and what else there is goes
// before them.
func TestM85_PackagesDoNotMakeASatelliteSlow(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.ours("s1")
		for i := range 400 {
			a.send(&protocol.BlobRequest{RequestID: strconv.Itoa(i), Integrity: "sha512-x", Offset: int64(i) * protocol.MaxChunk, Length: protocol.MaxChunk})
		}
		for range 400 {
			if got := next[*protocol.BlobChunk](a); got.Total != 100<<20 {
				t.Fatalf("the piece is %+v", got)
			}
		}
	}, with(bulky{}))
}

// bulky knows one package of 100 MiB.
type bulky struct{ packages }

func (bulky) Piece(_ context.Context, _ string, _, length int64) (scriptpkg.Piece, error) {
	return scriptpkg.Piece{Data: make([]byte, length), Total: 100 << 20}, nil
}

// A.5, A.8, H.2–H.4, A.11.6: what is not offered is answered with a no.
func TestL164_L166_L171_RequestsForWhatIsNotOfferedAreAnswered(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.original("s1")
		for _, c := range []struct{ ask, answer string }{
			{
				`{"type":"request_run_secrets","requestId":"r","configId":"c","collectorId":"e","runId":"x"}`,
				`{"type":"run_secrets","requestId":"r","error":"Secret delivery is not available on this core instance."}`,
			},
			{
				`{"type":"request_config_secrets","requestId":"r","configId":"c","runId":"x"}`,
				`{"type":"config_secrets","requestId":"r","error":"Config-secret delivery is not available on this core instance."}`,
			},
			{
				`{"type":"telemetry_batch","batchId":"0","kind":"telemetry","payload":{}}`,
				`{"type":"telemetry_ack","batchId":"0","accepted":0,"rejected":0,"retryable":false}`,
			},
			{
				`{"type":"capability_secret_request","requestId":"r","kind":"syslog","payload":null}`,
				`{"type":"capability_secret_response","requestId":"r","error":"No secret resolver for capability \"syslog\" on this core instance."}`,
			},
			{
				`{"type":"request_script_package_manifest","lockfileHash":"h"}`,
				`{"type":"script_package_manifest","lockfileHash":"h","entries":[]}`,
			},
			{
				`{"type":"request_script_package_blob","integrity":"i"}`,
				`{"type":"script_package_blob","integrity":"i","data":null}`,
			},
		} {
			a.sendText(c.ask)
			if got := a.nextText(); got != c.answer {
				t.Errorf("%s\nis answered %s\n    instead of %s", c.ask, got, c.answer)
			}
		}
		a.sendText(`{"type":"capability_status","kind":"telemetry","payload":{}}`)
		a.sendText(`{"type":"from_the_future"}`)
		a.sendText(`{"type":"heartbeat"}`)
		a.quiet()
	})
}

// policies is a provider of sandbox policies.
type policies struct {
	mu   sync.Mutex
	text string
}

func (p *policies) Policy(context.Context) (json.RawMessage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return json.RawMessage(p.text), nil
}

func TestL156_L158_SandboxPolicyIsToldAndItsChangesToo(t *testing.T) {
	provider := &policies{text: `{"enabled":true}`}
	var rings chan struct{}
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		w.fleet.add("s2")
		a := w.connect()
		a.send(authenticate("s1"))
		if got := a.nextText(); !strings.Contains(got, `"sandboxPolicy":{"enabled":true}`) {
			t.Errorf("%s lacks the policy", got)
		}
		b := w.ours("s2")
		provider.mu.Lock()
		provider.text = `{"enabled":false}`
		provider.mu.Unlock()
		rings <- struct{}{}
		for _, each := range []*agent{a, b} {
			if got := string(next[*protocol.SandboxPolicy](each).Policy); got != `{"enabled":false}` {
				t.Errorf("the change is %s", got)
			}
		}
		rings <- struct{}{} // who was told already hears nothing
		a.quiet()
		// A bell may be lost; the poll finds out.
		provider.mu.Lock()
		provider.text = `{"enabled":true}`
		provider.mu.Unlock()
		next[*protocol.SandboxPolicy](a)
		next[*protocol.SandboxPolicy](b)
	}, func(c *hub.Config) {
		rings = make(chan struct{}, 1) // of the bubble
		c.Sandbox, c.SandboxChanges = provider, rings
	})
}

// M46: with a grace, who is back in time was never away.
func TestM46_EndsAreToldAfterAGrace(t *testing.T) {
	grace := func(c *hub.Config) { c.Limits.Grace = 10 * time.Second }
	t.Run("unless it is back", func(t *testing.T) {
		inBubble(t, func(w *world) {
			w.fleet.add("s1")
			w.fleet.add("s2")
			first, second := w.ours("s1"), w.ours("s2")
			first.conn.Close(link.Lost, "")
			second.conn.Close(link.Lost, "")
			time.Sleep(9 * time.Second)
			w.ours("s1")
			w.fleet.wantEdges(t, "open s1 1", "open s2 1", "open s1 2")
			time.Sleep(2 * time.Second)
			// That of the older session alters nothing: there is a newer one.
			got := w.fleet.edges()
			slices.Sort(got)
			if want := []string{"close s1 1", "close s2 1", "open s1 1", "open s1 2", "open s2 1"}; !slices.Equal(want, got) {
				t.Errorf("writes are %v, want %v", got, want)
			}
		}, grace)
	})
	t.Run("and not by a core that stops", func(t *testing.T) {
		inBubble(t, func(w *world) {
			w.fleet.add("s1")
			w.ours("s1").conn.Close(link.Lost, "")
			synctest.Wait()
			w.stop() // at once, and it is the monitor's then
			w.fleet.wantEdges(t, "open s1 1")
		}, grace)
	})
}

// M14, M15, M16: the newer session wins, the older is told, and its end touches
// nothing of the newer.
func TestM14_M15_M16_NewerSessionSupersedesTheOlder(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		older, newer := w.ours("s1"), w.ours("s1")
		older.wantClosed(protocol.CloseSuperseded)
		w.fleet.wantEdges(t, "open s1 1", "open s1 2")

		sessions := w.hub.Sessions()
		if len(sessions) != 1 || sessions[0].Epoch != 2 {
			t.Fatalf("sessions are %+v", sessions)
		}
		w.fleet.assign("s1", pair("front"), pair("back"))
		w.ring()
		next[*protocol.Delta](newer)
		newer.send(batch(slotted(1, "front")))
		next[*protocol.Ack](newer)
		w.ingest.wantRuns(t, "front")

		newer.conn.Close(link.Lost, "")
		w.fleet.wantEdges(t, "open s1 1", "open s1 2", "close s1 2")
	})
}

func TestM15_OriginalThatIsSupersededIsToldInItsWords(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		older := w.original("s1")
		w.original("s1")
		if got := next[*protocol.Shutdown](older).Reason; got != "a newer session of this satellite took over" {
			t.Errorf("the reason is %q", got)
		}
		older.wantClosed(protocol.CloseSuperseded)
		w.original("s1").conn.Close(link.Lost, "")
		w.original("s1") // that one was gone
		w.original("s1")
		w.original("s1") // the third that was alive
		w.wantLog("duplicate identity")
		if got := w.metric("duplicate_identities_total"); got != 1 {
			t.Errorf("%v duplicate identities are counted", got)
		}
	})
}

// M16: the session that was opened first may be registered last.
func TestM16_OlderSessionThatComesLateIsTheOneThatEnds(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		proceed := make(chan struct{})
		w.fleet.hook(func(context.Context, string, string) error { return nil })
		slow := w.connect()
		w.fleet.change("s1", func(r *record) { r.Epoch = 0 })
		slowOpen := true
		w.fleet.hook(func(_ context.Context, call, _ string) error {
			if call == "open" && slowOpen {
				slowOpen = false
				w.fleet.change("s1", func(r *record) { r.Epoch = 6 }) // the newer one will be 8
				<-proceed
				w.fleet.change("s1", func(r *record) { r.Epoch = 5 })
			}
			return nil
		})
		slow.send(authenticate("s1"))
		synctest.Wait()
		w.original("s1")
		close(proceed)
		synctest.Wait()
		next[*protocol.Authenticated](slow)
		next[*protocol.Shutdown](slow)
		slow.wantClosed(protocol.CloseSuperseded)
		if sessions := w.hub.Sessions(); len(sessions) != 1 || sessions[0].Epoch != 7 {
			t.Errorf("sessions are %+v", sessions)
		}
	})
}

// M15, two cores: the other core's newer session is found by its epoch.
func TestM15_SessionSupersededAtAnotherCoreEnds(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.ours("s1")
		w.fleet.change("s1", func(r *record) { r.Epoch++ })
		a.wantClosed(protocol.CloseSuperseded) // found by the slow poll
		w.fleet.wantEdges(t, "open s1 1")
	})
}

// M24: nothing is dropped silently; a satellite that does not read is closed.
func TestM24_SatelliteThatDoesNotReadIsClosedAsSlow(t *testing.T) {
	small := func(c *hub.Config) { c.Limits.QueueFrames = 16 }
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.connectUnread()
		a.send(hello("s1"))
		synctest.Wait()
		for i := range int64(1000) {
			frame, err := protocol.Encode(&protocol.Heartbeat{Version: "1", Perigee: &protocol.Pulse{SentAt: i}})
			if err != nil {
				t.Fatal(err)
			}
			if a.conn.Write(frame) != nil {
				break // closed meanwhile
			}
		}
		<-time.After(5 * time.Second)
		if got := w.metric("closes_total", "slow"); got != 1 {
			t.Errorf("%v slow satellites are counted", got)
		}
		w.fleet.wantEdges(t, "open s1 1", "close s1 1")
	}, small)
}

// M21: a link on which nothing is heard is pinged, and ended when it stays silent.
func TestM21_SilentLinkIsPingedAndThenEnded(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		lively := w.original("s1") // answers pings, says nothing
		<-time.After(5 * time.Minute)
		lively.quiet()
		if len(w.hub.Sessions()) != 1 {
			t.Fatal("a satellite that answers pings was closed")
		}

		w.fleet.add("s2")
		dead := w.connectUnread() // as half-open as a pipe can be
		dead.send(authenticate("s2"))
		<-time.After(2 * time.Minute)
		if got := w.metric("closes_total", "silent"); got != 1 {
			t.Errorf("%v silent satellites are counted", got)
		}
		w.fleet.wantEdges(t, "open s1 1", "open s2 1", "close s2 1")
	})
}

// M25: every end has a code of its own, and M26: a stopping core says so and
// writes no edges.
func TestM25_M26_StoppingCoreSaysGoingAwayAndWritesNoEdges(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		w.fleet.add("s2")
		all := []*agent{w.original("s1"), w.ours("s2"), w.connect()}
		w.stop()
		for _, a := range all {
			a.wantClosed(protocol.CloseGoingAway)
		}
		w.fleet.wantEdges(t, "open s1 1", "open s2 1")
		late := w.connect()
		late.wantClosed(protocol.CloseGoingAway)
	})
}

// The end of a session is not forgotten because the database is away.
func TestEndOfASessionIsRecordedWhenTheDatabaseIsBack(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.original("s1")
		w.fleet.hook(func(_ context.Context, call, _ string) error {
			if call == "close" {
				return away()
			}
			return nil
		})
		a.conn.Close(link.Lost, "")
		<-time.After(time.Minute)
		w.fleet.wantEdges(t, "open s1 1")
		w.fleet.hook(func(context.Context, string, string) error { return nil })
		<-time.After(time.Minute)
		w.fleet.wantEdges(t, "open s1 1", "close s1 1")
	})
}

func TestEndOfASessionThatCannotBeRecordedIsGivenUp(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.original("s1")
		w.fleet.hook(func(context.Context, string, string) error { return away() })
		a.conn.Close(link.Lost, "")
		<-time.After(5 * time.Minute)
		w.wantLog("the monitor will find it")
		if got := w.metric("connections"); got != 0 {
			t.Errorf("%v connections are left", got)
		}
	})
}

// A satellite that comes and goes leaves one absence to be told, not one for each time.
func TestM46_OneAbsenceIsWaitedFor(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		for range 100 {
			w.original("s1").conn.Close(protocol.CloseNormal, "")
			synctest.Wait()
		}
		if n := w.metric("connections"); n > 1 {
			t.Errorf("%v connections of one satellite, which is not connected, are kept", n)
		}
		<-time.After(11 * time.Second)
		edges := w.fleet.edges()
		if diff := cmp.Diff([]string{"open s1 100", "close s1 100"}, edges[len(edges)-2:]); diff != "" || len(edges) != 101 {
			t.Errorf("%d writes, the last (-want +got):\n%s", len(edges), diff)
		}
	}, func(c *hub.Config) { c.Limits.Grace = 10 * time.Second })
}
