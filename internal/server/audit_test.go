package server_test

import (
	"database/sql"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/fence"
	"github.com/perigee-monitoring/perigee/internal/server"
)

// Whatever people can change, a change and its entry in the audit log are one: while no
// entry can be written nothing is changed, and then it has what was before and is after.
func TestNothingIsChangedWithoutItsEntryInTheAuditLog(t *testing.T) {
	onBothEngines(t, func(t *testing.T, c server.Config) {
		c.DataDir = t.TempDir()
		_, api := start(t, c)
		driver, url := "pgx", c.Database
		refuse, accept := `ALTER TABLE audit ADD CONSTRAINT refused CHECK (false) NOT VALID`, `ALTER TABLE audit DROP CONSTRAINT refused`
		if c.Database == "" {
			driver, url = "sqlite", "file:"+filepath.Join(c.DataDir, "perigee.db")+"?_pragma=busy_timeout(10000)"
			refuse, accept = `CREATE TRIGGER refused BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'refused'); END`, `DROP TRIGGER refused`
		}
		db, err := sql.Open(driver, url)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }() // nothing is left in it
		alter := func(statement string) {
			t.Helper()
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		type object = map[string]any
		var made struct{ ID string }
		sample := object{"strategy": check.TCP, "interval": "1m", "config": object{"host": "127.0.0.1", "port": 1}}
		reacts := object{"triggers": []any{object{"event": "system.created"}}, "actions": []any{object{"stop": object{}}}}
		stricter := fence.Default()
		stricter.Resources.MaxOpenFiles = new(int64)
		*stricter.Resources.MaxOpenFiles = 64
		hook := object{"url": "http://127.0.0.1:1/"}
		for _, step := range []struct {
			method, path string
			body         any
			object       string
			changes      string // of what, as many as are looked at
		}{
			{http.MethodPost, "/systems", object{"name": "shop"}, "systems/shop", "name"},
			{http.MethodPut, "/systems/shop", object{"name": "mall"}, "systems/shop", "name"},
			{http.MethodPost, "/systems", object{"name": "files", "dependsOn": []string{"mall"}}, "systems/files", "dependsOn name"},
			{http.MethodPut, "/systems/files", object{"name": "files"}, "systems/files", "dependsOn[0]"},
			{http.MethodPost, "/checks", object{"name": "front", "spec": sample}, "checks/front", "name"},
			{http.MethodPut, "/checks/front", object{"name": "back", "spec": sample}, "checks/front", "name"},
			{http.MethodPost, "/satellites", object{"name": "eu-1", "region": "eu"}, "satellites/eu-1", "name region"},
			{http.MethodPatch, "/satellites/eu-1", object{"region": "us"}, "satellites/eu-1", "region"},
			{http.MethodPost, "/satellites/eu-1/cordon", nil, "satellites/eu-1", "cordonedAt"},
			{http.MethodPost, "/satellites/eu-1/rotate-token", object{"overlapMs": 3600000}, "satellites/eu-1", "previousTokenValidUntil"},
			{http.MethodPost, "/assignments", object{"name": "a", "check": "back", "system": "mall", "satellites": object{"names": []string{"eu-1"}}}, "assignments/a", "check name system"},
			{http.MethodPut, "/assignments/a", object{"name": "a", "check": "back", "system": "files", "satellites": object{"names": []string{"eu-1"}}}, "assignments/a", "system"},
			{http.MethodDelete, "/checks/back", nil, "checks/back", "name Assignment a: name"},
			{http.MethodPost, "/maintenances", object{"name": "move", "mode": "mute", "end": "2100-01-01T00:00:00Z", "systems": object{"names": []string{"mall"}}}, "maintenances/move", "mode name"},
			{http.MethodDelete, "/maintenances/move", nil, "maintenances/move", "name"},
			{http.MethodPost, "/automations", object{"name": "react", "definition": reacts}, "automations/react", "enabled name"},
			{http.MethodPost, "/automations/react/disable", nil, "automations/react", "enabled"},
			{http.MethodDelete, "/automations/react", nil, "automations/react", "name"},
			{http.MethodPost, "/channels", object{"name": "hook", "type": "webhook", "config": hook}, "channels/hook", "name type"},
			{http.MethodPut, "/channels/hook", object{"name": "hook", "type": "webhook", "enabled": false, "config": hook}, "channels/hook", "enabled"},
			{http.MethodDelete, "/channels/hook", nil, "channels/hook", "name"},
			{http.MethodPost, "/incidents", object{"title": "it burns", "severity": "minor"}, "incidents/it burns", "severity title"},
			{http.MethodPost, "/incidents/$/updates", object{"severity": "major"}, "incidents/it burns", "severity"},
			{http.MethodPost, "/notes", object{"kind": "system", "entity": "x", "text": "why"}, "notes", "entityId kind"},
			{http.MethodPost, "/users", object{"name": "otto", "role": "viewer"}, "users/otto", "name role"},
			{http.MethodPatch, "/users/otto", object{"role": "operator"}, "users/otto", "role"},
			{http.MethodPost, "/users/otto/reset-password", object{}, "users/otto", ""},
			{http.MethodDelete, "/users/otto", nil, "users/otto", "name role"},
			{http.MethodPost, "/tokens", object{"name": "deploy", "role": "viewer"}, "tokens/deploy", "name role"},
			{http.MethodDelete, "/tokens/deploy", nil, "tokens/deploy", "name role"},
			{http.MethodPut, "/secrets/KEY", object{"value": "hidden"}, "secrets/KEY", "name version"},
			{http.MethodPut, "/secrets/KEY", object{"value": "hidden too"}, "secrets/KEY", "version"},
			{http.MethodPost, "/secrets/rotate-key", nil, "secrets/rotate-key", ""},
			{http.MethodDelete, "/secrets/KEY", nil, "secrets/KEY", "name"},
			{http.MethodPost, "/packages", object{"name": "zod", "version": "1.2.3"}, "packages/zod", "enabled name version"},
			{http.MethodPut, "/packages/enabled", object{"name": "zod", "enabled": false}, "packages/zod", "enabled"},
			{http.MethodDelete, "/packages?name=zod", nil, "packages/zod", "name"},
			{http.MethodPut, "/sandbox-policy", stricter, "sandbox-policy", "policy.resources.maxOpenFiles"},
			{http.MethodDelete, "/sandbox-policy", nil, "sandbox-policy", "policy.resources.maxOpenFiles"},
		} {
			what := step.method + " " + step.path
			path := strings.Replace(step.path, "$", made.ID, 1)
			send := func(into any) error {
				switch step.method {
				case http.MethodPost:
					return api.Post(t.Context(), path, step.body, into)
				case http.MethodPut:
					return api.Put(t.Context(), path, step.body, into)
				case http.MethodPatch:
					return api.Patch(t.Context(), path, step.body, into)
				default:
					return api.Delete(t.Context(), path, into)
				}
			}
			alter(refuse)
			if err := send(nil); err == nil {
				t.Errorf("%s was done without an entry", what)
				alter(accept)
				continue
			}
			alter(accept)
			made.ID = ""
			if err := send(&made); err != nil { // it could not be made a second time, nor deleted
				t.Errorf("%s: %v", what, err)
				continue
			}
			var page struct{ Items []auth.AuditEntry }
			if err := api.Get(t.Context(), "/audit?limit=1", nil, &page); err != nil {
				t.Fatal(err)
			}
			e := page.Items[0]
			var changed []string
			for _, f := range e.Changes {
				changed = append(changed, f.Path)
			}
			if e.Object != step.object || e.Outcome != auth.Allowed {
				t.Errorf("%s: the last entry is of %s, %s", what, e.Object, e.Outcome)
			}
			looked := strings.Split(step.changes, " ")
			if strings.Contains(step.changes, ":") {
				looked = []string{step.changes[strings.Index(step.changes, " ")+1:]}
			}
			for _, path := range looked {
				if path != "" && !slices.Contains(changed, path) {
					t.Errorf("%s: %s is not in what was changed: %q", what, path, changed)
				}
			}
			if step.changes == "" && len(changed) > 0 {
				t.Errorf("%s changed %q", what, changed)
			}
		}
	})
}
