package main

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/internal/manifest"
)

// EventCmd is what happened, and what happens.
type EventCmd struct {
	List  EventListCmd  `cmd:"" help:"List what happened, oldest first."`
	Watch EventWatchCmd `cmd:"" help:"Print what happens, as it happens, until stopped."`
}

// EventListCmd lists events.
type EventListCmd struct {
	After int64 `default:"-1" placeholder:"NUMBER" help:"Begin with what came after this event; without it, the newest."`
	Limit int   `default:"50" placeholder:"N" help:"The most to show (${default}); 0 is all."`
}

// Run lists them.
func (c *EventListCmd) Run(ctx context.Context, a *app) error {
	next, err := c.start(ctx, a)
	if err != nil {
		return err
	}
	events, more, err := a.events(ctx, next, c.Limit)
	if err != nil {
		return err
	}
	if n := len(events); n > 0 {
		next = events[n-1].Seq
	}
	systems, err := a.names(ctx, "/systems", len(events))
	if err != nil {
		return err
	}
	err = a.print(httpapi.EventList{Items: events, Next: next}, func(w *tabwriter.Writer) {
		row(w, "TIME", "NUMBER", "EVENT", "OF", "CHANGED")
		for _, e := range events {
			row(w, instant(e.At), fmt.Sprint(e.Seq), e.Type, subject(&e, systems), changes(&e))
		}
	})
	if more && a.interactive {
		fmt.Fprintf(a.errw, "there is more: perigee event list --after %d\n", next)
	}
	return err
}

// start is the number after which the list begins.
func (c *EventListCmd) start(ctx context.Context, a *app) (int64, error) {
	if c.After >= 0 || c.Limit <= 0 {
		return max(c.After, 0), nil
	}
	var last httpapi.EventList
	if err := a.client.Get(ctx, "/events", url.Values{"newest": {"true"}, "limit": {"1"}}, &last); err != nil {
		return 0, err
	}
	return max(last.Next-int64(c.Limit), 0), nil
}

// eventPage is the most events that the core gives at once.
const eventPage = 1000

// events reads events from page to page; limit zero is all of them.
func (a *app) events(ctx context.Context, after int64, limit int) (events []entity.Event, more bool, err error) {
	seen, done := a.progress()
	defer done()
	events = []entity.Event{}
	for {
		ask := eventPage
		if limit > 0 {
			ask = min(ask, limit-len(events))
		}
		var page httpapi.EventList
		query := url.Values{"after": {fmt.Sprint(after)}, "limit": {fmt.Sprint(ask)}}
		if err := a.client.Get(ctx, "/events", query, &page); err != nil {
			return nil, false, err
		}
		events, after = append(events, page.Items...), page.Next
		if seen != nil {
			seen(len(events))
		}
		if len(page.Items) < ask {
			return events, false, nil
		}
		if limit > 0 && len(events) >= limit {
			return events, true, nil
		}
	}
}

// EventWatchCmd follows events.
type EventWatchCmd struct {
	After int64 `default:"-1" placeholder:"NUMBER" help:"Begin with what came after this event; without it, with what happens from now on."`
}

// Run follows them. That the core can be reached is made sure at first; later a
// stream that breaks is taken up again.
func (c *EventWatchCmd) Run(ctx context.Context, a *app) error {
	if err := a.client.Get(ctx, "/events", url.Values{"limit": {"1"}}, nil); err != nil {
		return err
	}
	told := ""
	var systems names
	err := a.client.Watch(ctx, c.After, func(e entity.Event) error {
		told = ""
		if _, known := systems[e.EntityID]; e.Kind == health.Kind && !known {
			if found, err := a.names(ctx, "/systems", 1); err == nil { // else the id says it
				systems = found
			}
		}
		return a.event(&e, systems)
	}, func(err error) {
		if text := err.Error(); text != told {
			told = text
			fmt.Fprintf(a.errw, "perigee: %s; trying again\n", text)
		}
	})
	if ctx.Err() != nil {
		return nil // this is how it ends
	}
	return err
}

// event prints one event: a line of words, a line of JSON, or a YAML document.
func (a *app) event(e *entity.Event, systems names) error {
	if a.format == "table" {
		text := fmt.Sprintf("%s  %d  %s  %s  %s", instant(e.At), e.Seq, e.Type, subject(e, systems), changes(e))
		_, err := fmt.Fprintln(a.out, plain(strings.TrimRight(text, " ")))
		return err
	}
	text, err := encoded(e)
	if err != nil {
		return err
	}
	if a.format == "yaml" {
		fmt.Fprintln(a.out, "---")
		return manifest.WriteJSON(a.out, text)
	}
	_, err = a.out.Write(text)
	return err
}

// subject is what an event is about: "system shop". Of a health that is the
// system; the event itself does not have its name.
func subject(e *entity.Event, systems names) string {
	name := systems.of(e.EntityID)
	for _, o := range []object{objectOf(e.Payload), objectOf(e.Next), objectOf(e.Prev)} {
		if n := o.text("name"); n != "" {
			name = n
			break
		}
	}
	return e.Kind + " " + name
}

// changes are the fields that changed: "status: healthy → unhealthy". What came
// into being or ceased to be has all its fields changed, which says nothing.
func changes(e *entity.Event) string {
	prev, next := objectOf(e.Prev), objectOf(e.Next)
	if len(prev) == 0 || len(next) == 0 {
		return ""
	}
	var all []string
	for _, field := range e.Changed {
		all = append(all, fmt.Sprintf("%s: %s → %s", field, short(prev.text(field)), short(next.text(field))))
	}
	return strings.Join(all, ", ")
}

// short is a value as far as a line has room for it.
func short(text string) string {
	const most = 60
	if r := []rune(text); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return cmp.Or(text, "-")
}
