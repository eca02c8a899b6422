package action

import (
	"context"
	"log/slog"

	"github.com/perigee-monitoring/perigee/internal/automation"
)

type logConfig struct {
	Message string `json:"message" help:"What is written."`
	Level   string `json:"level,omitempty" enum:"debug,info,warn,error" help:"How loud; info when left out."`
}

func logAction(s Services) automation.Action {
	return repeatable(automation.NewAction("log", "Writes a line to the core's log.", func(ctx context.Context, r automation.Request, c logConfig) (any, error) {
		level := map[string]slog.Level{"debug": slog.LevelDebug, "warn": slog.LevelWarn, "error": slog.LevelError}[c.Level]
		s.Log.Log(ctx, level, c.Message, "automation", r.Automation, "run", r.Run.ID)
		return map[string]any{"message": c.Message}, nil
	}))
}
