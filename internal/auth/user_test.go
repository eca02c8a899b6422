package auth_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

const (
	from     = "192.0.2.1:1"
	password = "correct horse battery"
)

// people is a store with an administrator and somebody else.
func people(t *testing.T) (*auth.Accounts, *auth.Authenticator, string) {
	t.Helper()
	db, dir := open(t)
	accounts := auth.NewAccounts(db)
	for name, role := range map[string]auth.Role{"root": auth.Admin, "vera": auth.Viewer} {
		if _, made, err := accounts.CreateUser(t.Context(), auth.NewUser{Name: name, Role: role, Password: password}); err != nil || made != "" {
			t.Fatalf("%s: %q, %v", name, made, err)
		}
	}
	return accounts, auth.New(accounts), dir
}

func signIn(t *testing.T, a *auth.Authenticator, name, password string) (string, auth.Principal) {
	t.Helper()
	id, p, err := a.SignIn(t.Context(), from, auth.Credentials{Name: name, Password: password})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return id, p
}

func ptr[T any](v T) *T { return &v }

func TestUsersSignInWithTheirPassword(t *testing.T) {
	t.Parallel()
	_, a, dir := people(t)
	id, p := signIn(t, a, " Vera ", password)
	if p.Name != "vera" || p.Role != auth.Viewer || p.UserID == "" || p.TokenID != "" || p.Actor().Type != "user" {
		t.Errorf("principal = %+v", p)
	}
	if got, err := a.Session(t.Context(), id); err != nil || got != p {
		t.Errorf("the session is of %+v, %v", got, err)
	}
	for _, c := range []auth.Credentials{{Name: "vera", Password: "wrong"}, {Name: "vera"}, {Name: "nobody", Password: password}, {Name: "vera", Password: strings.Repeat("x", 10_000)}} {
		_, _, err := a.SignIn(t.Context(), from, c)
		if !fault.Is(err, fault.Unauthenticated) || err.Error() != "the name or the password is not right" {
			t.Errorf("%.20s: %v", c.Name, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte(password)) || bytes.Contains(content, []byte(id)) {
			t.Errorf("%s has the password or the session's id", filepath.Base(name))
		}
	}
}

func TestPasswordGuessesAreLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, _ := holding(t)
		var last error
		for range 11 {
			_, _, last = a.SignIn(t.Context(), from, auth.Credentials{Name: "nobody", Password: "wrong-password"})
		}
		if !fault.Is(last, fault.TooMany) {
			t.Errorf("the eleventh guess: %v", last)
		}
		if _, _, err := a.SetUp(t.Context(), from, "wrong", auth.NewUser{Name: "eve", Password: password}); !fault.Is(err, fault.TooMany) {
			t.Errorf("guessing elsewhere: %v", err)
		}
	})
}

func TestWhoIsDisabledIsOut(t *testing.T) {
	t.Parallel()
	accounts, a, _ := people(t)
	id, vera := signIn(t, a, "vera", password)
	_, token, err := accounts.CreateToken(t.Context(), vera, auth.NewAPIToken{Name: "laptop", Role: auth.Viewer})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Token(t.Context(), from, token); err != nil {
		t.Fatal(err)
	}
	if _, err := accounts.UpdateUser(t.Context(), "vera", auth.UserPatch{Disabled: ptr(true)}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Session(t.Context(), id); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("the session: %v", err)
	}
	if _, err := a.Token(t.Context(), from, token); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("the token: %v", err)
	}
	if _, _, err := a.SignIn(t.Context(), from, auth.Credentials{Name: "vera", Password: password}); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("the password: %v", err)
	}
	if _, err := accounts.UpdateUser(t.Context(), "vera", auth.UserPatch{Disabled: ptr(false)}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Token(t.Context(), from, token); err != nil {
		t.Errorf("the token, enabled again: %v", err)
	}
	if _, err := a.Session(t.Context(), id); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("the session that had ended: %v", err)
	}
	signIn(t, a, "vera", password)
	if _, err := accounts.DeleteUser(t.Context(), "vera"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Token(t.Context(), from, token); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("the token of who is deleted: %v", err)
	}
}

func TestResetAndChangeEndSessions(t *testing.T) {
	t.Parallel()
	accounts, a, _ := people(t)
	id, vera := signIn(t, a, "vera", password)
	const second = "another good one"
	if err := accounts.ChangePassword(t.Context(), vera, "wrong", second); !fault.Is(err, fault.Invalid) {
		t.Errorf("without the present one: %v", err)
	}
	for _, bad := range []string{"", "short", "my name is VERA ok", "aaaaaaaaaaaa", strings.Repeat("long", 200)} {
		if err := accounts.ChangePassword(t.Context(), vera, password, bad); !fault.Is(err, fault.Invalid) || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := a.Session(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := accounts.ChangePassword(t.Context(), vera, password, second); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Session(t.Context(), id); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("after the change: %v", err)
	}
	id, _ = signIn(t, a, "vera", second)
	_, made, err := accounts.ResetPassword(t.Context(), "vera", "")
	if err != nil || len(made) < 20 {
		t.Fatalf("%q, %v", made, err)
	}
	if _, err := a.Session(t.Context(), id); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("after the reset: %v", err)
	}
	signIn(t, a, "vera", made)
	if err := accounts.ChangePassword(t.Context(), auth.Principal{TokenID: "t", Role: auth.Admin}, password, second); !fault.Is(err, fault.Forbidden) {
		t.Errorf("the holder of a token: %v", err)
	}
}

func TestOneAdministratorStays(t *testing.T) {
	t.Parallel()
	accounts, _, _ := people(t)
	for what, do := range map[string]func() error{
		"disabled": func() error {
			_, err := accounts.UpdateUser(t.Context(), "root", auth.UserPatch{Disabled: ptr(true)})
			return err
		},
		"demoted": func() error {
			_, err := accounts.UpdateUser(t.Context(), "root", auth.UserPatch{Role: ptr(auth.Viewer)})
			return err
		},
		"deleted": func() error { _, err := accounts.DeleteUser(t.Context(), "root"); return err },
	} {
		if err := do(); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "only administrator") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := accounts.UpdateUser(t.Context(), "vera", auth.UserPatch{Role: ptr(auth.Admin)}); err != nil {
		t.Fatal(err)
	}
	// Of two who leave at the same time one must stay.
	var wg sync.WaitGroup
	var left atomic.Int32
	for _, name := range []string{"root", "vera"} {
		wg.Go(func() {
			if _, err := accounts.DeleteUser(t.Context(), name); err == nil {
				left.Add(1)
			} else if !fault.Is(err, fault.Conflict) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if left.Load() != 1 {
		t.Errorf("%d administrators left", left.Load())
	}
}

func TestNewUsersAreJudged(t *testing.T) {
	t.Parallel()
	accounts, _, _ := people(t)
	for _, n := range []auth.NewUser{{Name: "", Role: auth.Viewer}, {Name: "a b", Role: auth.Viewer}, {Name: "ok", Role: "owner"}, {Name: "ok", Role: auth.Viewer, Password: "short"}, {Name: strings.Repeat("x", 64), Role: auth.Viewer}} {
		if _, _, err := accounts.CreateUser(t.Context(), n); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", n, err)
		}
	}
	if _, _, err := accounts.CreateUser(t.Context(), auth.NewUser{Name: "VERA", Role: auth.Viewer, Password: password}); !fault.Is(err, fault.Conflict) {
		t.Errorf("a name that is taken: %v", err)
	}
	if _, err := accounts.UpdateUser(t.Context(), "vera", auth.UserPatch{Role: ptr(auth.Role("owner"))}); !fault.Is(err, fault.Invalid) {
		t.Errorf("no role: %v", err)
	}
	if _, err := accounts.UpdateUser(t.Context(), "nobody", auth.UserPatch{}); !fault.Is(err, fault.NotFound) {
		t.Errorf("nobody: %v", err)
	}
}

func TestTokensDoNoMoreThanTheirOwner(t *testing.T) {
	t.Parallel()
	accounts, a, _ := people(t)
	_, root := signIn(t, a, "root", password)
	_, vera := signIn(t, a, "vera", password)
	soon := time.Now().Add(time.Hour)
	made, text, err := accounts.CreateToken(t.Context(), root, auth.NewAPIToken{Name: "deploy", Role: auth.Admin, ExpiresAt: &soon})
	if err != nil || made.Owner != "root" || made.CreatedBy != "root" || !strings.HasPrefix(text, auth.Prefix) {
		t.Fatalf("%+v, %v", made, err)
	}
	p, err := a.Token(t.Context(), from, text)
	if err != nil || p.Role != auth.Admin || p.UserID != root.UserID || p.Actor().Name != "deploy" {
		t.Errorf("%+v, %v", p, err)
	}
	for what, n := range map[string]auth.NewAPIToken{
		"more than they may": {Name: "x", Role: auth.Operator}, "no name": {Role: auth.Viewer}, "the core's own name": {Name: "admin", Role: auth.Viewer},
		"expired": {Name: "x", Role: auth.Viewer, ExpiresAt: ptr(time.Now().Add(-time.Second))}, "no role": {Name: "x", Role: ""},
	} {
		if _, _, err := accounts.CreateToken(t.Context(), vera, n); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, _, err := accounts.CreateToken(t.Context(), vera, auth.NewAPIToken{Name: "deploy", Role: auth.Viewer}); !fault.Is(err, fault.Conflict) {
		t.Errorf("a name that is taken: %v", err)
	}
	if _, _, err := accounts.CreateToken(t.Context(), vera, auth.NewAPIToken{Name: "laptop", Role: auth.Viewer}); err != nil {
		t.Fatal(err)
	}

	names := func(p auth.Principal) (all []string) {
		list, err := accounts.ListTokens(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range list {
			all = append(all, token.Name)
		}
		return all
	}
	if got := names(vera); !slices.Equal(got, []string{"laptop"}) {
		t.Errorf("vera sees %v", got)
	}
	if got := names(root); !slices.Equal(got, []string{"deploy", "laptop"}) {
		t.Errorf("root sees %v", got)
	}
	if _, err := accounts.RevokeToken(t.Context(), vera, "deploy"); !fault.Is(err, fault.NotFound) {
		t.Errorf("revoking another's: %v", err)
	}

	// Who becomes less takes their tokens with them.
	if _, err := accounts.UpdateUser(t.Context(), "vera", auth.UserPatch{Role: ptr(auth.Admin)}); err != nil {
		t.Fatal(err)
	}
	if _, err := accounts.UpdateUser(t.Context(), "root", auth.UserPatch{Role: ptr(auth.Viewer)}); err != nil {
		t.Fatal(err)
	}
	if p, err := a.Token(t.Context(), from, text); err != nil || p.Role != auth.Viewer {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := accounts.RevokeToken(t.Context(), root, made.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Token(t.Context(), from, text); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("revoked: %v", err)
	}
}

func TestATokenDoesNotOutliveTheOneThatMakesIt(t *testing.T) {
	t.Parallel()
	accounts, a, _ := people(t)
	_, root := signIn(t, a, "root", password)
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	_, text, err := accounts.CreateToken(t.Context(), root, auth.NewAPIToken{Name: "hour", Role: auth.Admin, ExpiresAt: &soon})
	if err != nil {
		t.Fatal(err)
	}
	hour, err := a.Token(t.Context(), from, text)
	if err != nil {
		t.Fatal(err)
	}
	later := soon.Add(time.Minute)
	for name, end := range map[string]*time.Time{"never": nil, "later": &later} {
		if _, _, err := accounts.CreateToken(t.Context(), hour, auth.NewAPIToken{Name: name, Role: auth.Viewer, ExpiresAt: end}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := accounts.CreateToken(t.Context(), hour, auth.NewAPIToken{Name: "as-long", Role: auth.Viewer, ExpiresAt: &soon}); err != nil {
		t.Error(err)
	}
}

func TestGuessesOfThePresentPasswordAreLimited(t *testing.T) {
	t.Parallel()
	accounts, a, _ := people(t)
	_, vera := signIn(t, a, "vera", password)
	_, root := signIn(t, a, "root", password)
	var err error
	for n := 0; n < 20 && !fault.Is(err, fault.TooMany); n++ {
		err = accounts.ChangePassword(t.Context(), vera, "not it", "another good phrase")
	}
	if !fault.Is(err, fault.TooMany) {
		t.Errorf("after twenty guesses: %v", err)
	}
	if err := accounts.ChangePassword(t.Context(), root, password, "another good phrase"); err != nil {
		t.Errorf("somebody else: %v", err)
	}
}

func TestTheSetupCodeMakesOneAdministrator(t *testing.T) {
	t.Parallel()
	db, _ := open(t)
	accounts := auth.NewAccounts(db)
	a := auth.New(accounts)
	waiting := func(wantSetup, wantUsers bool) {
		t.Helper()
		if setup, users, err := accounts.Waiting(t.Context()); err != nil || setup != wantSetup || users != wantUsers {
			t.Errorf("waiting = %v, %v, %v", setup, users, err)
		}
	}
	waiting(false, false)
	first, err := accounts.SetupCode(t.Context())
	if err != nil || len(first) < 20 {
		t.Fatalf("%q, %v", first, err)
	}
	second, err := accounts.SetupCode(t.Context()) // of another core, or another start
	if err != nil || second == first {
		t.Fatalf("%q, %v", second, err)
	}
	waiting(true, false)
	root := auth.NewUser{Name: "root", Password: password}
	for what, code := range map[string]string{"nothing": "", "a guess": "AAAAAAAAAAAAAAAAAAAAAAAAAA", "a digest": auth.Digest(first)} {
		if _, _, err := a.SetUp(t.Context(), from, code, root); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, n := range []auth.NewUser{{Name: "root"}, {Name: "", Password: password}} {
		if _, _, err := a.SetUp(t.Context(), from, first, n); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", n, err)
		}
	}
	id, p, err := a.SetUp(t.Context(), from, " "+strings.ToLower(first)+" ", root)
	if err != nil || p.Role != auth.Admin || p.Name != "root" {
		t.Fatalf("%+v, %v", p, err)
	}
	if got, err := a.Session(t.Context(), id); err != nil || got != p {
		t.Errorf("%+v, %v", got, err)
	}
	waiting(false, true)
	if _, _, err := a.SetUp(t.Context(), from, second, auth.NewUser{Name: "eve", Password: password}); !fault.Is(err, fault.Conflict) {
		t.Errorf("the other code: %v", err)
	}
	if code, err := accounts.SetupCode(t.Context()); code != "" || err != nil {
		t.Errorf("a code with users: %q, %v", code, err)
	}
}

func TestRolesIncludeThoseBelow(t *testing.T) {
	t.Parallel()
	all := []auth.Role{auth.Viewer, auth.Operator, auth.Admin}
	for i, r := range all {
		for j, other := range all {
			if r.Includes(other) != (i >= j) {
				t.Errorf("%s includes %s: %v", r, other, r.Includes(other))
			}
		}
		if r.Includes("") || r.Includes("owner") || auth.Role("").Includes(r) || auth.Role("owner").Includes(r) {
			t.Errorf("%s and no role", r)
		}
		if _, ok := auth.Needs("no-such-operation"); ok {
			t.Error("an unknown operation may be done")
		}
	}
}
