package httpapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/secret"
)

// SecretInput is the body of PUT /secrets/{name}. The value is never given back.
type SecretInput struct {
	Value       string  `json:"value,omitempty" maxLength:"65536" writeOnly:"true" doc:"The value. Nothing ever shows it again."`
	External    string  `json:"external,omitempty" maxLength:"512" doc:"Where it is fetched from instead, as path#field of the vault's KV engine."`
	Description *string `json:"description,omitempty" maxLength:"1000"`
}

// SecretName names a secret.
type SecretName struct {
	Name string `path:"name" maxLength:"63" doc:"A letter, then letters, digits, _ and -."`
}

type secretPut struct {
	SecretName
	Body SecretInput
}

type leaseQuery struct {
	Paging
	Satellite string `query:"satellite" doc:"Only those of this satellite, by id or name."`
	Check     string `query:"check" doc:"Only those for this check, by id or name."`
	Refused   bool   `query:"refused" doc:"Only those that were not allowed."`
}

func (a *API) addSecrets() {
	route(a, http.MethodGet, "/secrets", "list-secrets", "List secrets by name, without their values", func(ctx context.Context, in *Paging) (*answer[List[secret.Secret]], error) {
		all, err := a.Secrets.List(ctx)
		return paged(all, *in, func(s secret.Secret) string { return s.Name }, err)
	})
	route(a, http.MethodPut, "/secrets/{name}", "set-secret", "Give a secret a new value", func(ctx context.Context, in *secretPut) (*answer[secret.Secret], error) {
		return answered(a.Secrets.Set(ctx, actor(ctx), in.Name, secret.Input{Value: in.Body.Value, External: in.Body.External, Description: in.Body.Description}))
	})
	route(a, http.MethodDelete, "/secrets/{name}", "delete-secret", "Delete a secret; checks that refer to it get an error", func(ctx context.Context, in *SecretName) (*struct{}, error) {
		return nil, a.Secrets.Delete(ctx, actor(ctx), in.Name)
	}, status(http.StatusNoContent))
	route(a, http.MethodPost, "/secrets/rotate-key", "rotate-secret-key", "Seal every secret by a new key and forget the old one", func(ctx context.Context, _ *struct{}) (*answer[secret.Rotated], error) {
		return answered(a.Secrets.RotateKey(ctx, actor(ctx)))
	})
	route(a, http.MethodGet, "/secrets/leases", "list-secret-leases", "Who asked for values and whether it got them, newest first", a.listLeases)
}

func (a *API) listLeases(ctx context.Context, in *leaseQuery) (*answer[List[secret.Lease]], error) {
	f := secret.LeaseFilter{Refused: in.Refused}
	var err error
	if f.SatelliteID, err = filterID(ctx, "satellite", in.Satellite, a.Records.SatelliteByName, func(s fleet.Satellite) string { return s.ID }); err != nil {
		return nil, err
	}
	if f.CheckID, err = filterID(ctx, "check", in.Check, a.Catalog.Check, func(c catalog.Check) string { return c.ID }); err != nil {
		return nil, err
	}
	before := int64(0)
	if in.Cursor != "" {
		if before, err = strconv.ParseInt(in.Cursor, 10, 64); err != nil || before < 1 {
			return nil, fault.New(fault.Invalid, "the cursor is not one of ours")
		}
	}
	leases, err := a.Secrets.Leases(ctx, f, before, in.Limit)
	next := ""
	if len(leases) == in.Limit {
		next = strconv.FormatInt(leases[len(leases)-1].ID, 10)
	}
	return listed(leases, next, err)
}
