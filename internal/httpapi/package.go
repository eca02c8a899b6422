package httpapi

import (
	"context"
	"net/http"

	"github.com/perigee-monitoring/perigee/internal/packages"
)

// NewPackage is the body of POST /packages.
type NewPackage struct {
	Name    string `json:"name" maxLength:"214" doc:"As the registry knows it, such as zod or @scope/name."`
	Version string `json:"version" maxLength:"256" doc:"Exact, such as 1.2.3."`
}

// PackageSwitch is the body of PUT /packages/enabled.
type PackageSwitch struct {
	Name    string `json:"name" maxLength:"214"`
	Enabled bool   `json:"enabled"`
}

// packageName names a package in the query: the name of a scoped one has a slash.
type packageName struct {
	Name string `query:"name" required:"true" maxLength:"214" doc:"The package."`
}

func (a *API) addPackages() {
	route(a, http.MethodGet, "/packages", "list-packages", "List the packages that scripts may import", func(ctx context.Context, in *Paging) (*answer[List[packages.Package]], error) {
		all, err := a.Packages.Packages(ctx)
		return paged(all, *in, func(p packages.Package) string { return p.Name }, err)
	})
	route(a, http.MethodPost, "/packages", "add-package", "Put a package on the list", func(ctx context.Context, in *struct{ Body NewPackage }) (*created[packages.Package], error) {
		p, err := a.Packages.Add(ctx, actor(ctx), in.Body.Name, in.Body.Version)
		return made("/packages", p, err)
	}, status(http.StatusCreated))
	route(a, http.MethodPut, "/packages/enabled", "enable-package", "Take a package into the next installation, or leave it out", func(ctx context.Context, in *struct{ Body PackageSwitch }) (*answer[packages.Package], error) {
		return answered(a.Packages.SetEnabled(ctx, actor(ctx), in.Body.Name, in.Body.Enabled))
	})
	route(a, http.MethodDelete, "/packages", "remove-package", "Take a package off the list", func(ctx context.Context, in *packageName) (*struct{}, error) {
		return nil, a.Packages.Remove(ctx, actor(ctx), in.Name)
	}, status(http.StatusNoContent))
	route(a, http.MethodPost, "/packages/install", "install-packages", "Resolve, fetch and verify what the list says; satellites then converge to it", func(ctx context.Context, _ *struct{}) (*answer[packages.State], error) {
		if err := a.Packages.Install(ctx, actor(ctx)); err != nil {
			return nil, err
		}
		return answered(a.Packages.State(ctx))
	}, status(http.StatusAccepted))
	route(a, http.MethodGet, "/packages/install", "get-installation", "How the installation is", func(ctx context.Context, _ *struct{}) (*answer[packages.State], error) {
		return answered(a.Packages.State(ctx))
	})
	route(a, http.MethodGet, "/packages/types", "get-package-types", "The declarations of an installed package, and of those that they import, for editors", func(ctx context.Context, in *packageName) (*answer[packages.Types], error) {
		return answered(a.Packages.Types(ctx, in.Name))
	})
	route(a, http.MethodGet, "/packages/satellites", "list-package-states", "How far each satellite is", func(ctx context.Context, in *Paging) (*answer[List[packages.SatelliteState]], error) {
		all, err := a.Packages.Satellites(ctx)
		return paged(all, *in, func(s packages.SatelliteState) string { return s.Name }, err)
	})
	route(a, http.MethodGet, "/packages/history", "list-package-trees", "List the trees that were installed, newest first; fifty are remembered", func(ctx context.Context, _ *struct{}) (*answer[List[packages.Tree]], error) {
		trees, err := a.Packages.History(ctx)
		return answered(List[packages.Tree]{Items: trees}, err)
	})
	route(a, http.MethodGet, "/packages/collect", "list-unneeded-packages", "What a collection would delete", func(ctx context.Context, _ *struct{}) (*answer[packages.Unneeded], error) {
		return answered(a.Packages.Unneeded(ctx))
	})
	route(a, http.MethodPost, "/packages/collect", "collect-packages", "Delete what no tree needs any more", func(ctx context.Context, _ *struct{}) (*answer[packages.Collected], error) {
		return answered(a.Packages.Collect(ctx))
	})
}
