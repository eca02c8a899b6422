package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perigee-monitoring/perigee/internal/catalog"
)

// Documents are definitions as files hold them.
type Documents struct {
	Documents []catalog.Document `json:"documents"`
}

// ApplyRequest asks that the definitions be as the documents say.
type ApplyRequest struct {
	Documents []catalog.Document `json:"documents" doc:"In any order. Places of errors are documents[2].spec.…"`
	DryRun    bool               `json:"dryRun,omitempty" doc:"Say what would happen and change nothing."`
}

// ImportRequest asks to take over what another core had.
type ImportRequest struct {
	catalog.Import
	DryRun bool `json:"dryRun,omitempty" doc:"Say what would happen and change nothing."`
}

// documentSchema describes a document and holds none against it (it has no type):
// the catalog reports everything that is wrong with all of them together.
type documentSchema struct{}

func (documentSchema) Schema(huma.Registry) *huma.Schema {
	text := &huma.Schema{Type: huma.TypeString}
	return &huma.Schema{
		Description: "One definition as a file holds it. The spec is by kind: that of a check is as of POST /checks.",
		Properties: map[string]*huma.Schema{
			"apiVersion": {Type: huma.TypeString, Enum: []any{catalog.APIVersion}},
			"kind":       {Type: huma.TypeString, Enum: []any{catalog.DocAssignment, catalog.DocAutomation, catalog.DocCheck, catalog.DocMaintenance, catalog.DocSatellite, catalog.DocSystem}},
			"metadata": {Type: huma.TypeObject, Required: []string{"name"}, Properties: map[string]*huma.Schema{
				"name": text, "labels": {Type: huma.TypeObject, AdditionalProperties: text},
			}},
			"spec": {Type: huma.TypeObject},
		},
		Required: []string{"apiVersion", "kind", "metadata", "spec"},
	}
}

func (a *API) addDocuments() {
	route(a, http.MethodPost, "/apply", "apply-documents", "Make the definitions be as documents say, all in one transaction", func(ctx context.Context, in *struct{ Body ApplyRequest }) (*answer[catalog.Plan], error) {
		return answered(a.apply(ctx, in.Body.Documents, in.Body.DryRun))
	}, func(op *huma.Operation) {
		op.MaxBodyBytes = maxDocuments
		op.BodyReadTimeout = 30 * time.Second
	})
	route(a, http.MethodPost, "/import", "import", "Take over satellites with their tokens, systems, checks and assignments of another core, in one transaction", func(ctx context.Context, in *struct{ Body ImportRequest }) (*answer[catalog.ImportPlan], error) {
		return answered(a.Catalog.Import(ctx, actor(ctx), in.Body.Import, in.Body.DryRun))
	}, func(op *huma.Operation) {
		op.MaxBodyBytes = maxImport
		op.BodyReadTimeout = 30 * time.Second
	})
	route(a, http.MethodGet, "/export", "export-documents", "All definitions as documents", func(ctx context.Context, _ *struct{}) (*answer[Documents], error) {
		documents, err := a.export(ctx)
		return answered(Documents{Documents: documents}, err)
	})
}
