package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/auth"
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
		"admin | update-user | users/otto | disabled=true | allowed",
		"admin | delete-user | users/otto |  | allowed",
	}
	got := c.audit("")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if all := strings.Join(got, "\n"); strings.Contains(all, "hunter2") || strings.Contains(all, user.Password) || strings.Contains(all, token.Text) || strings.Contains(all, "guess") {
		t.Errorf("the log has a secret:\n%s", all)
	}
	if got := c.audit("&actor=VERA&outcome=refused&operation=delete"); len(got) != 1 {
		t.Errorf("filtered: %v", got)
	}
	c.wrong(http.MethodGet, "/audit?cursor=x", nil, http.StatusUnprocessableEntity)
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
