package httpapi_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

// holder makes a user of the role with a token, and gives the token's header.
func (c *core) holder(name string, role auth.Role) []string {
	c.t.Helper()
	u, _, err := c.accounts.CreateUser(c.t.Context(), auth.NewUser{Name: name, Role: role, Password: "a good password"})
	if err != nil {
		c.t.Fatal(err)
	}
	_, text, err := c.accounts.CreateToken(c.t.Context(), auth.Principal{UserID: u.ID, Name: name, Role: role}, auth.NewAPIToken{Name: name, Role: role})
	if err != nil {
		c.t.Fatal(err)
	}
	return []string{"Authorization", "Bearer " + text}
}

// What the document says of each operation is what happens: who has less is refused
// before anything else is looked at, who has it is not. The routes come from the document,
// and an API with a route that nobody has classified does not start.
func TestEachRoleMayWhatTheDocumentSays(t *testing.T) {
	t.Parallel()
	c := setup(t)
	text, err := os.ReadFile(filepath.Join("testdata", "openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string    `json:"operationId"`
			Role        auth.Role `json:"x-role"`
		}
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	roles := []auth.Role{auth.Viewer, auth.Operator, auth.Admin}
	headers := map[auth.Role][]string{}
	for _, role := range roles {
		headers[role] = c.holder("the-"+string(role), role)
	}
	seen := 0
	for path, operations := range doc.Paths {
		for method, op := range operations {
			seen++
			least, ok := auth.Needs(op.OperationID)
			if !ok || least != op.Role {
				t.Errorf("%s: the document says %q, the table %q", op.OperationID, op.Role, least)
			}
			if strings.EqualFold(method, http.MethodGet) && op.Role != auth.Viewer && !slices.Contains([]string{"list-users", "get-user", "list-audit"}, op.OperationID) {
				t.Errorf("%s reads, and needs %s", op.OperationID, op.Role)
			}
			for _, role := range roles {
				allowed := role.Includes(op.Role)
				if allowed && role != op.Role || allowed && op.OperationID == "stream-events" {
					continue // the least that may is enough; and a stream does not end
				}
				// Not a body that anything could come of.
				r := c.send(strings.ToUpper(method), httpapi.Base+strings.ReplaceAll(strings.ReplaceAll(path, "{id}", "none"), "{name}", "none"), nil, headers[role]...)
				if refused := r.status == http.StatusForbidden; refused == allowed || r.status == http.StatusUnauthorized {
					t.Errorf("%s %s as %s: %d %s", method, path, role, r.status, r.body)
				}
				if !allowed && (!strings.Contains(r.body, string(op.Role)) || !strings.Contains(r.body, string(role))) {
					t.Errorf("%s %s as %s does not say what is needed: %s", method, path, role, r.body)
				}
			}
			if r := c.send(strings.ToUpper(method), httpapi.Base+path, nil); r.status != http.StatusUnauthorized {
				t.Errorf("%s %s as nobody: %d", method, path, r.status)
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d operations were tried", seen)
	}
}

func TestMeSaysWhatIMay(t *testing.T) {
	t.Parallel()
	c := setup(t)
	var me httpapi.Me
	r := c.send(http.MethodGet, httpapi.Base+"/me", nil, c.holder("vera", auth.Viewer)...)
	if err := json.Unmarshal([]byte(r.body), &me); err != nil {
		t.Fatal(err)
	}
	if me.Name != "vera" || me.Role != auth.Viewer || me.User || !slices.Contains(me.May, "list-systems") || slices.Contains(me.May, "create-system") {
		t.Errorf("vera = %+v", me)
	}
	c.get("/me", &me)
	if me.Name != "admin" || me.Role != auth.Admin || !slices.Contains(me.May, "create-user") {
		t.Errorf("the holder of the admin token = %+v", me)
	}
}
