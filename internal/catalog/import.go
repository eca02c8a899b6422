package catalog

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// Import is the definitions and satellites of another core, with its ids, as they
// were found there: names may repeat and be what ours may not.
type Import struct {
	Satellites  []ImportSatellite  `json:"satellites,omitempty"`
	Systems     []ImportSystem     `json:"systems,omitempty"`
	Checks      []ImportCheck      `json:"checks,omitempty"`
	Assignments []ImportAssignment `json:"assignments,omitempty"`
}

// ImportSatellite is a satellite whose token goes on working: TokenHash is bcrypt
// of it (spec B). Without a hash that can be used it needs a new token.
type ImportSatellite struct {
	ID                 string            `json:"id"`
	Name               string            `json:"name"`
	Region             string            `json:"region"`
	Tags               map[string]string `json:"tags,omitempty"`
	OfflineThresholdMs *int64            `json:"offlineThresholdMs,omitempty"`
	TokenHash          string            `json:"tokenHash"`
	CreatedAt          time.Time         `json:"createdAt,omitzero"`
}

// ImportSystem is a system. An id that is no UUID gets one that depends on it alone.
type ImportSystem struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	// Fields are the custom fields, and Environments those of which it is a member.
	Fields       map[string]any `json:"fields,omitempty"`
	Environments []Environment  `json:"environments,omitempty"`
}

// ImportCheck is a check, valid or not.
type ImportCheck struct {
	ID   string     `json:"id"`
	Name string     `json:"name"`
	Spec check.Spec `json:"spec"`
}

// ImportAssignment joins a check and a system of the same import by their ids there.
type ImportAssignment struct {
	CheckID      string   `json:"checkId"`
	SystemID     string   `json:"systemId"`
	SatelliteIDs []string `json:"satelliteIds,omitempty"`
	IncludeLocal bool     `json:"includeLocal"`
	Enabled      bool     `json:"enabled"`
	// Policy is what its thresholds there are here.
	Policy check.Policy `json:"policy,omitzero"`
	// EnvironmentIDs are of those of the system's in which it runs, null for all, and
	// SatelliteEnvironmentIDs the same for single satellites, by their ids (spec E.2).
	EnvironmentIDs          []string            `json:"environmentIds,omitzero"`
	SatelliteEnvironmentIDs map[string][]string `json:"satelliteEnvironmentIds,omitempty"`
}

// ImportPlan is what an import did, or would do, in the order of its parts.
type ImportPlan struct {
	Changes []ImportChange `json:"changes"`
}

// ImportChange is what becomes of one imported thing. Notes say what is not as it
// was there.
type ImportChange struct {
	Kind   string       `json:"kind"` // Satellite, System, Check or Assignment
	ID     string       `json:"id"`
	Name   string       `json:"name"`
	Action ImportAction `json:"action"`
	Notes  []string     `json:"notes"`
}

// ImportAction is what an import does with one thing.
type ImportAction string

const (
	Imported ImportAction = "imported"
	// Exists: its id (of an assignment, its check and system) is here already. It is
	// left alone, whatever it looks like.
	Exists ImportAction = "exists"
	// Skipped: it cannot be taken over; the notes say why.
	Skipped ImportAction = "skipped"
)

// Import takes over what is not here yet, in one transaction. What is here under
// the same id is left alone, so that importing again changes nothing, undoes no
// edit and no rotation. A name that is taken, or that ours may not be, is changed
// and noted (spec M92). A check that is not valid here comes paused, with the
// reasons: it can be looked at, mended and resumed. With dryRun everything is done
// and then undone.
func (c *Catalog) Import(ctx context.Context, actor entity.Actor, in Import, dryRun bool) (ImportPlan, error) {
	if n := len(in.Satellites) + len(in.Systems) + len(in.Checks) + len(in.Assignments); n > MaxImport {
		return ImportPlan{}, fault.New(fault.Invalid, "at most %d things at once; these are %d", MaxImport, n)
	}
	var plan ImportPlan
	err := c.change(ctx, actor, dryRun, func(e *edit) error {
		if err := e.loadSatellites(ctx); err != nil {
			return err
		}
		i := importer{edit: e, validateSpec: c.validateSpec, plan: ImportPlan{Changes: []ImportChange{}}}
		if err := i.run(ctx, &in); err != nil {
			return err
		}
		plan = i.plan
		return nil
	})
	if err != nil {
		return ImportPlan{}, err
	}
	return plan, nil
}

// importer is one import at work. Nothing that it is given can make it fail, but
// what is wrong with the store.
type importer struct {
	*edit
	validateSpec ValidateSpec
	plan         ImportPlan
}

func (i *importer) run(ctx context.Context, in *Import) error {
	for _, s := range in.Satellites {
		if err := i.satellite(s); err != nil {
			return err
		}
	}
	for _, s := range in.Systems {
		if err := i.system(s); err != nil {
			return err
		}
	}
	for _, s := range in.Checks {
		if err := i.check(ctx, s); err != nil {
			return err
		}
	}
	pairs := map[pair]bool{}
	for _, a := range i.assignments.after {
		pairs[a.pair()] = true
	}
	for _, a := range in.Assignments {
		if err := i.assignment(a, pairs); err != nil {
			return err
		}
	}
	return nil
}

func (i *importer) note(change ImportChange) {
	if change.Notes == nil {
		change.Notes = []string{}
	}
	i.plan.Changes = append(i.plan.Changes, change)
}

func (i *importer) satellite(in ImportSatellite) error {
	id := strings.ToLower(in.ID)
	change := ImportChange{Kind: DocSatellite, ID: id, Name: in.Name, Action: Exists}
	if here, known := i.satellites.after[id]; known {
		change.Name = here.Name
		i.note(change)
		return nil
	}
	if !isID(id) {
		change.Action, change.Notes = Skipped, []string{"its id is no UUID, so its agent could not sign in"}
		i.note(change)
		return nil
	}
	s := fleet.Satellite{ID: id, CreatedAt: in.CreatedAt}
	change.Action = Imported
	s.Name = rename(&change, i.satellites, in.Name, id, LocalSatellite)
	if s.Region = legal(in.Region); s.Region != in.Region {
		s.Region = cmp.Or(s.Region, "unknown")
		change.add("its region %q is now %q", in.Region, s.Region)
	}
	s.Tags = legalTags(&change, in.Tags)
	if ms := in.OfflineThresholdMs; ms != nil {
		if s.OfflineThresholdMs = ms; fleet.Validate(s) != nil {
			s.OfflineThresholdMs = nil
			change.add("its offline threshold of %d ms is not from 15 s to 24 h; it has the default", *ms)
		}
	}
	if fleet.UsableHash(in.TokenHash) {
		i.hashes[id] = in.TokenHash
	} else {
		change.add("its token cannot be taken over: give it a new one with perigee satellite rotate-token")
	}
	change.Name = s.Name
	i.note(change)
	return i.satellites.put(s)
}

func (i *importer) system(in ImportSystem) error {
	id := systemID(in.ID)
	change := ImportChange{Kind: DocSystem, ID: id, Name: in.Name, Action: Exists}
	if here, known := i.systems.after[id]; known {
		change.Name = here.Name
		i.note(change)
		return nil
	}
	change.Action = Imported
	if id != strings.ToLower(in.ID) {
		change.add("its id %q is no UUID; here it is %s", in.ID, id)
	}
	s := System{ID: id, Name: rename(&change, i.systems, in.Name, id), Labels: map[string]string{}, Description: in.Description}
	var wrong problems
	if wrong.description("description", s.Description); wrong != nil {
		s.Description = legal(s.Description)
		change.add("its description was too long or not text; it was cut")
	}
	i.environments(&change, &s, in)
	change.Name = s.Name
	i.note(change)
	return i.systems.put(s)
}

// environments takes over what of the system's fields and environments may be here.
func (i *importer) environments(change *ImportChange, s *System, in ImportSystem) {
	s.Fields, s.Environments = legalFields(change, "its custom fields", in.Fields), nil
	for _, env := range in.Environments {
		name := legal(env.Name)
		if isID(name) || name == "" {
			name = legal("environment " + env.ID)
		}
		taken := func(name string) bool {
			return slices.ContainsFunc(s.Environments, func(e Environment) bool { return e.Name == name })
		}
		if taken(name) {
			name = legal(name + " " + env.ID)
		}
		switch {
		case len(s.Environments) == MaxEnvironments:
			change.add("its environment %q is left out: here it may be in %d", env.Name, MaxEnvironments)
			continue
		case env.ID == "" || len(env.ID) > MaxName || !printable(env.ID) || taken(name):
			change.add("its environment %q is left out: its id cannot be used", env.Name)
			continue
		case name != env.Name:
			change.add("its environment %q is now %q", env.Name, name)
		}
		env.Fields = legalFields(change, fmt.Sprintf("the fields of its environment %q", name), env.Fields)
		if len(env.Fields) == 0 {
			env.Fields = nil
		}
		env.Name = name
		s.Environments = append(s.Environments, env)
	}
}

// legalFields are the fields, or none when they may not be so here.
func legalFields(change *ImportChange, what string, in map[string]any) map[string]any {
	var wrong problems
	if wrong.fields("", in); wrong != nil {
		change.add("%s are left out: each %s", what, wrong[0].Message)
		return map[string]any{}
	}
	return fields(in)
}

// choice gives names in place of the ids of environments; ids that the system has
// not pick nothing and are left out.
func (s *System) choice(ids []string) []string {
	if ids == nil {
		return nil
	}
	names := []string{}
	for _, env := range s.Environments {
		if slices.Contains(ids, env.ID) {
			names = append(names, env.Name)
		}
	}
	return distinct(names)
}

// systemID is the id that a system of another core has here.
func systemID(id string) string {
	if isID(id) {
		return strings.ToLower(id)
	}
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("checkstack system "+id)).String()
}

func (i *importer) check(ctx context.Context, in ImportCheck) error {
	id := strings.ToLower(in.ID)
	change := ImportChange{Kind: DocCheck, ID: id, Name: in.Name, Action: Exists}
	if here, known := i.checks.after[id]; known {
		change.Name = here.Name
		i.note(change)
		return nil
	}
	if !isID(id) {
		change.Action, change.Notes = Skipped, []string{"its id is no UUID"}
		i.note(change)
		return nil
	}
	change.Action = Imported
	input := CheckInput{Name: rename(&change, i.checks, in.Name, id), Spec: in.Spec}
	wrong := input.validate(i.validateSpec)
	if at := slices.IndexFunc(wrong, func(f fault.Field) bool { return f.Path == "spec" }); at >= 0 {
		change.Action, change.Notes = Skipped, []string{"its specification " + wrong[at].Message}
		i.note(change)
		return nil
	}
	if wrong != nil {
		input.Spec.Paused = true
		change.add("it is not valid here and therefore paused")
	}
	for _, f := range wrong {
		path, message := strings.TrimPrefix(f.Path, "spec."), f.Message
		if path == "strategy" || strings.HasSuffix(path, ".collector") { // other values may be secrets
			path = fmt.Sprintf("%s %v", path, f.Value)
			message, _, _ = strings.Cut(message, ";") // which others there are is of no use here
		}
		change.add("%s: %s", path, message)
	}
	c := input.apply(Check{ID: id})
	spec, wrong, err := i.conceal(ctx, id, nothing, c.Spec)
	if err != nil {
		return err
	}
	c.Spec = spec
	for _, f := range wrong {
		c.Spec.Paused = true
		change.add("%s: %s", strings.TrimPrefix(f.Path, "spec."), f.Message)
	}
	change.Name = c.Name
	i.note(change)
	return i.checks.put(c)
}

func (i *importer) assignment(in ImportAssignment, pairs map[pair]bool) error {
	a := Assignment{
		ID: newID(), Labels: map[string]string{}, CheckID: strings.ToLower(in.CheckID), SystemID: systemID(in.SystemID),
		IncludeLocal: in.IncludeLocal, Enabled: in.Enabled,
	}
	checked, ok := i.checks.after[a.CheckID]
	system, known := i.systems.after[a.SystemID]
	change := ImportChange{Kind: DocAssignment, Name: cmp.Or(checked.Name, in.CheckID) + " on " + cmp.Or(system.Name, in.SystemID), Action: Exists}
	if !ok || !known {
		change.Action, change.Notes = Skipped, []string{"its check or its system is not there"}
		i.note(change)
		return nil
	}
	if pairs[a.pair()] {
		i.note(change)
		return nil
	}
	pairs[a.pair()] = true
	change.Action, change.ID = Imported, a.ID
	if wrong := in.Policy.Validate(); wrong != nil {
		change.add("its thresholds are left out, so each result counts: %s %s", wrong[0].Path, wrong[0].Message)
	} else {
		a.Policy = in.Policy
	}
	a.Name = rename(&change, i.assignments, change.Name, a.ID)
	for _, id := range in.SatelliteIDs {
		s, here := i.satellites.after[strings.ToLower(id)]
		if !here {
			change.add("satellite %s does not exist (any more)", id)
			continue
		}
		a.Satellites.Names = append(a.Satellites.Names, s.Name)
	}
	i.choose(&change, &a, system, in)
	a.Satellites = a.Satellites.canonical()
	if n := len(a.Satellites.Names); n > MaxNamed {
		a.Satellites.Names = a.Satellites.Names[:MaxNamed]
		change.add("it names %d satellites, here at most %d: give them a tag and use a selector", n, MaxNamed)
	}
	if !a.IncludeLocal && len(a.Satellites.Names) == 0 && a.Enabled {
		a.Enabled = false
		change.add("no place is left where it would run; it is disabled")
	}
	change.Name = a.Name
	i.note(change)
	return i.assignments.put(a)
}

// choose takes over which environments the assignment runs in. A choice of none
// that are left is one run without, as it is there (spec E.2).
func (i *importer) choose(change *ImportChange, a *Assignment, system System, in ImportAssignment) {
	a.Environments = system.choice(in.EnvironmentIDs)
	if n := len(in.EnvironmentIDs) - len(a.Environments); n > 0 {
		change.add("%d of the environments that it names are none of its system's", n)
	}
	narrowed := map[string][]string{}
	for id, environments := range in.SatelliteEnvironmentIDs {
		if s, here := i.satellites.after[strings.ToLower(id)]; here {
			narrowed[s.Name] = system.choice(environments)
		}
	}
	a.SatelliteEnvironments = narrowings(narrowed)
}

func (c *ImportChange) add(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}

// rename is a name by which the thing may be known here: as it was, if it can be,
// else made legal, with the beginning of its id, or with all of it, when it is
// taken. A change is noted.
func rename[T any](change *ImportChange, t *table[T], name, id string, reserved ...string) string {
	plain := cmp.Or(legal(name), strings.ToLower(change.Kind))
	if isID(plain) {
		plain = strings.ToLower(change.Kind) + " " + plain
	}
	free := func(candidate string) bool {
		_, taken := t.named(candidate)
		return !taken && !slices.Contains(reserved, candidate)
	}
	why := ""
	if !free(plain) {
		why = fmt.Sprintf(", because %q is taken", plain)
		base := shorten(plain, MaxName-len(id)-1)
		if plain = base + "-" + id[:8]; !free(plain) {
			plain = base + "-" + id
		}
	}
	if plain != name {
		change.add("it was %q and is now %q%s", name, plain, why)
	}
	return plain
}

// legal is the text as names and regions may be: printable, without slashes and
// blanks at its ends, of at most MaxName characters.
func legal(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '/':
			return '-'
		case unicode.IsPrint(r):
			return r
		case unicode.IsSpace(r):
			return ' '
		}
		return -1
	}, strings.ToValidUTF8(text, ""))
	return strings.TrimSpace(shorten(strings.TrimSpace(text), MaxName))
}

func shorten(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most])
}

// legalTags leaves out the tags that a satellite may not have here.
func legalTags(change *ImportChange, tags map[string]string) map[string]string {
	kept := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		var wrong problems
		if wrong.labels("", map[string]string{key: tags[key]}); wrong != nil || len(kept) == MaxLabels {
			change.add("its tag %q is left out", key)
			continue
		}
		kept[key] = tags[key]
	}
	return kept
}
