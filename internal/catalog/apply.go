package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/internal/diff"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/strictjson"
)

// maxProblems is how many wrong places of all documents are told at most.
const maxProblems = 100

// Action is what Apply does with a document.
type Action string

const (
	Created   Action = "created"
	Updated   Action = "updated"
	Unchanged Action = "unchanged"
)

// Plan is what Apply did, or would do, in the order of the documents.
type Plan struct {
	Changes []DocumentChange `json:"changes"`
}

// DocumentChange is what becomes of one document. Diff is of an update; a created
// definition is as the document says.
type DocumentChange struct {
	Kind   string       `json:"kind"`
	Name   string       `json:"name"`
	Action Action       `json:"action"`
	Diff   []diff.Field `json:"diff"`
}

// item is a document on its way into an edit: decoded by kind (only its kind's
// field is set), with what is wrong with it as far as that needs no store.
type item struct {
	Document
	path       string // "documents[2]"
	wrong      problems
	system     SystemInput
	check      CheckInput
	assignment AssignmentInput
	upkeep     MaintenanceInput
	satellite  fleet.Satellite
}

// Apply makes the definitions be as the documents say, all of them in one
// transaction or none: what a document names is created or, when its kind and name
// exist, adopted and updated. Definitions without a document are left alone. The
// order of documents does not matter, and applying the same documents again
// changes nothing. With dryRun everything is done and then undone.
//
// Fault: Invalid with every wrong place of all documents
// ("documents[2].spec.collectors[0].config.url").
//
// also are changes to what is somebody else's, in the same transaction.
func (c *Catalog) Apply(ctx context.Context, actor entity.Actor, docs []Document, dryRun bool, also ...Also) (Plan, error) {
	if len(docs) > MaxDocuments {
		return Plan{}, fault.New(fault.Invalid, "at most %d documents at once; these are %d", MaxDocuments, len(docs))
	}
	items := read(docs, c.validateSpec)
	var plan Plan
	err := c.change(ctx, actor, dryRun, func(e *edit) error {
		var err error
		plan, err = e.apply(ctx, items)
		return err
	}, also...)
	if err != nil {
		return Plan{}, err
	}
	return plan, nil
}

// Also writes what is somebody else's in the transaction of an edit, and gives the changes
// to record with it. It may be called again, when a transaction is.
type Also func(entity.Tx) ([]entity.Change, error)

// Validate judges documents as Apply does, as far as that needs no store: what
// they refer to is not looked up. Fault: as that of Apply.
func Validate(docs []Document, validateSpec ValidateSpec) error {
	var all problems
	for _, it := range read(docs, validateSpec) {
		all = append(all, it.placed(it.wrong)...)
	}
	return all.fault("the documents are not valid")
}

// read decodes and validates the documents as far as that needs no store.
func read(docs []Document, validateSpec ValidateSpec) []item {
	items := make([]item, len(docs))
	first := map[string]int{}
	for i, doc := range docs {
		it := item{Document: doc, path: fmt.Sprintf("documents[%d]", i)}
		it.decode(validateSpec)
		key := doc.Kind + "\x00" + doc.Metadata.Name
		if twin, dup := first[key]; dup {
			it.wrong.add("metadata.name", doc.Metadata.Name, "documents[%d] is %s %q already", twin, doc.Kind, doc.Metadata.Name)
		} else {
			first[key] = i
		}
		items[i] = it
	}
	return items
}

// decode fills in the field of the document's kind and judges the document.
func (it *item) decode(validateSpec ValidateSpec) {
	name, labels := it.Metadata.Name, it.Metadata.Labels
	unread := slices.Clone(it.Document.wrong)
	var wrong problems
	switch it.Kind {
	case DocSystem:
		var spec SystemSpec
		unread = append(unread, strictjson.Decode(it.spec(), &spec, "spec")...)
		it.system = SystemInput{Name: name, Labels: labels, Description: spec.Description, Fields: spec.Fields, DependsOn: spec.DependsOn}
		for _, env := range spec.Environments {
			it.system.Environments = append(it.system.Environments, EnvironmentInput{Name: env.Name, Fields: env.Fields})
		}
		wrong = it.system.validate()
	case DocCheck:
		var spec check.Spec
		unread = append(unread, strictjson.Decode(it.spec(), &spec, "spec")...)
		it.check = CheckInput{Name: name, Labels: labels, Spec: spec}
		wrong = it.check.validate(validateSpec)
	case DocAssignment:
		var spec AssignmentSpec
		unread = append(unread, strictjson.Decode(it.spec(), &spec, "spec")...)
		it.assignment = AssignmentInput{
			Name: name, Labels: labels, Check: spec.Check, System: spec.System,
			IncludeLocal: spec.IncludeLocal, Enabled: spec.Enabled, Satellites: spec.Satellites, Policy: spec.Policy,
			Environments: spec.Environments, SatelliteEnvironments: spec.SatelliteEnvironments,
		}
		wrong = it.assignment.validate()
	case DocMaintenance:
		var spec MaintenanceSpec
		unread = append(unread, strictjson.Decode(it.spec(), &spec, "spec")...)
		it.upkeep = MaintenanceInput{
			Name: name, Labels: labels, Description: spec.Description, Mode: spec.Mode, Systems: spec.Systems, Checks: spec.Checks,
			Start: spec.Start, End: spec.End, Schedule: spec.Schedule,
		}
		wrong = it.upkeep.validate()
	case DocSatellite:
		var spec SatelliteSpec
		unread = append(unread, strictjson.Decode(it.spec(), &spec, "spec")...)
		it.satellite = satelliteOf(it.Metadata, spec)
		wrong = validateSatellite(it.satellite)
	}
	for i := range wrong {
		wrong[i].Path = documentPath(it.Kind, wrong[i].Path)
	}
	if kinds := []string{DocAssignment, DocCheck, DocMaintenance, DocSatellite, DocSystem}; !slices.Contains(kinds, it.Kind) {
		wrong.add("kind", it.Kind, "must be one of %s", strings.Join(kinds, ", "))
	}
	if it.APIVersion != APIVersion {
		wrong.add("apiVersion", it.APIVersion, "must be %s", APIVersion)
	}
	// What could not be read was left empty: that it is empty is no news.
	wrong = slices.DeleteFunc(wrong, func(f fault.Field) bool {
		return slices.ContainsFunc(unread, func(u fault.Field) bool { return within(f.Path, u.Path) })
	})
	it.wrong = append(unread, wrong...)
}

// within reports whether a path is at or below another.
func within(path, above string) bool {
	rest, ok := strings.CutPrefix(path, above)
	return ok && (above == "" || rest == "" || rest[0] == '.' || rest[0] == '[')
}

// placed gives problems of all documents with paths from outside of them.
func placed(items []item, wrong []problems) (all problems) {
	for i := range items {
		all = append(all, items[i].placed(wrong[i])...)
	}
	return all
}

// placed gives problems of the document with paths from outside of it.
func (it *item) placed(wrong problems) problems {
	wrong = slices.Clone(wrong)
	for i := range wrong {
		wrong[i].Path = strictjson.Join(it.path, wrong[i].Path)
	}
	return wrong
}

func (it *item) spec() []byte {
	if len(it.Spec) == 0 {
		return []byte("{}")
	}
	return it.Spec
}

// documentPath is where an input's field stands in a document.
func documentPath(kind, path string) string {
	switch {
	case path == "name", path == "labels", strings.HasPrefix(path, "labels."):
		return "metadata." + path
	case kind == DocCheck: // its path begins with spec already
		return path
	default:
		return strictjson.Join("spec", path)
	}
}

func satelliteOf(m Metadata, spec SatelliteSpec) fleet.Satellite {
	s := fleet.Satellite{Name: m.Name, Region: spec.Region, Tags: labels(m.Labels), Weight: spec.Weight}
	if spec.OfflineThreshold != nil {
		ms := time.Duration(*spec.OfflineThreshold).Milliseconds()
		s.OfflineThresholdMs = &ms
	}
	return s
}

// validateSatellite is fleet's judgement in the words of a document.
func validateSatellite(s fleet.Satellite) problems {
	var p problems
	if s.Name == LocalSatellite {
		p.add("name", s.Name, "is the core's built-in satellite, which is not defined by documents")
	}
	var judged []fault.Field
	if f, ok := errors.AsType[*fault.Error](fleet.Validate(s)); ok {
		judged = f.Fields
	}
	for _, f := range judged {
		switch {
		case f.Path == "offlineThresholdMs":
			f.Path = "offlineThreshold"
			f.Message = fmt.Sprintf("must be from %s to %s", check.Duration(fleet.MinThreshold), check.Duration(fleet.MaxThreshold))
			f.Value = nil
		case strings.HasPrefix(f.Path, "tags"):
			f.Path = "labels" + strings.TrimPrefix(f.Path, "tags")
		}
		p = append(p, f)
	}
	return p
}

// apply puts all documents into the edit: first what assignments and maintenances
// refer to, then those. Documents that are wrong go in too, so that what refers to
// them is not called wrong as well; the edit is then dropped.
func (e *edit) apply(ctx context.Context, items []item) (Plan, error) {
	plan := Plan{Changes: make([]DocumentChange, len(items))}
	wrong := make([]problems, len(items))
	e.announce(items)
	found := 0
	for _, referring := range []bool{false, true} {
		for i, it := range items {
			if (it.Kind == DocAssignment || it.Kind == DocMaintenance) != referring || found > maxProblems {
				continue
			}
			change, dangling, err := e.applyOne(ctx, it)
			if err != nil {
				return Plan{}, err
			}
			plan.Changes[i], wrong[i] = change, slices.Concat(it.wrong, dangling)
			found += len(wrong[i])
		}
	}
	if found > maxProblems {
		return plan, placed(items, wrong)[:maxProblems].fault("nothing was applied, more than %d problems were found, of which these are the first", maxProblems)
	}
	naming := e.naming()
	for i, it := range items {
		if c, ok := e.checks.named(it.Metadata.Name); ok && it.Kind == DocCheck {
			outgrown, err := e.outgrown(ctx, naming[c.ID], e.checks.before[c.ID].Spec, c)
			if err != nil {
				return Plan{}, err
			}
			wrong[i] = append(wrong[i], outgrown...)
		}
	}
	e.sharedPairs(items, wrong)
	e.circles(items, wrong)
	all := placed(items, wrong)
	if len(all) == 1 {
		return plan, all.fault("nothing was applied, 1 problem was found")
	}
	return plan, all.fault("nothing was applied, %d problems were found", len(all))
}

// applyOne puts one document into the edit and says what it refers to in vain. A
// check's credentials are concealed first, so that no plan shows one.
func (e *edit) applyOne(ctx context.Context, it item) (change DocumentChange, dangling problems, err error) {
	switch name := it.Metadata.Name; it.Kind {
	case DocSystem:
		before, had := e.systems.named(name)
		var after System
		after, dangling = e.depend(it.system.apply(before), it.system.DependsOn)
		for i := range dangling {
			dangling[i].Path = documentPath(it.Kind, dangling[i].Path)
		}
		after.ID = cmp.Or(before.ID, e.coming[name], newID())
		change, err = adopt(e.systems, it, had, before, after, systemDocument)
	case DocCheck:
		before, had := e.checks.named(name)
		after := it.check.apply(before)
		after.ID = cmp.Or(before.ID, newID())
		if it.wrong == nil {
			if after.Spec, dangling, err = e.conceal(ctx, after.ID, before.Spec, after.Spec); err != nil {
				return change, nil, err
			}
		}
		change, err = adopt(e.checks, it, had, before, after, func(c Check) Document { return checkDocument(e.hidden(c)) })
	case DocAssignment:
		before, had := e.assignments.named(name)
		var after Assignment
		if after, dangling, err = it.assignment.resolve(ctx, e, before); err != nil {
			return change, nil, err
		}
		for i := range dangling {
			dangling[i].Path = documentPath(it.Kind, dangling[i].Path)
		}
		after.ID = cmp.Or(before.ID, newID())
		change, err = adopt(e.assignments, it, had, before, after, e.assignmentDocument)
	case DocMaintenance:
		before, had := e.maintenances.named(name)
		var after Maintenance
		after, dangling = it.upkeep.resolve(e, before)
		for i := range dangling {
			dangling[i].Path = documentPath(it.Kind, dangling[i].Path)
		}
		after.ID = cmp.Or(before.ID, newID())
		change, err = adopt(e.maintenances, it, had, before, after, maintenanceDocument)
	case DocSatellite:
		if err = e.loadSatellites(ctx); err != nil {
			return change, nil, err
		}
		before, had := e.satellites.named(name)
		after := before
		after.Name, after.Region, after.Tags, after.OfflineThresholdMs, after.Weight = name, it.satellite.Region, it.satellite.Tags, it.satellite.OfflineThresholdMs, it.satellite.Weight
		after.ID = cmp.Or(before.ID, newID())
		change, err = adopt(e.satellites, it, had, before, after, satelliteDocument)
	}
	return change, dangling, err
}

// adopt puts the row that a document makes in place of the row of its name.
func adopt[T any](t *table[T], it item, had bool, before, after T, render func(T) Document) (DocumentChange, error) {
	change := DocumentChange{Kind: it.Kind, Name: it.Metadata.Name, Action: Created, Diff: []diff.Field{}}
	if had {
		change.Action = Updated
		if change.Diff = Diff(render(before), render(after)); len(change.Diff) == 0 {
			change.Action = Unchanged
			return change, nil
		}
	}
	return change, t.put(after)
}

// announce notes the ids of systems that the documents are going to make, so that
// others may depend on them whatever the order.
func (e *edit) announce(items []item) {
	e.coming = map[string]string{}
	for _, it := range items {
		if _, had := e.systems.named(it.Metadata.Name); it.Kind == DocSystem && !had {
			e.coming[it.Metadata.Name] = newID()
		}
	}
}

// circles finds documents by which systems depend on themselves in the end.
func (e *edit) circles(items []item, wrong []problems) {
	of := map[string]int{} // items by the systems that they make
	var made []string
	for i, it := range items {
		if s, ok := e.systems.named(it.Metadata.Name); ok && it.Kind == DocSystem {
			of[s.ID] = i
			made = append(made, s.ID)
		}
	}
	for _, circle := range e.circlesFrom(made...) {
		at := slices.IndexFunc(circle, func(id string) bool { _, is := of[id]; return is }) // there is one: without the documents it is none
		wrong[of[circle[at]]].add("spec.dependsOn", nil, "would be a circle: %s", e.around(slices.Concat(circle[at:], circle[:at])))
	}
}

// sharedPairs finds documents whose check and system another assignment joins.
func (e *edit) sharedPairs(items []item, wrong []problems) {
	holders := map[pair][]string{}
	for _, a := range e.assignments.after {
		holders[a.pair()] = append(holders[a.pair()], a.Name)
	}
	for i, it := range items {
		a, ok := e.assignments.named(it.Metadata.Name)
		if it.Kind != DocAssignment || !ok || a.CheckID == "" || a.SystemID == "" {
			continue
		}
		others := slices.DeleteFunc(slices.Clone(holders[a.pair()]), func(name string) bool { return name == a.Name })
		if len(others) > 0 {
			wrong[i].add("spec", nil, "check %q and system %q are joined by assignment %q already", it.assignment.Check, it.assignment.System, slices.Min(others))
		}
	}
}

// Export gives every definition and satellite as documents, sorted by kind and
// name; applied again they change nothing. The built-in satellite is left out.
//
// All are of one moment. also reads what is kept elsewhere in the same transaction, in
// which no definition changes; it may be called several times.
func (c *Catalog) Export(ctx context.Context, also ...func(entity.Tx) error) ([]Document, error) {
	docs := []Document{}
	err := entity.InTx(ctx, c.recorder, func(tx Tx) error {
		e, err := c.begin(ctx, tx)
		if err != nil {
			return err
		}
		if err := e.loadSatellites(ctx); err != nil {
			return err
		}
		docs = docs[:0]
		docs = appendDocuments(docs, e.assignments, e.assignmentDocument)
		docs = appendDocuments(docs, e.checks, checkDocument)
		docs = appendDocuments(docs, e.maintenances, maintenanceDocument)
		for _, doc := range appendDocuments(nil, e.satellites, satelliteDocument) {
			if doc.Metadata.Name != LocalSatellite {
				docs = append(docs, doc)
			}
		}
		docs = appendDocuments(docs, e.systems, systemDocument)
		for _, read := range also {
			if err := read(tx); err != nil {
				return err
			}
		}
		return nil
	})
	return docs, err
}

func appendDocuments[T any](docs []Document, t *table[T], render func(T) Document) []Document {
	for _, name := range t.names() {
		docs = append(docs, render(t.after[t.ids[name]]))
	}
	return docs
}
