package httpapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
)

type checkBody struct{ Body catalog.CheckInput }

type checkUpdate struct {
	Ref
	Body catalog.CheckInput
}

func (a *API) addChecks() {
	route(a, http.MethodGet, "/checks", "list-checks", "List checks by name", func(ctx context.Context, in *Paging) (*answer[List[catalog.Check]], error) {
		return listed(a.Catalog.Checks(ctx, in.page()))
	})
	route(a, http.MethodPost, "/checks", "create-check", "Create a check", func(ctx context.Context, in *checkBody) (*created[catalog.Check], error) {
		c, err := a.Catalog.CreateCheck(ctx, actor(ctx), in.Body)
		return made("/checks/"+c.ID, c, err)
	}, status(http.StatusCreated))
	route(a, http.MethodGet, "/checks/{id}", "get-check", "Get a check", func(ctx context.Context, in *Ref) (*answer[catalog.Check], error) {
		return answered(a.Catalog.Check(ctx, in.ID))
	})
	route(a, http.MethodPut, "/checks/{id}", "update-check", "Replace a check; satellites follow at once", func(ctx context.Context, in *checkUpdate) (*answer[catalog.Check], error) {
		return answered(a.Catalog.UpdateCheck(ctx, actor(ctx), in.ID, in.Body))
	})
	route(a, http.MethodDelete, "/checks/{id}", "delete-check", "Delete a check and its assignments", func(ctx context.Context, in *Ref) (*struct{}, error) {
		_, err := a.Catalog.DeleteCheck(ctx, actor(ctx), in.ID)
		return nil, err
	}, status(http.StatusNoContent))
}

// Strategy is a way to reach a target, with the JSON Schema of its configuration
// and what can be measured over it.
type Strategy struct {
	ID         string              `json:"id"`
	Schema     json.RawMessage     `json:"schema"`
	Collectors []StrategyCollector `json:"collectors"`
}

// StrategyCollector is one measurement, with the JSON Schema of its configuration.
type StrategyCollector struct {
	ID     string          `json:"id"`
	Schema json.RawMessage `json:"schema"`
}

func (a *API) addStrategies() {
	route(a, http.MethodGet, "/strategies", "list-strategies", "What checks can be made of", func(context.Context, *struct{}) (*answer[List[Strategy]], error) {
		return listed(strategies(), "", nil)
	})
}

func strategies() (all []Strategy) {
	for _, id := range check.Strategies() {
		schema, _ := check.StrategySchema(id) // every strategy has one
		s := Strategy{ID: id, Schema: schema, Collectors: []StrategyCollector{}}
		for _, c := range check.Collectors(id) {
			schema, _ := check.CollectorSchema(c)
			s.Collectors = append(s.Collectors, StrategyCollector{ID: c, Schema: schema})
		}
		all = append(all, s)
	}
	return all
}
