package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The agent's command hears where the core is by the names of the original and by ours,
// has a directory of its own, and nothing of what is meant for a satellite of the
// caller's. It is ended by a signal that it can hear.
func TestTheAgentIsStartedForTheSuite(t *testing.T) {
	t.Setenv("PERIGEE_SATELLITE_TOKEN", "csat_of-another")
	t.Setenv("PERIGEE_SATELLITE_TOKEN_FILE", "/nowhere")
	t.Setenv("PERIGEE_TOKEN", "perigee_administrator")
	dir := t.TempDir()
	told := filepath.Join(dir, "told") // whoever reads it waits for who writes
	if out, err := exec.CommandContext(t.Context(), "mkfifo", told).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	script := `trap 'echo ended > "$1/ended"; exit' TERM; env > "$1/told"; while :; do sleep 0.02; done`
	stop, err := starter("/bin/sh", []string{"sh", "-c", script, "sh", dir}, dir)(t.Context(), "http://127.0.0.1:1", "an-id", "csat_x")
	if err != nil {
		t.Fatal(err)
	}
	environment, err := os.ReadFile(told)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	ended, err := os.ReadFile(filepath.Join(dir, "ended"))
	if err != nil {
		t.Fatal(err)
	}
	got := "\n" + string(environment) + string(ended)
	for _, want := range []string{
		"CHECKSTACK_CORE_URL=http://127.0.0.1:1", "CHECKSTACK_SATELLITE_CLIENT_ID=an-id", "CHECKSTACK_SATELLITE_TOKEN=csat_x",
		"PERIGEE_CORE_URL=http://127.0.0.1:1", "PERIGEE_SATELLITE_ID=an-id", "PERIGEE_SATELLITE_TOKEN=csat_x", "ended",
	} {
		if !strings.Contains(got, "\n"+want+"\n") {
			t.Errorf("%s is missing in%s", want, got)
		}
	}
	for _, name := range []string{"CHECKSTACK_DATA_DIR=", "PERIGEE_DATA_DIR="} {
		if !strings.Contains(got, "\n"+name+dir+"/") {
			t.Errorf("%s is not below %s", name, dir)
		}
	}
	for _, unwanted := range []string{"perigee_administrator", "/nowhere", "csat_of-another"} {
		if strings.Contains(got, unwanted) {
			t.Errorf("%s is in%s", unwanted, got)
		}
	}
}
