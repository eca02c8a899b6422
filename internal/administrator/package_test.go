package administrator_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/conformance"
	"github.com/perigee-monitoring/perigee/internal/administrator"
	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/internal/npmtest"
	"github.com/perigee-monitoring/perigee/internal/packages"
	"github.com/perigee-monitoring/perigee/internal/server"
	"github.com/perigee-monitoring/perigee/internal/server/servertest"
)

// core runs a core, whose packages come from the registry.
func core(t *testing.T, registry string) *client.Client {
	t.Helper()
	_, api := servertest.Core(t, server.Config{Bus: "local", Registry: registry})
	return api
}

// left is what there is of packages.
type left struct {
	List   []string
	Tree   string
	Status packages.Status
}

func look(t *testing.T, api *client.Client) left {
	t.Helper()
	list, err := client.All[packages.Package](t.Context(), api, "/packages", nil, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	var state packages.State
	if err := api.Get(t.Context(), "/packages/install", nil, &state); err != nil {
		t.Fatal(err)
	}
	l := left{Status: state.Status}
	for _, p := range list {
		l.List = append(l.List, p.Name+"@"+p.Version)
	}
	if state.LockfileHash != nil {
		l.Tree = *state.LockfileHash
	}
	return l
}

// suite runs the cases of the numbers, and lets the administrator go. It says which
// were not checked, and why.
func suite(t *testing.T, api *client.Client, only ...string) map[string]string {
	t.Helper()
	admin := administrator.New(api)
	made, err := admin.Enrol(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	not := map[string]string{}
	target := conformance.Target{URL: api.URL(), ID: made.ID, Token: made.Token, Administrator: admin, Quiet: 100 * time.Millisecond, Only: func(name string) bool {
		number, _, _ := strings.Cut(name, "_")
		return slices.Contains(only, number)
	}}
	ran := conformance.Core(t.Context(), target, func(o conformance.Outcome) {
		if !o.Pass {
			t.Errorf("%s: %s", o.Name, o.Detail)
		}
		if o.NotChecked {
			number, _, _ := strings.Cut(o.Name, "_")
			not[number] = o.Detail
		}
	})
	if len(ran) < len(only) {
		t.Errorf("%d cases ran, want %v", len(ran), only)
	}
	if err := admin.Close(t.Context()); err != nil {
		t.Error(err)
	}
	return not
}

func TestAPackageIsTakenAwayAgain(t *testing.T) {
	t.Parallel()
	api := core(t, npmtest.New(t).URL)
	if not := suite(t, api, "L39", "L43"); len(not) > 0 {
		t.Errorf("not checked: %v", not)
	}
	if diff := cmp.Diff(left{Status: packages.Ready}, look(t, api)); diff != "" {
		t.Errorf("it leaves (-want +got):\n%s", diff)
	}
}

// An installation would resolve anew what somebody's packages need.
func TestPackagesOfSomebodyStayAsTheyAre(t *testing.T) {
	t.Parallel()
	api := core(t, npmtest.New(t).URL)
	if err := api.Post(t.Context(), "/packages", httpapi.NewPackage{Name: "is-odd", Version: "3.0.1"}, nil); err != nil {
		t.Fatal(err)
	}
	const uninstalled = "not checked: the core's list of packages is not empty, and none of them is installed"
	if diff := cmp.Diff(map[string]string{"L39": uninstalled}, suite(t, api, "L39")); diff != "" {
		t.Errorf("before they are installed (-want +got):\n%s", diff)
	}
	if err := api.Post(t.Context(), "/packages/install", nil, nil); err != nil {
		t.Fatal(err)
	}
	// Which waits until that is done.
	suite(t, api, "L39")
	before := look(t, api)
	if before.Status != packages.Ready || before.Tree == "" {
		t.Fatalf("got %+v, want a tree", before)
	}
	const theirs = "not checked: the core has packages of somebody's, which stay as they are"
	not := suite(t, api, "L39", "L41", "L43", "L44", "L77")
	if diff := cmp.Diff(map[string]string{"L41": theirs, "L77": theirs}, not); diff != "" {
		t.Errorf("not checked (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, look(t, api)); diff != "" {
		t.Errorf("it leaves (-want +got):\n%s", diff)
	}
}

func TestARegistryThatIsAwayIsNoFailure(t *testing.T) {
	t.Parallel()
	away := httptest.NewServer(nil)
	away.Close()
	api := core(t, away.URL)
	not := suite(t, api, "L39", "L41", "L43", "L44", "L77")
	for name, why := range not {
		if !strings.HasPrefix(why, "not checked: the core could not install is-number@6.0.0: ") || !strings.Contains(why, "does not answer") {
			t.Errorf("%s: %s", name, why)
		}
	}
	if len(not) != 5 {
		t.Errorf("not checked: %v", not)
	}
	if diff := cmp.Diff(left{Status: packages.Ready}, look(t, api)); diff != "" {
		t.Errorf("it leaves (-want +got):\n%s", diff)
	}
}
