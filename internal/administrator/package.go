package administrator

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/conformance"
	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/internal/packages"
)

// added is what is installed where there are no packages: a few kilobytes that need
// nothing else, at npm's own registry and wherever that is mirrored.
var added = httpapi.NewPackage{Name: "is-number", Version: "6.0.0"}

// installWithin is longer than the core takes to give up a registry that is silent.
const installWithin = 2 * time.Minute

// packaging is what was done about script packages.
type packaging struct {
	listed  bool  // the package is on the list because we put it there
	changed bool  // an installation was begun, and what it leaves is not what was
	refused error // why there can be none; a silent registry is waited for once
}

// InstallPackage makes sure that a package is installed.
func (a *Administrator) InstallPackage(ctx context.Context) (conformance.Package, error) {
	if a.packaging.refused != nil {
		return conformance.Package{}, a.packaging.refused
	}
	p, err := a.installPackage(ctx)
	if _, ok := errors.AsType[conformance.NotChecked](err); ok {
		a.packaging.refused = err
	}
	return p, err
}

func (a *Administrator) installPackage(ctx context.Context) (conformance.Package, error) {
	state, err := a.installation(ctx)
	if err != nil {
		return conformance.Package{}, err
	}
	if !a.packaging.listed {
		list, err := client.All[packages.Package](ctx, a.api, "/packages", nil, 0, nil)
		if err != nil {
			return conformance.Package{}, err
		}
		if len(list) > 0 || state.LockfileHash != nil {
			return a.theirs(ctx)
		}
		if err := a.api.Post(ctx, "/packages", added, nil); err != nil {
			return conformance.Package{}, err
		}
		a.packaging.listed = true
	}
	if state.LockfileHash == nil {
		if state, err = a.install(ctx); err != nil {
			return conformance.Package{}, err
		}
	}
	if state.Status != packages.Ready || state.LockfileHash == nil {
		return conformance.Package{}, conformance.NotChecked(fmt.Sprintf("the core could not install %s@%s: %s", added.Name, added.Version, state.ErrorMessage))
	}
	return conformance.Package{Name: added.Name, Version: added.Version, LockfileHash: *state.LockfileHash}, nil
}

// theirs is a package of a tree that was there before. It is not installed again: what
// its packages need might be resolved to other versions, which nobody asked for.
func (a *Administrator) theirs(ctx context.Context) (conformance.Package, error) {
	var trees httpapi.List[packages.Tree]
	if err := a.api.Get(ctx, "/packages/history", nil, &trees); err != nil {
		return conformance.Package{}, err
	}
	i := slices.IndexFunc(trees.Items, func(t packages.Tree) bool { return t.Wanted && len(t.Packages) > 0 })
	if i < 0 {
		return conformance.Package{}, conformance.NotChecked("the core's list of packages is not empty, and none of them is installed")
	}
	t := trees.Items[i]
	return conformance.Package{Name: t.Packages[0].Name, Version: t.Packages[0].Version, LockfileHash: t.LockfileHash}, nil
}

// RemovePackage takes away what InstallPackage added.
func (a *Administrator) RemovePackage(ctx context.Context) error {
	if a.packaging.listed {
		err := a.api.Delete(ctx, "/packages?"+url.Values{"name": {added.Name}}.Encode(), nil)
		if p, ok := errors.AsType[*client.Problem](err); err != nil && (!ok || p.Status != 404) {
			return err
		}
		a.packaging.listed = false
	}
	if a.packaging.changed {
		state, err := a.install(ctx)
		if err != nil {
			return err
		}
		if state.Status != packages.Ready {
			return fmt.Errorf("installing without it: %s", state.ErrorMessage)
		}
		a.packaging.changed = false
		return nil
	}
	state, err := a.installation(ctx)
	if err == nil && state.LockfileHash != nil {
		err = conformance.NotChecked("the core has packages of somebody's, which stay as they are")
	}
	return err
}

// install installs what the list says, and waits until that is done.
func (a *Administrator) install(ctx context.Context) (packages.State, error) {
	timed, cancel := context.WithTimeoutCause(ctx, installWithin, conformance.NotChecked(fmt.Sprintf("an installation was not done in %s", installWithin)))
	defer cancel()
	a.packaging.changed = true
	for {
		var begun packages.State
		err := a.api.Post(timed, "/packages/install", nil, &begun)
		if err == nil {
			return a.installation(timed)
		}
		if p, ok := errors.AsType[*client.Problem](err); !ok || p.Status != 409 { // somebody else is at it
			return begun, late(timed, err)
		}
		if err := pause(timed); err != nil {
			return begun, err
		}
	}
}

// installation is how it is when nobody is at it.
func (a *Administrator) installation(ctx context.Context) (packages.State, error) {
	timed, cancel := context.WithTimeoutCause(ctx, installWithin, conformance.NotChecked(fmt.Sprintf("packages were being installed for %s", installWithin)))
	defer cancel()
	for {
		var state packages.State
		if err := a.api.Get(timed, "/packages/install", nil, &state); err != nil {
			return state, late(timed, err)
		}
		if state.Status != packages.Installing {
			return state, nil
		}
		if err := pause(timed); err != nil {
			return state, err
		}
	}
}

// late is the error, or why the context has ended.
func late(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func pause(ctx context.Context) error {
	select {
	case <-time.After(50 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// PackageState is what the core keeps of what the satellite said.
func (a *Administrator) PackageState(ctx context.Context, satellite string) (conformance.PackageState, error) {
	all, err := client.All[packages.SatelliteState](ctx, a.api, "/packages/satellites", nil, 0, nil)
	if err != nil {
		return conformance.PackageState{}, err
	}
	i := slices.IndexFunc(all, func(s packages.SatelliteState) bool { return s.SatelliteID == satellite })
	if i < 0 || all[i].SyncedAt == nil {
		return conformance.PackageState{}, nil
	}
	state := conformance.PackageState{Status: string(all[i].Status)}
	if all[i].LockfileHash != nil {
		state.LockfileHash = *all[i].LockfileHash
	}
	return state, nil
}
