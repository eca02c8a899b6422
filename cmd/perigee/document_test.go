package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/manifest"
)

func parsed(t *testing.T, name, text string) []manifest.Doc {
	t.Helper()
	docs, err := manifest.ParseAs("Check", name, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

// What a core elsewhere and one in this process find is shown alike: file by file
// in the order of reading, and in each from top to bottom.
func TestMistakesAreShownInTheirFiles(t *testing.T) {
	t.Parallel()
	docs := append(parsed(t, "z.yaml", "interval: 1s\nstrategy: x\n"), parsed(t, "a.yaml", "interval: 2s\n")...)
	const want = "z.yaml:1:1: spec.interval: is too short\nz.yaml:2:1: spec.strategy: is not known\na.yaml:1:1: spec.config: is missing"
	for name, err := range map[string]error{
		"problem": &client.Problem{Status: 422, Errors: []client.ProblemField{
			{Location: "documents[1].spec.config", Message: "is missing"},
			{Location: "documents[0].spec.strategy", Message: "is not known"},
			{Location: "documents[0].spec.interval", Message: "is too short"},
		}},
		"fault": fmt.Errorf("applying: %w", &fault.Error{Kind: fault.Invalid, Fields: []fault.Field{
			{Path: "documents[0].spec.strategy", Message: "is not known"},
			{Path: "documents[0].spec.interval", Message: "is too short"},
			{Path: "documents[1].spec.config", Message: "is missing"},
		}}),
	} {
		got := inFiles(err, docs)
		if got.Error() != want {
			t.Errorf("%s:\n%v\nwant:\n%s", name, got, want)
		}
	}
}

// An error about anything but the files is not bent into one about them.
func TestOtherErrorsStayAsTheyAre(t *testing.T) {
	t.Parallel()
	doc := parsed(t, "a.yaml", "interval: 2s\n")[0]
	for _, err := range []error{
		errors.New("no core answers"),
		&client.Problem{Status: 409, Detail: "there is a check of this name"},
		&client.Problem{Status: 422, Errors: []client.ProblemField{{Location: "spec.interval", Message: "is wrong"}, {Location: "name", Message: "is empty"}}},
	} {
		if got := inSpec(err, doc); got != err {
			t.Errorf("%v became %v", err, got)
		}
		if got := inFiles(err, []manifest.Doc{doc}); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
	wrong := &client.Problem{Status: 422, Errors: []client.ProblemField{{Location: "spec.interval", Message: "is wrong"}}}
	if got, want := inSpec(wrong, doc).Error(), "a.yaml:1:1: spec.interval: is wrong"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
