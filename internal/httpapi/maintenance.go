package httpapi

import (
	"context"
	"net/http"

	"github.com/perigee-monitoring/perigee/internal/catalog"
)

type maintenanceBody struct{ Body catalog.MaintenanceInput }

type maintenanceUpdate struct {
	Ref
	Body catalog.MaintenanceInput
}

func (a *API) addMaintenances() {
	route(a, http.MethodGet, "/maintenances", "list-maintenances", "List maintenances by name", func(ctx context.Context, in *Paging) (*answer[List[catalog.Maintenance]], error) {
		return listed(a.Catalog.Maintenances(ctx, in.page()))
	})
	route(a, http.MethodPost, "/maintenances", "create-maintenance", "Plan a maintenance, or begin one", func(ctx context.Context, in *maintenanceBody) (*created[catalog.Maintenance], error) {
		m, err := a.Catalog.CreateMaintenance(ctx, actor(ctx), in.Body)
		return made("/maintenances/"+m.ID, m, err)
	}, status(http.StatusCreated))
	route(a, http.MethodGet, "/maintenances/{id}", "get-maintenance", "Get a maintenance", func(ctx context.Context, in *Ref) (*answer[catalog.Maintenance], error) {
		return answered(a.Catalog.Maintenance(ctx, in.ID))
	})
	route(a, http.MethodPut, "/maintenances/{id}", "update-maintenance", "Replace a maintenance", func(ctx context.Context, in *maintenanceUpdate) (*answer[catalog.Maintenance], error) {
		return answered(a.Catalog.UpdateMaintenance(ctx, actor(ctx), in.ID, in.Body))
	})
	route(a, http.MethodPost, "/maintenances/{id}/end", "end-maintenance", "End the window of a maintenance that lasts now", func(ctx context.Context, in *Ref) (*answer[catalog.Maintenance], error) {
		return answered(a.Catalog.EndMaintenance(ctx, actor(ctx), in.ID))
	})
	route(a, http.MethodDelete, "/maintenances/{id}", "delete-maintenance", "Delete a maintenance, and end it", func(ctx context.Context, in *Ref) (*struct{}, error) {
		return nil, a.Catalog.DeleteMaintenance(ctx, actor(ctx), in.ID)
	}, status(http.StatusNoContent))
}
