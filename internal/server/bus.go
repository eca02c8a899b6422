package server

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/perigee-monitoring/perigee/internal/bus"
)

// newBus makes the bus that the operator chose, or the one that fits the database.
func newBus(choice, database, engine string, log *slog.Logger) (bus.Bus, error) {
	shared := engine == "postgres"
	switch {
	case choice == "local" || choice == "" && !shared:
		return &bus.Local{}, nil
	case !shared:
		return nil, fmt.Errorf("--bus %s joins several cores, and a SQLite file has one; give --database postgres://… or leave --bus out", choice)
	case choice == "" || choice == "postgres":
		return bus.NewPostgres(database, log)
	case strings.HasPrefix(choice, "postgres://") || strings.HasPrefix(choice, "postgresql://"):
		return bus.NewPostgres(choice, log)
	}
	b, err := bus.NewNATS(choice, log)
	if err != nil {
		return nil, fmt.Errorf("--bus is local, postgres, postgres://… or nats://…: %w", err)
	}
	return b, nil
}
