package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/protocol"
)

// SatelliteCmd is what can be done with satellites.
type SatelliteCmd struct {
	Create              SatelliteCreateCmd              `cmd:"" help:"Make a satellite and show its token, this once."`
	List                SatelliteListCmd                `cmd:"" help:"List satellites."`
	Get                 SatelliteGetCmd                 `cmd:"" help:"Show a satellite."`
	Update              SatelliteUpdateCmd              `cmd:"" help:"Rename, move or tag a satellite."`
	RotateToken         SatelliteRotateTokenCmd         `cmd:"" help:"Replace a satellite's token, at once or with an overlap."`
	RevokePreviousToken SatelliteRevokePreviousTokenCmd `cmd:"" help:"End a rotation's overlap now, and what the old token opened."`
	Cordon              SatelliteCordonCmd              `cmd:"" help:"Give a satellite no new seats of counted assignments."`
	Uncordon            SatelliteUncordonCmd            `cmd:"" help:"Give a satellite seats again, and end its drain."`
	Drain               SatelliteDrainCmd               `cmd:"" help:"Cordon a satellite and move its seats away."`
	Delete              SatelliteDeleteCmd              `cmd:"" help:"Delete a satellite and end its session."`
	Transitions         SatelliteTransitionsCmd         `cmd:"" help:"What happened to a satellite, newest first."`
}

// SatelliteCreateCmd makes a satellite.
type SatelliteCreateCmd struct {
	Name             string            `arg:"" help:"Its name, unique."`
	Region           string            `required:"" placeholder:"REGION" help:"Where it is."`
	Tag              map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"What selectors see; may be repeated."`
	OfflineThreshold *time.Duration    `placeholder:"D" help:"How long it may be silent before it counts as offline, 15s to 24h; 45s when left out."`
	Weight           int64             `placeholder:"N" help:"Its share of seats in proportion to others, 1 to 1000; 1 when left out."`
	Expires          *time.Duration    `placeholder:"D" help:"How long its token is valid; for ever when left out."`
}

// Run makes it.
func (c *SatelliteCreateCmd) Run(ctx context.Context, a *app) error {
	body := httpapi.NewSatellite{Name: c.Name, Region: c.Region, Tags: c.Tag, Weight: c.Weight}
	if c.OfflineThreshold != nil {
		body.OfflineThresholdMs = new(c.OfflineThreshold.Milliseconds())
	}
	if c.Expires != nil {
		body.TokenExpiresInMs = new(c.Expires.Milliseconds())
	}
	var made httpapi.SatelliteToken
	if err := a.client.Post(ctx, "/satellites", body, &made); err != nil {
		return err
	}
	return a.print(made, func(w *tabwriter.Writer) { a.token(w, made, "Satellite %s (%s) is made.") })
}

// SatelliteRotateTokenCmd gives a satellite a new token.
type SatelliteRotateTokenCmd struct {
	Name    string         `arg:"" help:"Its name or id."`
	Overlap *time.Duration `placeholder:"D" help:"How long the old token stays valid, and its session lives on; both end at once when left out."`
	Expires *time.Duration `placeholder:"D" help:"How long the new token is valid; for ever when left out."`
}

// Run rotates it.
func (c *SatelliteRotateTokenCmd) Run(ctx context.Context, a *app) error {
	var body httpapi.RotateRequest
	if c.Overlap != nil {
		body.OverlapMs = new(c.Overlap.Milliseconds())
	}
	if c.Expires != nil {
		body.ExpiresInMs = new(c.Expires.Milliseconds())
	}
	var made httpapi.SatelliteToken
	if err := a.client.Post(ctx, at("/satellites", c.Name, "rotate-token"), body, &made); err != nil {
		return err
	}
	return a.print(made, func(w *tabwriter.Writer) {
		said := "The old token of satellite %s (%s) does not work any more."
		if until := made.Satellite.PreviousTokenValidUntil; until != nil {
			said = "The old token of satellite %s (%s) works until " + instant(*until) + "."
		}
		a.token(w, made, said)
	})
}

// SatelliteRevokePreviousTokenCmd ends an overlap.
type SatelliteRevokePreviousTokenCmd struct {
	Name string `arg:"" help:"Its name or id."`
}

// Run ends it.
func (c *SatelliteRevokePreviousTokenCmd) Run(ctx context.Context, a *app) error {
	var s fleet.Satellite
	if err := a.client.Post(ctx, at("/satellites", c.Name, "revoke-previous-token"), nil, &s); err != nil {
		return err
	}
	return a.print(s, func(w *tabwriter.Writer) { a.satellite(w, &s) })
}

// token shows a token and what to do with it.
func (a *app) token(w *tabwriter.Writer, made httpapi.SatelliteToken, said string) {
	fmt.Fprintf(w, said, made.Satellite.Name, made.Satellite.Region)
	fmt.Fprintf(w, ` Its token is shown this once.
Where it shall check from, run:

  export PERIGEE_SATELLITE_TOKEN=%s
  perigee-satellite --core %s --id %s
`, made.Token, a.client.URL(), made.Satellite.ID)
}

// SatelliteListCmd lists satellites.
type SatelliteListCmd struct {
	Region string   `placeholder:"REGION" help:"Only those of this region."`
	Status string   `enum:"online,offline," default:"" placeholder:"STATUS" help:"Only those that are online, or offline."`
	Tag    []string `sep:"none" placeholder:"KEY=VALUE" help:"Only those with this tag; may be repeated."`
	Limit  int      `placeholder:"N" help:"The most to show; all when left out."`
}

// Run lists them.
func (c *SatelliteListCmd) Run(ctx context.Context, a *app) error {
	query := filters("region", c.Region, "status", c.Status)
	for _, t := range c.Tag {
		if key, _, ok := strings.Cut(t, "="); !ok || key == "" {
			return usage("", "--tag %s is not of the form key=value", t)
		}
		query.Add("tag", t)
	}
	all, err := fetch[fleet.Satellite](ctx, a, "/satellites", query, c.Limit)
	if err != nil {
		return err
	}
	return a.print(list[fleet.Satellite]{all}, func(w *tabwriter.Writer) {
		tokens := slices.ContainsFunc(all, func(s fleet.Satellite) bool { return a.tokenState(&s) != "-" })
		ill := slices.ContainsFunc(all, func(s fleet.Satellite) bool { return s.Observer.Illness() != "" })
		seated := slices.ContainsFunc(all, func(s fleet.Satellite) bool { return s.Seats > 0 || s.CordonedAt != nil })
		show := func(token, illness, seats string, cells ...string) {
			if tokens { // a column only when there is something to look at
				cells = slices.Insert(cells, len(cells)-1, token)
			}
			if seated {
				cells = slices.Insert(cells, 3, seats)
			}
			if ill {
				cells = slices.Insert(cells, 3, illness)
			}
			row(w, cells...)
		}
		show("TOKEN", "ILL", "SEATS", "NAME", "REGION", "STATUS", "HEARD", "VERSION", "TAGS")
		for _, s := range all {
			show(a.tokenState(&s), dash(s.Observer.Illness()), seatCount(&s), s.Name, s.Region, string(s.Status), a.ago(value(s.LastHeartbeatAt)), dash(value(s.Version)), pairs(s.Tags))
		}
	})
}

// filters is a query of the names and values that are not empty.
func filters(namesAndValues ...string) url.Values {
	query := url.Values{}
	for i := 0; i < len(namesAndValues); i += 2 {
		if v := namesAndValues[i+1]; v != "" {
			query.Set(namesAndValues[i], v)
		}
	}
	return query
}

// SatelliteGetCmd shows a satellite.
type SatelliteGetCmd struct {
	Name string `arg:"" help:"Its name or id."`
}

// Run shows it.
func (c *SatelliteGetCmd) Run(ctx context.Context, a *app) error {
	var s fleet.Satellite
	if err := a.client.Get(ctx, at("/satellites", c.Name), nil, &s); err != nil {
		return err
	}
	named, err := a.named(ctx, s)
	if err != nil {
		return err
	}
	return a.print(s, func(w *tabwriter.Writer) { a.satellite(w, &named) })
}

// named is the satellite with names in place of the ids of what it cannot run, for people; an id
// that no assignment has any more stays.
func (a *app) named(ctx context.Context, s fleet.Satellite) (fleet.Satellite, error) {
	if len(s.AppliedErrors) == 0 {
		return s, nil
	}
	assignments, err := fetch[catalog.Assignment](ctx, a, "/assignments", nil, 0)
	if err != nil {
		return s, err
	}
	names := map[string]string{}
	for i := range assignments {
		names[assignments[i].CheckID], names[assignments[i].SystemID] = assignments[i].CheckName, assignments[i].SystemName
	}
	s.AppliedErrors = slices.Clone(s.AppliedErrors)
	for i := range s.AppliedErrors {
		e := &s.AppliedErrors[i]
		e.ConfigID, e.SystemID = cmp.Or(names[e.ConfigID], e.ConfigID), cmp.Or(names[e.SystemID], e.SystemID)
	}
	return s, nil
}

// satellite shows everything that matters of one.
func (a *app) satellite(w *tabwriter.Writer, s *fleet.Satellite) {
	row(w, "Name", s.Name)
	row(w, "Id", s.ID)
	row(w, "Region", s.Region)
	row(w, "Tags", dash(pairs(s.Tags)))
	row(w, "Status", string(s.Status))
	row(w, "Heard", a.ago(value(s.LastHeartbeatAt)))
	row(w, "Last event", cmp.Or(string(value(s.LastConnectionEvent)), "never connected"))
	row(w, "Version", dash(value(s.Version)))
	row(w, "Token", a.tokenLife(s))
	if until := s.PreviousTokenValidUntil; until != nil {
		use := "not in use"
		if s.PreviousTokenInUse {
			use = "still in use"
		}
		row(w, "Previous token", fmt.Sprintf("valid until %s, %s", instant(*until), use))
	}
	if until := s.DuplicateUntil; until != nil {
		row(w, "Identity", "two processes use these credentials; the one that is connected stays until "+instant(*until))
	}
	row(w, "Offline after", fleet.Threshold(s.OfflineThresholdMs).String())
	row(w, "Definitions", definitions(s))
	if s.Inventory != nil && s.Inventory.Fence != nil {
		row(w, "Scripts", fenced(s.Inventory.Fence))
	}
	if s.Seats > 0 || s.CordonedAt != nil || s.Weighs() != 1 {
		row(w, "Seats", seating(s))
	}
	for i, e := range s.AppliedErrors {
		row(w, map[bool]string{true: "Cannot run"}[i == 0], fmt.Sprintf("%s of %s: %s", e.ConfigID, e.SystemID, e.Message))
	}
	a.observer(w, s)
	if p := s.Pulse; p != nil {
		row(w, "To be sent", fmt.Sprintf("%d records, %d dropped so far", p.SpoolRecords, p.SpoolDropped))
	}
	row(w, "Created", instant(s.CreatedAt))
}

// fenced says how scripts are kept to their policy.
func fenced(f *protocol.Fence) string {
	if f.Level != "" {
		return "fenced in by " + f.Level
	}
	return "NOT fenced in: " + f.Missing
}

// observer shows how a satellite fares itself, and its clock.
func (a *app) observer(w *tabwriter.Writer, s *fleet.Satellite) {
	if o := s.Observer; o != nil {
		said := "well"
		if len(o.Ill) > 0 {
			said = "ILL since " + a.ago(value(s.IllSince)) + "; runs that fail for it are inconclusive"
		}
		row(w, "Observer", said)
		for _, ill := range o.Ill {
			row(w, "", fmt.Sprintf("%s: %s", ill.Kind, dash(ill.Detail)))
		}
	}
	if p := s.Pulse; p != nil && p.OffsetMs != nil && p.UncertaintyMs != nil {
		side := "behind"
		if *p.OffsetMs < 0 {
			side = "ahead of"
		}
		said := fmt.Sprintf("%.0f ms %s the core's, ± %.1f ms", math.Abs(*p.OffsetMs), side, *p.UncertaintyMs)
		if s.Observer != nil && s.Observer.Skewed {
			said += ": SKEWED"
		}
		row(w, "Clock", said)
	}
}

// tokenLife is when a satellite's token was used and when it ends.
func (a *app) tokenLife(s *fleet.Satellite) string {
	life := "never used"
	if used := s.TokenLastUsedAt; used != nil {
		life = "used " + a.ago(*used)
	}
	switch end := s.TokenExpiresAt; {
	case end == nil:
		return life + ", does not expire"
	case end.Before(a.now()):
		return life + ", expired " + a.ago(*end)
	default:
		return life + ", expires " + instant(*end)
	}
}

// tokenState is tokenLife in a word for lists: what somebody should look at.
func (a *app) tokenState(s *fleet.Satellite) string {
	switch end := s.TokenExpiresAt; {
	case s.PreviousTokenInUse:
		return "previous in use"
	case end == nil:
		return "-"
	case end.Before(a.now()):
		return "expired"
	default:
		return "expires " + a.ago(*end)
	}
}

// definitions says whether a satellite runs what it should.
func definitions(s *fleet.Satellite) string {
	switch {
	case s.AppliedRevision == nil:
		return fmt.Sprintf("revision %d", s.DesiredRevision)
	case *s.AppliedRevision == s.DesiredRevision:
		return fmt.Sprintf("revision %d, up to date", s.DesiredRevision)
	}
	return fmt.Sprintf("revision %d, still runs %d", s.DesiredRevision, *s.AppliedRevision)
}

// SatelliteUpdateCmd changes a satellite.
type SatelliteUpdateCmd struct {
	Satellite        string            `arg:"" name:"name" help:"Its name or id."`
	Name             *string           `placeholder:"NAME" help:"A new name."`
	Region           *string           `placeholder:"REGION" help:"A new region."`
	Tag              map[string]string `mapsep:"none" placeholder:"KEY=VALUE" xor:"tags" help:"Tags instead of those it has; may be repeated."`
	NoTags           bool              `xor:"tags" help:"Take all tags away."`
	OfflineThreshold *time.Duration    `placeholder:"D" xor:"threshold" help:"How long it may be silent before it counts as offline, 15s to 24h."`
	Weight           *int64            `placeholder:"N" help:"Its share of seats in proportion to others, 1 to 1000."`
	DefaultThreshold bool              `xor:"threshold" help:"Back to the default of 45s."`
}

// Run changes it.
func (c *SatelliteUpdateCmd) Run(ctx context.Context, a *app) error {
	body := map[string]any{} // null and absent mean different things
	if c.Name != nil {
		body["name"] = *c.Name
	}
	if c.Region != nil {
		body["region"] = *c.Region
	}
	if c.Tag != nil {
		body["tags"] = c.Tag
	}
	if c.NoTags {
		body["tags"] = map[string]string{}
	}
	if c.OfflineThreshold != nil {
		body["offlineThresholdMs"] = c.OfflineThreshold.Milliseconds()
	}
	if c.Weight != nil {
		body["weight"] = *c.Weight
	}
	if c.DefaultThreshold {
		body["offlineThresholdMs"] = nil
	}
	if len(body) == 0 {
		return usage("perigee satellite update --help", "nothing to change was given")
	}
	var s fleet.Satellite
	if err := a.client.Patch(ctx, at("/satellites", c.Satellite), body, &s); err != nil {
		return err
	}
	return a.print(s, func(w *tabwriter.Writer) { a.satellite(w, &s) })
}

// SatelliteDeleteCmd deletes a satellite.
type SatelliteDeleteCmd struct {
	Name string `arg:"" help:"Its name or id."`
	Yes  bool   `short:"y" help:"Do not ask."`
}

// Run deletes it.
func (c *SatelliteDeleteCmd) Run(ctx context.Context, a *app) error {
	question := fmt.Sprintf("Delete satellite %s? It is cut off, and its token does not work any more.", c.Name)
	if err := a.confirm(c.Yes, question, fmt.Sprintf("perigee satellite delete %s --yes", c.Name)); err != nil {
		return err
	}
	return a.client.Delete(ctx, at("/satellites", c.Name), nil)
}

// SatelliteTransitionsCmd shows the history of a satellite.
type SatelliteTransitionsCmd struct {
	Name   string `arg:"" help:"Its name or id."`
	Record bool   `help:"History of the record (made, renamed, token rotated) instead of the connection."`
	Limit  int    `default:"50" placeholder:"N" help:"The most to show (${default}); 0 is all."`
}

// Run shows it.
func (c *SatelliteTransitionsCmd) Run(ctx context.Context, a *app) error {
	kind := fleet.KindConnection
	if c.Record {
		kind = fleet.KindSatellite
	}
	all, err := fetch[entity.Transition](ctx, a, at("/satellites", c.Name, "transitions"), filters("kind", kind), c.Limit)
	if err != nil {
		return err
	}
	return a.print(list[entity.Transition]{all}, func(w *tabwriter.Writer) {
		show := func(who string, cells ...string) {
			if c.Record { // what happens to a connection nobody does
				cells = append(cells, who)
			}
			row(w, cells...)
		}
		show("BY", "TIME", "FIELD", "FROM", "TO")
		for _, t := range all {
			show(cmp.Or(t.Actor.Name, t.Actor.ID), instant(t.At), t.Field, dash(value(t.From)), t.To)
		}
	})
}

// object is the members of a JSON object that is none of our types.
type object map[string]json.RawMessage

func objectOf(text json.RawMessage) (o object) {
	_ = json.Unmarshal(text, &o) // null and what is no object have no members
	return o
}

// text is a member as people read it: strings without quotes, "" when absent or
// null.
func (o object) text(name string) string {
	raw := o[name]
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}
