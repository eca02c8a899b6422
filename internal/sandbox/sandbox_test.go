package sandbox_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fence"
	"github.com/perigee-monitoring/perigee/internal/sandbox"
	"github.com/perigee-monitoring/perigee/internal/store"
)

var ada = entity.Actor{Type: "user", ID: "u1", Name: "Ada"}

func TestThePolicyIsSetAndReset(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		db, err := store.Open(t.Context(), url, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		bell := &bus.Local{}
		s := sandbox.New(db, entity.NewRecorder(db, bell, sandbox.Derivers()...), bell)
		first, err := s.Get(t.Context())
		if err != nil || !first.IsDefault || first.Policy.Network.Mode != "allowlist" {
			t.Fatalf("%+v, %v", first, err)
		}
		p := fence.Default()
		p.Network = fence.Network{Mode: "unrestricted", DenyLinkLocalAndMetadata: true}
		set, err := s.Set(t.Context(), ada, p)
		if err != nil || set.IsDefault || set.UpdatedBy != "Ada" {
			t.Fatalf("%+v, %v", set, err)
		}
		if now, err := s.Get(t.Context()); err != nil || cmp.Diff(p, now.Policy) != "" {
			t.Errorf("%v, %s", err, cmp.Diff(p, now.Policy))
		}
		if _, err := s.Reset(t.Context(), ada); err != nil {
			t.Fatal(err)
		}
		if now, err := s.Get(t.Context()); err != nil || cmp.Diff(first, now) != "" {
			t.Errorf("%v, %s", err, cmp.Diff(first, now))
		}
		events, err := db.Events(t.Context(), 0, 10)
		if err != nil || len(events) != 2 || events[0].Type != "sandbox.policy_changed" {
			t.Errorf("%+v, %v", events, err)
		}
	})
}

// G8: what is left out is as the original has it, and what is not known is refused.
func TestG8_ThePolicysFields(t *testing.T) {
	t.Parallel()
	var p fence.Policy
	if err := json.Unmarshal([]byte(`{}`), &p); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(p)
	want := `{"enabled":true,"onUnavailable":"degrade","resources":{},"filesystem":{"mode":"off"},"network":{"mode":"unrestricted","denyLinkLocalAndMetadata":true},"privilege":{"mode":"inherit"}}`
	if err != nil || string(text) != want {
		t.Errorf("%s, %v, want %s", text, err, want)
	}
	for _, unknown := range []string{`{"x":1}`, `{"network":{"x":1}}`, `{"resources":{"cpuSeconds":1.5}}`, `[]`} {
		if err := json.Unmarshal([]byte(unknown), &p); err == nil {
			t.Errorf("%s was taken", unknown)
		}
	}
	if p := fence.Default(); p.Validate() != nil {
		t.Error(p.Validate())
	}
	for path, wrong := range map[string]string{
		"onUnavailable":            `{"onUnavailable":"x"}`,
		"filesystem.mode":          `{"filesystem":{"mode":""}}`,
		"network.mode":             `{"network":{"mode":"some"}}`,
		"network.allow[1]":         `{"network":{"mode":"allowlist","allow":["10.0.0.0/8","a b"]}}`,
		"privilege.mode":           `{"privilege":{"mode":"root"}}`,
		"resources.cpuSeconds":     `{"resources":{"cpuSeconds":3601}}`,
		"resources.maxOpenFiles":   `{"resources":{"maxOpenFiles":1048577}}`,
		"resources.maxProcesses":   `{"resources":{"maxProcesses":65537}}`,
		"resources.maxOutputBytes": `{"resources":{"maxOutputBytes":-1}}`,
		"privilege.uid":            `{"privilege":{"mode":"drop-to-uid","uid":-1}}`,
	} {
		var p fence.Policy
		if err := json.Unmarshal([]byte(wrong), &p); err != nil {
			t.Errorf("%s: %v", wrong, err)
			continue
		}
		f, ok := errors.AsType[*fault.Error](p.Validate())
		if !ok || len(f.Fields) != 1 || f.Fields[0].Path != path {
			t.Errorf("%s: %v", wrong, p.Validate())
		}
	}
}
