package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

// served are the settings of a core that is started so.
func served(args ...string) ([]httpapi.InForce, error) {
	var line commandLine
	parser, err := kong.New(&line, kong.ExplicitGroups(groups()), kong.Vars{"version": "test"})
	if err != nil {
		return nil, err
	}
	command, err := parser.Parse(append([]string{"serve"}, args...))
	if err != nil {
		return nil, err
	}
	return settings(command.Selected().Flags), nil
}

// told are the same by name.
func told(t *testing.T, args ...string) map[string]httpapi.InForce {
	t.Helper()
	settings, err := served(args...)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]httpapi.InForce{}
	for _, s := range settings {
		all[s.Name] = s
	}
	return all
}

func TestSettingsAreTheFlagsAsTheyAreSet(t *testing.T) {
	t.Setenv("PERIGEE_KEEP_RUNS", "36h")
	got := told(t, "--keep-audit=48h", "--no-local", "--database=postgres://ada:hunter2@db/perigee")
	want := map[string]httpapi.InForce{
		"--keep-runs":       {Name: "--keep-runs", Env: "PERIGEE_KEEP_RUNS", Value: "36h", Means: "How long single results and skips are kept (168h, which is 7 days)."},
		"--keep-audit":      {Name: "--keep-audit", Env: "PERIGEE_KEEP_AUDIT", Value: "48h", Means: "How long it is known who changed what (9600h, which is 400 days)."},
		"--local":           {Name: "--local", Env: "PERIGEE_LOCAL", Value: "false", Means: "Run the built-in satellite, which carries out assignments that include the core (on)."},
		"--vault-namespace": {Name: "--vault-namespace", Env: "PERIGEE_VAULT_NAMESPACE", Means: "Its namespace, where it has some."},
	}
	for name, w := range want {
		if d := cmp.Diff(w, got[name]); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	if s := got["--database"]; s.Value != "set" || !s.Secret {
		t.Errorf("the database is told as %+v", s)
	}
	if fields := reflect.TypeFor[ServeCmd]().NumField(); len(got) != fields-1 { // the administrator's token is nobody's business
		t.Errorf("%d settings of %d flags", len(got), fields)
	}
}

// What a setting says of itself is what the core can be started with again.
func TestSettingsCanBeSetAsTheyAreTold(t *testing.T) {
	first := told(t, "--no-local", "--drain-span=1500ms", "--local-scripts")
	var args []string
	for name, s := range first {
		if s.Value != "" && !s.Secret {
			args = append(args, name+"="+s.Value)
			t.Setenv(s.Env, s.Value)
		}
	}
	for how, again := range map[string]map[string]httpapi.InForce{"flags": told(t, args...), "environment": told(t)} {
		if d := cmp.Diff(first, again); d != "" {
			t.Errorf("by %s (-want +got):\n%s", how, d)
		}
	}
}

// Passwords are in none of them, wherever an address is taken.
func TestSettingsTellNoPasswords(t *testing.T) {
	var args []string
	for f := range reflect.TypeFor[ServeCmd]().Fields() {
		if place := f.Tag.Get("placeholder"); place == "URL" || place == "BUS" || place == "PLACE" || place == "TOKEN" {
			args = append(args, "--"+strings.ToLower(hyphens(f.Name))+"=https://ada:hunter2@example.org")
		}
	}
	if len(args) < 6 {
		t.Fatalf("only %q take an address", args)
	}
	text, err := json.Marshal(told(t, args...))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "hunter2") {
		t.Errorf("a password is told: %s", text)
	}
}

// hyphens is the name of a field as that of a flag, in its case.
func hyphens(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('-')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func TestSettingsAreDurationsInShort(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		168 * time.Hour: "168h", 30 * time.Minute: "30m", 10 * time.Second: "10s", 90 * time.Second: "1m30s", 90 * time.Minute: "1h30m", 0: "0s",
		time.Hour + 10*time.Second: "1h0m10s",
	} {
		if got := inShort(d); got != want {
			t.Errorf("%v is shown as %s, want %s", d, got, want)
		}
	}
}
