package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fence"
	"github.com/perigee-monitoring/perigee/internal/sandbox"
)

func (a *API) addSandbox() {
	route(a, http.MethodGet, "/sandbox-policy", "get-sandbox-policy", "What scripts may do on satellites", func(ctx context.Context, _ *struct{}) (*answer[sandbox.Setting], error) {
		return answered(a.Sandbox.Get(ctx))
	})
	route(a, http.MethodPut, "/sandbox-policy", "set-sandbox-policy", "Set what scripts may do on satellites, and tell those that are connected", func(ctx context.Context, in *struct{ Body json.RawMessage }) (*answer[sandbox.Setting], error) {
		var p fence.Policy
		if err := json.Unmarshal(in.Body, &p); err != nil {
			return nil, &fault.Error{Kind: fault.Invalid, Message: "the sandbox policy is not valid", Fields: []fault.Field{{Path: "body", Message: strings.TrimPrefix(err.Error(), "json: ")}}}
		}
		return answered(a.Sandbox.Set(ctx, actor(ctx), p))
	})
	route(a, http.MethodDelete, "/sandbox-policy", "reset-sandbox-policy", "Go back to the policy that the original ships", func(ctx context.Context, _ *struct{}) (*answer[sandbox.Setting], error) {
		return answered(a.Sandbox.Reset(ctx, actor(ctx)))
	})
}
