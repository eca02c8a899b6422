package hub_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/protocol"
)

// Whatever an original agent says, and whatever happens at the core meanwhile, it
// hears nothing but the base protocol; and so does one of ours that named no features.
func TestWhoAgreedOnNothingHearsNothingOfTheExtension(t *testing.T) {
	hash := "known"
	for name, enter := range map[string]*protocol.Authenticate{
		"original": authenticate("s1"),
		"ours, without features": func() *protocol.Authenticate {
			m := hello("s1", "quantum")
			m.Perigee.SealKey = "key"
			return m
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			provider := &tree{hash: &hash}
			inBubble(t, func(w *world) {
				w.fleet.add("s1", pair("front"))
				a := w.connect()
				a.send(enter)
				synctest.Wait()
				for _, m := range []protocol.FromAgent{
					&protocol.Heartbeat{Version: "1", Perigee: &protocol.Pulse{SentAt: 1}},
					&protocol.Results{Records: []protocol.Record{{Seq: 1, Skip: &protocol.Skip{ConfigID: "front", SystemID: "s", From: 1, To: 1, Count: 1, Reason: protocol.SkipDown}}}},
					&protocol.Applied{Revision: 1},
					&protocol.RequestScriptPackageManifest{LockfileHash: "known"},
					&protocol.RequestScriptPackageManifest{LockfileHash: "unknown"},
					&protocol.RequestScriptPackageBlob{Integrity: "sha512-x"},
					&protocol.BlobRequest{RequestID: "b", Integrity: "sha512-x", Length: 1},
					&protocol.RequestRunSecrets{RequestID: "r", ConfigID: "front", CollectorID: "e", RunID: "1"},
					&protocol.RequestConfigSecrets{RequestID: "c", ConfigID: "front", RunID: "1"},
				} {
					a.send(m)
					synctest.Wait()
				}
				w.fleet.assign("s1", pair("front"), pair("back"))
				w.ring()
				other := "h"
				provider.set(&other)
				<-time.After(time.Minute)
				a.send(&protocol.Heartbeat{Version: "1"})
				synctest.Wait()
				kinds := make(map[string]bool)
				for len(a.in) > 0 {
					text := a.nextText()
					var m map[string]json.RawMessage
					if err := json.Unmarshal([]byte(text), &m); err != nil {
						t.Fatal(err)
					}
					kinds[strings.Trim(string(m["type"]), `"`)] = true
					if enter.Perigee != nil {
						delete(m, "perigee") // the welcome
					}
					left, _ := json.Marshal(m)
					if strings.Contains(strings.ToLower(string(left)), "perigee") {
						t.Errorf("heard %s", text)
					}
				}
				want := []string{
					"authenticated", "config_secrets", "config_updated", "refresh_script_packages", "run_secrets", "script_package_blob", "script_package_manifest",
				}
				if diff := cmp.Diff(want, slices.Sorted(maps.Keys(kinds))); diff != "" {
					t.Errorf("kinds of messages (-want +got):\n%s", diff)
				}
			}, with(provider))
		})
	}
}
