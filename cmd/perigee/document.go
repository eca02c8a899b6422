package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/checkschema"
	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/manifest"
)

// stdin is how -f names the standard input, and stdinName how mistakes in it do.
const (
	stdin     = "-"
	stdinName = "<stdin>"
)

// readDocuments reads the documents of files, directories and standard input.
func (a *app) readDocuments(paths ...string) ([]manifest.Doc, error) {
	return eachPath(paths, func(path string) ([]manifest.Doc, error) {
		if path == stdin {
			return manifest.Parse(stdinName, a.in)
		}
		return manifest.Load(path)
	})
}

// readSpecs is readDocuments, and files may also hold specs of checks with nothing
// around them.
func (a *app) readSpecs(paths ...string) ([]manifest.Doc, error) {
	return eachPath(paths, func(path string) ([]manifest.Doc, error) {
		if path == stdin {
			return manifest.ParseAs(catalog.DocCheck, stdinName, a.in)
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return manifest.Load(path)
		}
		return manifest.ParseAs(catalog.DocCheck, path, f)
	})
}

// eachPath reads all paths and gathers the mistakes of all.
func eachPath(paths []string, read func(path string) ([]manifest.Doc, error)) (docs []manifest.Doc, err error) {
	var mistakes manifest.Errors
	for _, path := range paths {
		found, err := read(path)
		if wrong, ok := manifest.AsErrors(err); ok {
			mistakes = append(mistakes, wrong...)
		} else if err != nil {
			return nil, err
		}
		docs = append(docs, found...)
	}
	switch {
	case len(mistakes) > 0:
		return nil, mistakes
	case len(docs) == 0:
		return nil, fmt.Errorf("there are no documents in %s", strings.Join(paths, ", "))
	}
	return docs, nil
}

// validate judges documents as far as that needs no core.
func validate(docs []manifest.Doc) error {
	named := manifest.Documents(docs)
	for i := range named {
		if named[i].Metadata.Name == "" { // a spec alone
			named[i].Metadata.Name = fmt.Sprintf("spec %d", i+1)
		}
	}
	return inFiles(catalog.Validate(named, checkschema.ValidateSpec), docs)
}

// inFiles makes what a core found wrong with documents mistakes in the files that
// they come from, from top to bottom. An error about anything else stays as it is.
func inFiles(err error, docs []manifest.Doc) error {
	files := map[string]int{} // in the order in which they were read
	for i, doc := range slices.Backward(docs) {
		files[doc.File] = i
	}
	err = placed(err, func(f fault.Field) (*manifest.Error, bool) { return manifest.At(docs, f.Path, f.Message) })
	if mistakes, ok := manifest.AsErrors(err); ok {
		slices.SortStableFunc(mistakes, func(a, b *manifest.Error) int {
			return cmp.Or(files[a.File]-files[b.File], a.Line-b.Line, a.Column-b.Column)
		})
	}
	return err
}

// inSpec is inFiles for a request whose member spec is from a file.
func inSpec(err error, doc manifest.Doc) error {
	return placed(err, func(f fault.Field) (*manifest.Error, bool) {
		return doc.Fault(f.Path, f.Message), f.Path == "spec" || strings.HasPrefix(f.Path, "spec.")
	})
}

// placed makes the places that an error names mistakes, if it can of all.
func placed(err error, find func(fault.Field) (*manifest.Error, bool)) error {
	var mistakes manifest.Errors
	for _, field := range wrongPlaces(err) {
		mistake, ok := find(field)
		if !ok {
			return err
		}
		mistakes = append(mistakes, mistake)
	}
	if len(mistakes) == 0 {
		return err
	}
	return mistakes
}

// wrongPlaces are the places that a core names, elsewhere or in this process.
func wrongPlaces(err error) []fault.Field {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Fields
	}
	p, ok := errors.AsType[*client.Problem](err)
	if !ok {
		return nil
	}
	var fields []fault.Field
	for _, e := range p.Errors {
		fields = append(fields, fault.Field{Path: e.Location, Message: e.Message})
	}
	return fields
}

// readInput reads a file, or the standard input, of at most so many bytes. What it is
// stands in messages.
func (a *app) readInput(file, what string, limit int64) ([]byte, error) {
	in := a.in
	if file != stdin {
		f, err := os.Open(file)
		if err != nil {
			return nil, usage("", "%w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, limit))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", what, err)
	}
	return text, nil
}
