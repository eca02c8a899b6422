package action

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/notify"
)

type notifyConfig struct {
	Channels []string `json:"channels,omitempty" help:"Channels by name or id; every enabled one when left out."`
	Title    string   `json:"title" help:"One line."`
	Body     string   `json:"body,omitempty" help:"What more there is to say."`
	Severity string   `json:"severity,omitempty" enum:"info,warning,critical" help:"How urgent; info when left out."`
	Link     string   `json:"link,omitempty" help:"Where more is seen."`
}

// maxMessage bounds a body, in bytes: services cut what is longer.
const maxMessage = 8000

func notifyAction(s Services) automation.Action {
	return automation.NewAction("notify", "Tells people by channels. A channel that took the message is left alone when it is tried again.",
		func(ctx context.Context, r automation.Request, c notifyConfig) (any, error) {
			names, err := s.channels(ctx, c.Channels)
			if err != nil {
				return nil, err
			}
			m := notify.Message{Key: r.Key(), Title: c.Title, Body: c.Body, Severity: cmp.Or(c.Severity, "info"), Link: c.Link}
			if len(m.Body) > maxMessage {
				m.Body = strings.ToValidUTF8(m.Body[:maxMessage], "") + "…"
			}
			var took []string
			var failures []error
			again := false
			for _, name := range names {
				if _, err := s.Channels.Send(ctx, name, m); err != nil {
					failures = append(failures, err)
					again = again || !automation.Permanent(err)
					continue
				}
				took = append(took, name)
			}
			if len(failures) == 0 {
				return map[string]any{"delivered": took}, nil
			}
			kind := fault.Conflict
			if again {
				kind = fault.Unavailable
			}
			var words []string
			for _, err := range failures {
				words = append(words, fault.Message(err))
			}
			return nil, fault.Wrap(kind, errors.Join(failures...), "%d of %d channels did not take it: %s", len(failures), len(names), strings.Join(words, "; "))
		})
}

// channels are the ones that are named, else all that are enabled.
func (s Services) channels(ctx context.Context, named []string) ([]string, error) {
	if len(named) > 0 {
		return named, nil
	}
	all, err := s.Channels.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking for channels: %w", err)
	}
	var names []string
	for _, c := range all {
		if c.Enabled {
			names = append(names, c.Name)
		}
	}
	// That nobody is told is no failure of a run: it is so until there is a channel.
	return names, nil
}
