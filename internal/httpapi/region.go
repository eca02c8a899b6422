package httpapi

import (
	"context"
	"net/http"

	"github.com/perigee-monitoring/perigee/internal/fleet"
)

func (a *API) addRegions() {
	route(a, http.MethodGet, "/regions", "list-regions", "How the satellites of each region are", func(ctx context.Context, _ *struct{}) (*answer[List[fleet.Region]], error) {
		all, err := a.Records.Regions(ctx)
		return listed(all, "", err)
	})
}
