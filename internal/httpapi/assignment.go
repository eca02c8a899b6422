package httpapi

import (
	"context"
	"net/http"

	"github.com/perigee-monitoring/perigee/internal/catalog"
)

type assignmentBody struct{ Body catalog.AssignmentInput }

type placementBody struct{ Body catalog.PlacementInput }

type assignmentUpdate struct {
	Ref
	Body catalog.AssignmentInput
}

func (a *API) addAssignments() {
	route(a, http.MethodGet, "/assignments", "list-assignments", "List assignments by name", func(ctx context.Context, in *Paging) (*answer[List[catalog.Assignment]], error) {
		return listed(a.Catalog.Assignments(ctx, in.page()))
	})
	route(a, http.MethodPost, "/assignments", "create-assignment", "Assign a check of a system to satellites", func(ctx context.Context, in *assignmentBody) (*created[catalog.Assignment], error) {
		as, err := a.Catalog.CreateAssignment(ctx, actor(ctx), in.Body)
		return made("/assignments/"+as.ID, as, err)
	}, status(http.StatusCreated))
	route(a, http.MethodGet, "/assignments/{id}", "get-assignment", "Get an assignment", func(ctx context.Context, in *Ref) (*answer[catalog.Assignment], error) {
		return answered(a.Catalog.Assignment(ctx, in.ID))
	})
	route(a, http.MethodPut, "/assignments/{id}", "update-assignment", "Replace an assignment; satellites follow at once", func(ctx context.Context, in *assignmentUpdate) (*answer[catalog.Assignment], error) {
		return answered(a.Catalog.UpdateAssignment(ctx, actor(ctx), in.ID, in.Body))
	})
	route(a, http.MethodDelete, "/assignments/{id}", "delete-assignment", "Delete an assignment", func(ctx context.Context, in *Ref) (*struct{}, error) {
		return nil, a.Catalog.DeleteAssignment(ctx, actor(ctx), in.ID)
	}, status(http.StatusNoContent))
	route(a, http.MethodPost, "/placement/preview", "preview-placement", "Where an assignment would run, and why not elsewhere", func(ctx context.Context, in *placementBody) (*answer[catalog.PlacementPreview], error) {
		return answered(a.Catalog.PreviewPlacement(ctx, in.Body))
	})
}
