package server_test

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/server"
)

// What is exported while others apply is of one moment: all of it is of one apply.
func TestAnExportIsOfOneMoment(t *testing.T) {
	onBothEngines(t, func(t *testing.T, c server.Config) {
		_, api := start(t, c)
		type document struct {
			APIVersion string         `json:"apiVersion"`
			Kind       string         `json:"kind"`
			Metadata   map[string]any `json:"metadata"`
			Spec       map[string]any `json:"spec"`
		}
		version := func(n int) []document {
			all := []document{
				{Kind: "System", Spec: map[string]any{}},
				{Kind: "Check", Spec: map[string]any{"strategy": check.TCP, "interval": "1m", "config": map[string]any{"host": "127.0.0.1", "port": 1}}},
				{Kind: "Automation", Spec: map[string]any{
					"triggers": []any{map[string]any{"event": "system.created"}}, "actions": []any{map[string]any{"stop": map[string]any{}}},
				}},
			}
			for i := range all {
				all[i].APIVersion, all[i].Metadata = "perigee/v1", map[string]any{"name": "x", "labels": map[string]any{"version": fmt.Sprint(n)}}
			}
			return all
		}
		apply := func(n int) error {
			return api.Post(t.Context(), "/apply", map[string]any{"documents": version(n)}, nil)
		}
		if err := apply(0); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		var applying errgroup.Group
		applying.Go(func() error {
			defer close(done)
			for n := range 40 {
				if err := apply(n + 1); err != nil {
					return err
				}
			}
			return nil
		})
		for over := false; !over; {
			select {
			case <-done:
				over = true
			default:
			}
			var got struct{ Documents []document }
			if err := api.Get(t.Context(), "/export", nil, &got); err != nil {
				t.Error(err)
				break
			}
			of := map[string]int{}
			for _, d := range got.Documents {
				labels, _ := d.Metadata["labels"].(map[string]any)
				of[d.Kind], _ = strconv.Atoi(fmt.Sprint(labels["version"]))
			}
			if n := of["System"]; len(of) != 3 || of["Check"] != n || of["Automation"] != n {
				t.Errorf("torn: %v", of)
				break
			}
		}
		if err := applying.Wait(); err != nil {
			t.Fatal(err)
		}
	})
}

// What cannot be done whole is not done at all: an automation too many takes the system back
// that was applied with it.
func TestAnApplyIsWholeOrNothing(t *testing.T) {
	onBothEngines(t, func(t *testing.T, c server.Config) {
		_, api := start(t, c)
		automations := func(from, to int) (all []any) {
			for n := from; n < to; n++ {
				all = append(all, map[string]any{"apiVersion": "perigee/v1", "kind": "Automation", "metadata": map[string]any{"name": fmt.Sprint("a", n)}, "spec": map[string]any{
					"triggers": []any{map[string]any{"event": "system.created"}}, "actions": []any{map[string]any{"stop": map[string]any{}}},
				}})
			}
			return all
		}
		apply := func(documents []any) error {
			return api.Post(t.Context(), "/apply", map[string]any{"documents": documents}, nil)
		}
		for n := 0; n < automation.MaxAutomations-1; n += 100 {
			if err := apply(automations(n, min(n+100, automation.MaxAutomations-1))); err != nil {
				t.Fatal(err)
			}
		}
		before := newest(t, api)
		system := map[string]any{"apiVersion": "perigee/v1", "kind": "System", "metadata": map[string]any{"name": "late"}, "spec": map[string]any{}}
		both := append(automations(automation.MaxAutomations-1, automation.MaxAutomations+1), system)
		if err := apply(both); !strings.Contains(fmt.Sprint(err), "cannot be more") {
			t.Errorf("one automation too many: %v", err)
		}
		if after := newest(t, api); after != before {
			t.Errorf("the last event is %s, and was %s before", after, before)
		}
		if err := apply(both[1:]); err != nil {
			t.Errorf("as many as may be: %v", err)
		}
	})
}

// newest is the newest event.
func newest(t *testing.T, api *client.Client) string {
	t.Helper()
	var got struct{ Items []entity.Event }
	if err := api.Get(t.Context(), "/events", url.Values{"limit": {"1"}}, &got); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(got.Items)
}
