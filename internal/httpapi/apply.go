package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/perigee-monitoring/perigee/internal/diff"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// apply makes the definitions be as the documents say, all in one transaction. All are
// judged before anything is done; the places of errors are those in docs.
func (a *API) apply(ctx context.Context, docs []catalog.Document, dryRun bool) (catalog.Plan, error) {
	var definitions []catalog.Document
	var places []int // in docs, of definitions
	var automations []automation.Wish
	var wrong []fault.Field
	twins := map[string]int{}
	for i, doc := range docs {
		if doc.Kind != catalog.DocAutomation {
			definitions, places = append(definitions, doc), append(places, i)
			continue
		}
		in := automation.Input{Name: doc.Metadata.Name, Labels: doc.Metadata.Labels, Definition: doc.Spec}
		at := fmt.Sprintf("documents[%d]", i)
		if twin, dup := twins[in.Name]; dup {
			wrong = append(wrong, fault.Field{Path: at + ".metadata.name", Message: fmt.Sprintf("documents[%d] is Automation %q already", twin, in.Name)})
		}
		twins[in.Name] = i
		if doc.APIVersion != catalog.APIVersion {
			wrong = append(wrong, fault.Field{Path: at + ".apiVersion", Message: "must be " + catalog.APIVersion})
		}
		next, err := a.Automations.Read(in, "spec")
		if err != nil {
			f, ok := errors.AsType[*fault.Error](err)
			if !ok || f.Kind != fault.Invalid {
				return catalog.Plan{}, err
			}
			for _, field := range f.Fields {
				if field.Path == "name" || strings.HasPrefix(field.Path, "labels") {
					field.Path = "metadata." + field.Path
				}
				field.Path = at + "." + field.Path
				wrong = append(wrong, field)
			}
		}
		automations = append(automations, automation.Wish{Automation: next, Enabled: in.Wanted()})
	}
	var applied []automation.Applied
	plan, err := a.Catalog.Apply(ctx, actor(ctx), definitions, dryRun || len(wrong) > 0, func(tx entity.Tx) (changes []entity.Change, err error) {
		if len(wrong) == 0 {
			applied, changes, err = a.Automations.Apply(ctx, tx, actor(ctx), automations)
		}
		return changes, err
	})
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Kind == fault.Invalid {
		for i := range f.Fields {
			f.Fields[i].Path = elsewhere(f.Fields[i].Path, places)
		}
		f.Fields = append(f.Fields, wrong...)
	}
	if err != nil {
		return catalog.Plan{}, err
	}
	if len(wrong) > 0 {
		err := fault.New(fault.Invalid, "the documents are not valid")
		err.Fields = wrong
		return catalog.Plan{}, err
	}
	for _, one := range applied {
		change, err := changeOf(one)
		if err != nil {
			return catalog.Plan{}, err
		}
		plan.Changes = append(plan.Changes, change)
	}
	return plan, nil
}

// elsewhere turns the place among some of the documents into that among all.
func elsewhere(path string, places []int) string {
	var i int
	if n, err := fmt.Sscanf(path, "documents[%d]", &i); n != 1 || err != nil || i >= len(places) {
		return path
	}
	return fmt.Sprintf("documents[%d]%s", places[i], strings.TrimPrefix(path, fmt.Sprintf("documents[%d]", i)))
}

// changeOf says what became of an automation in the words of documents.
func changeOf(one automation.Applied) (catalog.DocumentChange, error) {
	change := catalog.DocumentChange{Kind: catalog.DocAutomation, Name: one.After.Name, Action: catalog.Created, Diff: []diff.Field{}}
	if one.Before == nil {
		return change, nil
	}
	was, err := automationDocument(*one.Before)
	if err != nil {
		return change, err
	}
	is, err := automationDocument(one.After)
	if err != nil {
		return change, err
	}
	change.Diff = append(change.Diff, catalog.Diff(was, is)...)
	change.Action = catalog.Updated
	if len(change.Diff) == 0 {
		change.Action = catalog.Unchanged
	}
	return change, nil
}

func automationDocument(a automation.Automation) (catalog.Document, error) {
	if !a.Enabled {
		a.Definition.Enabled = &a.Enabled
	}
	spec, err := json.Marshal(a.Definition)
	if err != nil {
		return catalog.Document{}, fmt.Errorf("writing automation %s: %w", a.Name, err)
	}
	return catalog.Document{
		APIVersion: catalog.APIVersion, Kind: catalog.DocAutomation,
		Metadata: catalog.Metadata{Name: a.Name, Labels: a.Labels}, Spec: spec,
	}, nil
}

// export gives all definitions as documents, sorted by kind and name, as they are at one
// moment.
func (a *API) export(ctx context.Context) ([]catalog.Document, error) {
	var automations []automation.Automation
	documents, err := a.Catalog.Export(ctx, func(tx entity.Tx) (err error) {
		automations, err = a.Automations.All(ctx, tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, m := range automations {
		document, err := automationDocument(m)
		if err != nil {
			return nil, err
		}
		documents = append(documents, document)
	}
	slices.SortStableFunc(documents, func(x, y catalog.Document) int { return strings.Compare(x.Kind, y.Kind) })
	return documents, nil
}
