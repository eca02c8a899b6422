package server_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/fence"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/server"
	"github.com/perigee-monitoring/perigee/protocol"
)

// A satellite says what keeps scripts to their policy where it stands.
func TestASatelliteTellsItsFence(t *testing.T) {
	onBothEngines(t, func(t *testing.T, c server.Config) {
		core, api := start(t, c)
		run(t, core, create(t, api, "eu-1"))
		online(t, api, "eu-1")
		var s fleet.Satellite
		if err := api.Get(t.Context(), "/satellites/eu-1", nil, &s); err != nil {
			t.Fatal(err)
		}
		want := &protocol.Fence{}
		var err error
		if want.Level, err = fence.Level(); err != nil {
			want.Missing = err.Error()
		}
		if diff := cmp.Diff(want, s.Inventory.Fence); diff != "" {
			t.Errorf("fence (-want +got):\n%s", diff)
		}
	})
}
