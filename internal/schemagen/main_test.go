package main

import (
	"io/fs"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEmbeddedSchemasAreWhatTheStructsSay(t *testing.T) {
	t.Parallel()
	files, err := generate("github.com/perigee-monitoring/perigee/internal/schemagen", "../../check")
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]string, len(files))
	for name, text := range files {
		want[name] = string(text)
	}
	got := make(map[string]string)
	folder := os.DirFS("../../check/schema")
	err = fs.WalkDir(folder, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(folder, path)
		got[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("check/schema is stale; run go generate ./check (-want +got):\n%s", diff)
	}
	page, err := os.ReadFile("../../docs/checks.md")
	if err != nil {
		t.Fatal(err)
	}
	whole, err := paged(string(page), files)
	if diff := cmp.Diff(whole, string(page)); err != nil || diff != "" {
		t.Errorf("docs/checks.md is stale; run go generate ./check: %v (-want +got):\n%s", err, diff)
	}
}

func TestWriteLeavesNothingOldBehind(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := write(folder, map[string][]byte{"strategy/gone.json": []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	if err := write(folder, map[string][]byte{"strategy/here.json": []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(folder + "/strategy")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != "here.json" {
		t.Errorf("folder holds %v, want only here.json", entries)
	}
}
