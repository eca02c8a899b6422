package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/diff"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

// audit is the log as it stands, oldest first, each line in short.
func (c *core) audit(query string) (lines []string) {
	c.t.Helper()
	var page list[auth.AuditEntry]
	c.get("/audit?limit=1000"+query, &page)
	for _, e := range page.Items {
		if e.Source != "127.0.0.1" || e.RequestID == "" || e.At.IsZero() {
			c.t.Errorf("an incomplete entry: %+v", e)
		}
		lines = append([]string{strings.Join([]string{e.Actor, e.Operation, e.Object, e.Change, string(e.Outcome)}, " | ")}, lines...)
	}
	return lines
}

func TestTheAuditLogHasWhatWasChangedAndRefused(t *testing.T) {
	t.Parallel()
	c := setup(t)
	vera := c.holder("vera", auth.Viewer)
	made, _ := c.satellite("eu-1", "eu")
	c.call(http.MethodPost, "/satellites/"+made.ID+"/rotate-token", nil, http.StatusOK, nil)
	c.system("shop")
	c.wrong(http.MethodPost, "/systems", object{"name": "shop"}, http.StatusConflict)
	c.wrong(http.MethodPost, "/systems", object{"name": 7}, http.StatusUnprocessableEntity)
	c.get("/systems", nil)
	check := httpCheck("front")
	check["labels"] = object{"password": "hunter2"}
	c.post("/checks", check, nil)
	c.call(http.MethodPost, "/apply", object{"dryRun": true, "documents": []object{{"apiVersion": "perigee/v1", "kind": "System", "metadata": object{"name": "files"}, "spec": object{}}}}, http.StatusOK, nil)
	c.send(http.MethodDelete, httpapi.Base+"/systems/shop", nil, vera...)
	c.send(http.MethodGet, httpapi.Base+"/audit", nil, vera...)
	c.send(http.MethodGet, httpapi.Base+"/systems", nil, "Authorization", "Bearer perigee_guess")
	c.send(http.MethodGet, httpapi.Base+"/systems", nil)
	c.send(http.MethodPost, "/session", object{"user": "vera", "password": "wrong-hunter2"})
	r := c.send(http.MethodPost, "/session", object{"user": "vera", "password": "a good password"})
	cookies := (&http.Response{Header: r.header}).Cookies()
	if r.status != http.StatusNoContent || len(cookies) != 1 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	c.send(http.MethodDelete, "/session", nil, "Cookie", cookies[0].Name+"="+cookies[0].Value)
	var token httpapi.APITokenText
	c.post("/tokens", object{"name": "deploy", "role": "operator"}, &token)
	c.call(http.MethodDelete, "/tokens/"+token.Token.ID, nil, http.StatusNoContent, nil)
	var user httpapi.UserPassword
	c.post("/users", object{"name": "otto", "role": "operator"}, &user)
	c.call(http.MethodPatch, "/users/"+user.User.ID, object{"disabled": true}, http.StatusOK, nil)
	c.call(http.MethodDelete, "/users/otto", nil, http.StatusNoContent, nil)
	c.send(http.MethodDelete, httpapi.Base+"/satellites/"+made.ID, nil, vera...)
	c.call(http.MethodDelete, "/satellites/"+made.ID, nil, http.StatusNoContent, nil)

	want := []string{
		"admin | create-satellite | satellites/eu-1 | name=eu-1, region=eu | allowed",
		"admin | rotate-satellite-token | satellites/eu-1 |  | allowed",
		"admin | create-system | systems/shop | name=shop | allowed",
		"admin | create-system | systems/shop | name=shop | failed",
		"admin | create-system | systems |  | failed",
		"admin | create-check | checks/front | labels, name=front, spec | allowed",
		"admin | apply-documents | apply | dry run: System files | allowed",
		"vera | delete-system | systems/shop |  | refused",
		"vera | list-audit | audit |  | refused",
		" | list-systems | systems |  | refused",
		"vera | sign-in | session | with a password | refused",
		"vera | sign-in | session | with a password | allowed",
		"vera | sign-out | session |  | allowed",
		"admin | create-token | tokens/deploy | name=deploy, role=operator | allowed",
		"admin | revoke-token | tokens/deploy |  | allowed",
		"admin | create-user | users/otto | name=otto, role=operator | allowed",
		"admin | update-user | users/otto | disabled: false → true | allowed",
		"admin | delete-user | users/otto |  | allowed",
		"vera | delete-satellite | satellites/eu-1 |  | refused",
		"admin | delete-satellite | satellites/eu-1 |  | allowed",
	}
	got := c.audit("")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if all := strings.Join(got, "\n"); strings.Contains(all, "hunter2") || strings.Contains(all, user.Password) || strings.Contains(all, token.Text) || strings.Contains(all, "guess") {
		t.Errorf("the log has a secret:\n%s", all)
	}
	if got := c.audit("&actor=VERA&outcome=refused&operation=delete-system"); len(got) != 1 {
		t.Errorf("filtered: %v", got)
	}
	c.wrong(http.MethodGet, "/audit?cursor=x", nil, http.StatusUnprocessableEntity)
}

// Each change is there with what was before it and what is after it.
func TestTheAuditLogHasWhatWasBeforeAndWhatIsAfter(t *testing.T) {
	t.Parallel()
	c := setup(t)
	check := httpCheck("front")
	check["labels"] = object{"team": "web", "password": "hunter2"}
	var front catalog.Check
	c.post("/checks", check, &front)
	check["name"], check["labels"] = "back", object{"team": "core", "password": "hunter3", "page": "https://ada:hunter2@example.org/?api_token=hunter2"}
	c.call(http.MethodPut, "/checks/"+front.ID, check, http.StatusOK, nil)
	c.call(http.MethodDelete, "/checks/"+front.ID, nil, http.StatusNoContent, nil)
	long := strings.Repeat("as before ", 200)
	c.post("/systems", object{"name": "shop", "description": long + "then"}, nil)
	c.call(http.MethodPost, "/apply", object{"documents": []object{
		{"apiVersion": "perigee/v1", "kind": "System", "metadata": object{"name": "shop", "labels": object{"env": "prod"}}, "spec": object{"description": long + "now"}},
		{"apiVersion": "perigee/v1", "kind": "System", "metadata": object{"name": "files"}, "spec": object{}},
	}}, http.StatusOK, nil)

	var page list[auth.AuditEntry]
	c.get("/audit?limit=1000", &page)
	var lines []string
	for _, e := range slices.Backward(page.Items) {
		for _, f := range e.Changes {
			if strings.HasPrefix(f.Path, "spec") {
				continue
			}
			from, _ := json.Marshal(f.From)
			to, _ := json.Marshal(f.To)
			lines = append(lines, e.Operation+" "+e.Object+" | "+f.Path+": "+string(from)+" → "+string(to))
		}
	}
	around := long[len(long)-40:]
	want := []string{
		`create-check checks/front | labels: null → {"password":"****","team":"web"}`,
		`create-check checks/front | name: null → "front"`,
		`update-check checks/front | labels.page: null → "https://****@example.org/?api_token=****"`,
		`update-check checks/front | labels.password: "****" → "****"`,
		`update-check checks/front | labels.team: "web" → "core"`,
		`update-check checks/front | name: "front" → "back"`,
		`delete-check checks/back | labels: {"page":"https://****@example.org/?api_token=****","password":"****","team":"core"} → null`,
		`delete-check checks/back | name: "back" → null`,
		`create-system systems/shop | description: null → "` + long[:400] + `…"`,
		`create-system systems/shop | name: null → "shop"`,
		`apply-documents apply | System shop: description: "…` + around + `then" → "…` + around + `now"`,
		`apply-documents apply | System shop: labels.env: null → "prod"`,
		`apply-documents apply | System files: name: null → "files"`,
	}
	if d := cmp.Diff(want, lines); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got := c.audit("&operation=update-check"); len(got) != 1 || !strings.Contains(got[0], "labels.team: web → core, name: front → back") {
		t.Errorf("in short: %v", got)
	}
	if update := page.Items[len(page.Items)-2]; update.ObjectID != front.ID {
		t.Errorf("the check %s is %q in the log", front.ID, update.ObjectID)
	}
}

// Who is nobody can fill neither the log nor the disk.
func TestRefusalsAreWrittenDownInBounds(t *testing.T) {
	t.Parallel()
	c := setup(t)
	vera := c.holder("vera", auth.Viewer)
	for range 300 {
		c.send(http.MethodDelete, httpapi.Base+"/systems/shop", nil, vera...)
	}
	if n := len(c.audit("")); n < 100 || n > 200 {
		t.Errorf("%d of 300 refusals were written down", n)
	}
	c.system("shop") // what is allowed is written all the same
	if got := c.audit("&outcome=allowed"); len(got) != 1 {
		t.Errorf("allowed: %v", got)
	}
}

// Each of those who change one thing at once has their own change in the log: what one
// leaves is what the next one finds.
func TestTheAuditLogHasOfEachChangeItsOwnBeforeAndAfter(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		c := setupOn(t, url)
		const writers, changes = 6, 12
		c.post("/systems", object{"name": "shop", "description": "as made"}, nil)
		eu, _ := c.satellite("eu-1", "as made")
		c.post("/users", object{"name": "otto", "role": "viewer"}, nil)
		roles := []auth.Role{auth.Viewer, auth.Operator}
		var all sync.WaitGroup
		var puts atomic.Int64
		for w := range writers {
			all.Go(func() {
				admin := []string{"Authorization", "Bearer " + c.token}
				for i := range changes {
					text := fmt.Sprintf("%d by %d", i, w)
					if r := c.send(http.MethodPut, httpapi.Base+"/systems/shop", object{"name": "shop", "description": text}, admin...); r.status == http.StatusOK {
						puts.Add(1) // the others had planned with what was changed meanwhile
					}
					for path, body := range map[string]object{"/satellites/" + eu.ID: {"region": text}, "/users/otto": {"role": roles[(w+i)%len(roles)]}} {
						if r := c.send(http.MethodPatch, httpapi.Base+path, body, admin...); r.status != http.StatusOK {
							t.Errorf("PATCH %s = %d: %s", path, r.status, r.body)
						}
					}
				}
			})
		}
		all.Wait()

		var page list[auth.AuditEntry]
		c.get("/audit?limit=1000", &page)
		last, chained := map[string]any{}, map[string]int{}
		for _, e := range slices.Backward(page.Items) {
			for _, f := range e.Changes {
				at := e.Object + " " + f.Path
				if f.From != last[at] {
					t.Errorf("%s was %v before %v wrote %v, and the change before left %v", at, f.From, e.Operation, f.To, last[at])
				}
				last[at] = f.To
				chained[at]++
			}
		}
		if got := chained["systems/shop description"]; got != int(puts.Load())+1 {
			t.Errorf("the log has %d changes of the system, want that it was made and %d more", got, puts.Load())
		}
		if got := chained["satellites/eu-1 region"]; got != writers*changes+1 {
			t.Errorf("the log has %d changes of the satellite, want that it was made and %d more", got, writers*changes)
		}
		if chained["users/otto role"] < 3 {
			t.Errorf("the log has %d changes of the user", chained["users/otto role"])
		}
	})
}

// lateFleet does what it is asked for, and says that it did not.
type lateFleet struct{ httpapi.Fleet }

func (f lateFleet) Update(ctx context.Context, actor entity.Actor, id string, p fleet.Patch) (fleet.Satellite, error) {
	s, err := f.Fleet.Update(ctx, actor, id, p)
	if err == nil {
		err = fault.New(fault.Unavailable, "too late")
	}
	return s, err
}

// What fails after something of it was changed is one entry, with both.
func TestTheAuditLogHasWhatARequestThatFailedHasChanged(t *testing.T) {
	t.Parallel()
	c := setup(t, func(o *httpapi.Options) { o.Fleet = lateFleet{o.Fleet} })
	eu, _ := c.satellite("eu-1", "eu")
	c.wrong(http.MethodPatch, "/satellites/"+eu.ID, object{"region": "us"}, http.StatusServiceUnavailable)
	var page list[auth.AuditEntry]
	c.get("/audit", &page)
	want := auth.AuditEntry{
		Operation: "update-satellite", Object: "satellites/eu-1", ObjectID: eu.ID, Change: "region: eu → us", Changes: []diff.Field{{Path: "region", From: "eu", To: "us"}},
		Outcome: auth.Failed, Status: http.StatusServiceUnavailable, Reason: "too late",
	}
	if len(page.Items) != 2 {
		t.Fatalf("%d entries, want that it was made and that it was changed: %+v", len(page.Items), page.Items)
	}
	if d := cmp.Diff(want, page.Items[0], cmpopts.IgnoreFields(auth.AuditEntry{}, "ID", "At", "ActorType", "ActorID", "Actor", "Source", "RequestID")); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
