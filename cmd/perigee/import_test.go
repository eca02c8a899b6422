package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/perigee-monitoring/perigee/internal/pgtest"
)

func TestImportCheckstackIsADryRunUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	text, err := os.ReadFile(filepath.Join("..", "..", "internal", "checkstack", "testdata", "original.sql"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), string(text)); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	answer := map[string]string{"POST /import": `{"changes":[
		{"kind":"Satellite","id":"1","name":"edge","action":"imported","notes":[]},
		{"kind":"Check","id":"2","name":"front-2","action":"imported","notes":["it was \"front\" and is now \"front-2\", because \"front\" is taken"]},
		{"kind":"System","id":"3","name":"Shop","action":"exists","notes":[]},
		{"kind":"Assignment","id":"","name":"a on b","action":"skipped","notes":["its check or its system is not there"]}]}`}
	for _, tc := range []struct {
		yes        bool
		sent, said string
	}{
		{false, `"dryRun":true`, "This was a dry run: nothing was changed. Add --yes to import.\n"},
		{true, `"tokenHash":"HASH"`, "set them here\n"},
	} {
		a, core, out := setup(t, "table", answer)
		if err := (&ImportCheckstackCmd{From: url, Yes: tc.yes}).Run(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if sent, _ := core.received("POST /import"); !strings.Contains(sent, tc.sent) || tc.yes == strings.Contains(sent, `"dryRun":true`) {
			t.Errorf("yes %v: sent %s", tc.yes, sent)
		}
		begins := `+ imported Satellite edge
+ imported Check front-2
    it was "front" and is now "front-2", because "front" is taken
- skipped Assignment a on b
    its check or its system is not there
= here already 1
! Satellite  a/b : its tags are not names and texts; they are left out
`
		if !strings.HasPrefix(out.String(), begins) || !strings.HasSuffix(out.String(), tc.said) {
			t.Errorf("yes %v: said\n%s", tc.yes, out.String())
		}
	}
}
