package httpapi

import (
	"context"
	"net/http"

	"github.com/perigee-monitoring/perigee/internal/catalog"
)

type systemBody struct{ Body catalog.SystemInput }

type systemUpdate struct {
	Ref
	Body catalog.SystemInput
}

func (a *API) addSystems() {
	route(a, http.MethodGet, "/systems", "list-systems", "List systems by name", func(ctx context.Context, in *Paging) (*answer[List[catalog.System]], error) {
		return listed(a.Catalog.Systems(ctx, in.page()))
	})
	route(a, http.MethodPost, "/systems", "create-system", "Create a system", func(ctx context.Context, in *systemBody) (*created[catalog.System], error) {
		s, err := a.Catalog.CreateSystem(ctx, actor(ctx), in.Body)
		return made("/systems/"+s.ID, s, err)
	}, status(http.StatusCreated))
	route(a, http.MethodGet, "/systems/{id}", "get-system", "Get a system", func(ctx context.Context, in *Ref) (*answer[catalog.System], error) {
		return answered(a.Catalog.System(ctx, in.ID))
	})
	route(a, http.MethodPut, "/systems/{id}", "update-system", "Replace a system", func(ctx context.Context, in *systemUpdate) (*answer[catalog.System], error) {
		return answered(a.Catalog.UpdateSystem(ctx, actor(ctx), in.ID, in.Body))
	})
	route(a, http.MethodDelete, "/systems/{id}", "delete-system", "Delete a system and its assignments", func(ctx context.Context, in *Ref) (*struct{}, error) {
		_, err := a.Catalog.DeleteSystem(ctx, actor(ctx), in.ID)
		return nil, err
	}, status(http.StatusNoContent))
	route(a, http.MethodGet, "/systems/{id}/status", "get-system-status", "How a system is doing, and on whose word", func(ctx context.Context, in *Ref) (*answer[SystemStatus], error) {
		s, err := a.Catalog.System(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		all, err := a.statuses(ctx, []catalog.System{s})
		if err != nil {
			return nil, err
		}
		return answered(all[0], nil)
	})
	route(a, http.MethodGet, "/status", "get-status", "How every system is doing", func(ctx context.Context, _ *struct{}) (*answer[List[SystemStatus]], error) {
		systems, err := a.allSystems(ctx)
		if err != nil {
			return nil, err
		}
		all, err := a.statuses(ctx, systems)
		return listed(all, "", err)
	})
}
