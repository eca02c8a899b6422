package manifest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/manifest"
)

// tree writes files into a directory of the test's own.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func system(name string) string {
	return "apiVersion: perigee/v1\nkind: System\nmetadata: {name: " + name + "}\n"
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{
		"b.yaml": system("b1") + "---\n" + system("b2"), "a/z.yml": system("z"), "a/c.yaml": system("c"),
		"notes.txt": "no document", ".git/x.yaml": "no: document", ".hidden.yaml": "no: document", "empty.yaml": "# nothing\n",
	})
	single := filepath.Join(tree(t, map[string]string{"one.conf": system("one")}), "one.conf")
	docs, err := manifest.Load(dir, single)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range docs {
		got = append(got, d.Metadata.Name+" "+filepath.Base(d.File))
	}
	want := []string{"c c.yaml", "z z.yml", "b1 b.yaml", "b2 b.yaml", "one one.conf"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
}

func TestLoadTellsTheMistakesOfAllFiles(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"a.yaml": system("a") + "specs: {}\n", "b.yaml": system("7"), "c.yaml": system("c")})
	_, err := manifest.Load(dir)
	want := dir + "/a.yaml:4:1: specs: is not known here; there are apiVersion, kind, metadata, spec\n" +
		dir + "/b.yaml:3:12: metadata.name: must be text; put it in quotes"
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestLoadOfNothing(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"notes.txt": ""})
	for path, want := range map[string]string{
		dir:              dir + " holds no .yaml or .yml file",
		dir + "/no.yaml": "reading " + dir + "/no.yaml: no such file or directory",
	} {
		if _, err := manifest.Load(path); fmt.Sprint(err) != want {
			t.Errorf("Load(%s) = %v, want %s", path, err, want)
		}
	}
}

func TestAt(t *testing.T) {
	t.Parallel()
	docs := parseFile(t, "testdata/shop.yaml")
	tests := []struct{ location, message, want string }{
		{"documents[1].spec.collectors[0].config.url", "is not a URL", "testdata/shop.yaml:17:16: spec.collectors[0].config.url: is not a URL"},
		{"documents[2]", "is too much", "testdata/shop.yaml:22:1: is too much"},
		{
			"documents[2].metadata.name", `documents[0] is System "shop" already`,
			`testdata/shop.yaml:24:12: metadata.name: testdata/shop.yaml:2:1 is System "shop" already`,
		},
		{"documents[3].spec", "is beyond", ""},
		{"documents[99999999999999999999]", "is far beyond", ""},
		{"dryRun", "is no document", ""},
		{"x.documents[0]", "is inside of something", ""},
	}
	for _, tt := range tests {
		mistake, ok := manifest.At(docs, tt.location, tt.message)
		if ok != (tt.want != "") || ok && mistake.Error() != tt.want {
			t.Errorf("At(%q) = %v, %t, want %s", tt.location, mistake, ok, tt.want)
		}
	}
}

func TestParseAs(t *testing.T) {
	t.Parallel()
	docs, err := manifest.ParseAs("Check", "f.yaml", strings.NewReader(
		"# alone\nstrategy: healthcheck-ping.ping\ninterval: 10s\n---\n"+system("shop")+"---\n{interval: 1s}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range docs {
		got = append(got, fmt.Sprintf("%s %q %s", d.Kind, d.Metadata.Name, d.Spec))
	}
	want := []string{`Check "" {"strategy":"healthcheck-ping.ping","interval":"10s"}`, `System "shop" {}`, `Check "" {"interval":"1s"}`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
	for path, want := range map[string]string{"spec.interval": "3:1", "spec.collectors": "2:1", "metadata.name": "2:1"} {
		if line, column := docs[0].Locate(path); fmt.Sprintf("%d:%d", line, column) != want {
			t.Errorf("Locate(%q) = %d:%d, want %s", path, line, column, want)
		}
	}
}

func TestParseAsMistakes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"- a\n":                          "f.yaml:1:1: a document is a mapping with apiVersion, kind, metadata and spec",
		"a: 1\na: 2\n":                   "f.yaml:2:1: spec.a: is given twice, first in line 1",
		"kind: Check\n":                  "f.yaml:1:1: apiVersion: is missing; it is perigee/v1\nf.yaml:1:1: metadata: is missing; a document needs metadata: {name: …}",
		"apiVersion: perigee/v1\na: {\n": "f.yaml:3:1: did not find expected node content",
	} {
		if _, err := manifest.ParseAs("Check", "f.yaml", strings.NewReader(text)); fmt.Sprint(err) != want {
			t.Errorf("%q: error %v, want %s", text, err, want)
		}
	}
}
