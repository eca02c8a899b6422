package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/internal/probe"
	"github.com/perigee-monitoring/perigee/internal/satellite"
	"github.com/perigee-monitoring/perigee/internal/server"
	"github.com/perigee-monitoring/perigee/protocol"
)

// create makes a satellite through a core's API.
func create(t *testing.T, api *client.Client, name string) httpapi.SatelliteToken {
	t.Helper()
	var made httpapi.SatelliteToken
	if err := api.Post(t.Context(), "/satellites", httpapi.NewSatellite{Name: name, Region: "eu"}, &made); err != nil {
		t.Fatal(err)
	}
	return made
}

func dialTo(s *server.Server) satellite.Dialer {
	return func(ctx context.Context) (link.Conn, error) {
		return link.Dial(ctx, "ws"+strings.TrimPrefix(s.URL(), "http")+protocol.Path, link.Options{Silence: protocol.OfflineThreshold})
	}
}

// run runs our satellite at the core and gives what it ends with.
func run(t *testing.T, at *server.Server, made httpapi.SatelliteToken) <-chan error {
	t.Helper()
	ended, _ := runWith(t, at, made, probe.New(probe.Options{Version: "test"}))
	return ended
}

// runWith is run with another prober, and a way to stop.
func runWith(t *testing.T, at *server.Server, made httpapi.SatelliteToken, prober satellite.Prober) (<-chan error, func()) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	agent, err := satellite.New(satellite.Config{ID: made.Satellite.ID, Token: made.Token, DataDir: t.TempDir(), Version: "test"},
		prober, []satellite.Core{{URL: at.URL(), Dial: dialTo(at)}}, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended <- agent.Run(ctx)
	}()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return ended, stop
}

// M20, M32: what is done at one core ends the sessions that another holds, with the
// database's own notifications as the bell; our agent stops for good and says why,
// the original's is told to shut down.
func TestM20_M32_RevocationAtOneCoreEndsSessionsOfAnother(t *testing.T) {
	t.Parallel()
	url := dbtest.PostgreSQL(t)
	here, _ := start(t, server.Config{Database: url})
	_, api := start(t, server.Config{Database: url})

	rotated, deleted, original := create(t, api, "eu-1"), create(t, api, "eu-2"), create(t, api, "eu-3")
	first, second := run(t, here, rotated), run(t, here, deleted)
	conn, err := dialTo(here)(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(link.Lost, "")
	conn.SetReadLimit(protocol.MaxFrame)
	hello, err := json.Marshal(map[string]any{"type": "authenticate", "clientId": original.Satellite.ID, "token": original.Token})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Write(hello); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all three at the first core", func() error {
		all, err := client.All[fleet.Satellite](t.Context(), api, "/satellites", nil, 0, nil)
		if err != nil {
			return err
		}
		for _, s := range all {
			if s.Status != fleet.Online {
				return errors.New(s.Name + " is not online")
			}
		}
		return nil
	})

	if err := api.Post(t.Context(), "/satellites/eu-1/rotate-token", nil, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"eu-2", "eu-3"} {
		if err := api.Delete(t.Context(), "/satellites/"+name, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-first; !errors.Is(err, satellite.ErrRefused) || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("the one whose token was replaced ended with %v", err)
	}
	if err := <-second; !errors.Is(err, satellite.ErrRemoved) {
		t.Errorf("the one that was deleted ended with %v", err)
	}
	told := false
	for {
		frame, err := conn.Read()
		if err == nil {
			m, err := protocol.DecodeFromCore(frame)
			if err != nil {
				t.Fatal(err)
			}
			_, is := m.(*protocol.Shutdown)
			told = told || is
			continue
		}
		if closed, ok := errors.AsType[*link.CloseError](err); !ok || closed.Code != protocol.CloseRemoved || !told {
			t.Errorf("the original ended with %v, told to shut down: %v", err, told)
		}
		return
	}
}
