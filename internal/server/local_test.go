package server_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/server"
)

// Of two cores that both may, one runs the built-in satellite, and the other takes
// over when that one stops.
func TestOneOfTwoCoresRunsTheBuiltInSatellite(t *testing.T) {
	t.Parallel()
	database := dbtest.PostgreSQL(t)
	first, err := server.New(t.Context(), server.Config{
		Listen: "127.0.0.1:0", Database: database, DataDir: t.TempDir(), AdminToken: token, Local: true, Version: "test",
		SecretKey: "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- first.Run(ctx) }()
	api, err := client.New(client.Options{URL: first.URL(), Token: token})
	if err != nil {
		t.Fatal(err)
	}
	epoch := func(api *client.Client) int64 {
		var local fleet.Satellite
		if err := api.Get(t.Context(), "/satellites/local", nil, &local); err != nil || local.Status != fleet.Online {
			return 0
		}
		return local.Epoch
	}
	eventually(t, "the built-in satellite of the first core", func() error {
		if epoch(api) != 1 {
			return errors.New("it is not there")
		}
		return nil
	})
	_, other := start(t, server.Config{Database: database, Local: true, SecretKey: "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="})
	if got := epoch(other); got != 1 {
		t.Errorf("the second core made session %d", got)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the first core ended with %v", err)
	}
	eventually(t, "the second core to take over", func() error {
		if epoch(other) != 2 {
			return errors.New("it has not")
		}
		return nil
	})
}
