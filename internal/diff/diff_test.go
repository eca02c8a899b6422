package diff_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/diff"
)

func TestPlacesThatDifferAreTold(t *testing.T) {
	t.Parallel()
	type object = map[string]any
	from := object{"name": "shop", "labels": object{"env": "prod", "team": "web"}, "list": []any{1, object{"a": true}}, "same": 1.0, "shape": []any{1}}
	to := object{"name": "files", "labels": object{"env": "prod", "tier": "1"}, "list": []any{1, object{"a": false}, "new"}, "same": 1, "shape": object{"a": 1}}
	want := []diff.Field{
		{Path: "at.labels.team", From: "web"},
		{Path: "at.labels.tier", To: "1"},
		{Path: "at.list[1].a", From: true, To: false},
		{Path: "at.list[2]", To: "new"},
		{Path: "at.name", From: "shop", To: "files"},
		{Path: "at.shape", From: []any{json.Number("1")}, To: object{"a": json.Number("1")}},
	}
	if d := cmp.Diff(want, diff.Of("at", from, to)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got := diff.Of("", from, from); got != nil {
		t.Errorf("of the same: %v", got)
	}
	if got := diff.Of("", object{"a": 1}, object{"a": 2}); len(got) != 1 || got[0].Path != "a" {
		t.Errorf("without a path before it: %v", got)
	}
}
