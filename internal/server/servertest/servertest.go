// Package servertest runs whole cores, for tests.
package servertest

import (
	"context"
	"log/slog"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/server"
)

// Token is that of who administers cores of tests.
const Token = "perigee_administrator-of-a-test"

// Core runs a core of ours on a free port until the test ends, and gives its address
// and its administrator's API.
func Core(tb testing.TB, c server.Config) (url string, api *client.Client) {
	tb.Helper()
	c.Listen, c.AdminToken, c.DataDir, c.Version, c.Log = "127.0.0.1:0", Token, tb.TempDir(), "test", slog.New(slog.DiscardHandler)
	if c.Database == "" {
		c.Database = dbtest.SQLite(tb)
	}
	s, err := server.New(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Error(err)
		}
	})
	if api, err = client.New(client.Options{URL: s.URL(), Token: Token}); err != nil {
		tb.Fatal(err)
	}
	return s.URL(), api
}
