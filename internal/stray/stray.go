// Package stray is for what libraries print by themselves, through the logger of package log:
// text of whoever is at the other end, about which nobody has asked. A program's errors are
// its own; this is for who looks closely.
package stray

import (
	"io"
	"log"
	"log/slog"
)

// To lets it go to the log of the program, at debug.
func To(l *slog.Logger) {
	log.SetFlags(0)
	log.SetOutput(slog.NewLogLogger(l.Handler(), slog.LevelDebug).Writer())
}

// Nowhere drops it, in programs that have no log.
func Nowhere() { log.SetOutput(io.Discard) }
