package server_test

import (
	"fmt"
	"strconv"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/server"
)

// What is exported while others apply is of one moment: definitions are of one apply, and
// automations, which an apply makes after them, are not of a later one.
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
			if n := of["System"]; len(of) != 3 || of["Check"] != n || of["Automation"] > n || of["Automation"] < n-1 {
				t.Errorf("torn: %v", of)
				break
			}
		}
		if err := applying.Wait(); err != nil {
			t.Fatal(err)
		}
	})
}
