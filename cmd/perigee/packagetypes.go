package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"text/tabwriter"

	"github.com/perigee-monitoring/perigee/internal/packages"
)

// PackageTypesCmd shows who declares the types of installed packages, or writes them down.
type PackageTypesCmd struct {
	Names []string `arg:"" name:"name" help:"Names of packages, such as zod."`
	Into  string   `placeholder:"DIR" help:"Write the declarations into node_modules in this directory, and nothing else: where your editor looks for them."`
}

// Run shows them. Nothing is written when one of them cannot be had.
func (c *PackageTypesCmd) Run(ctx context.Context, a *app) error {
	all := make([]packages.Types, len(c.Names))
	for i, name := range c.Names {
		if err := a.client.Get(ctx, "/packages/types", url.Values{"name": {name}}, &all[i]); err != nil {
			return err
		}
	}
	if c.Into != "" {
		if err := writeTypes(c.Into, all); err != nil {
			return err
		}
	}
	return a.print(list[packages.Types]{all}, func(w *tabwriter.Writer) {
		row(w, "PACKAGE", "TYPES FROM", "FILES", "LEFT OUT")
		for _, t := range all {
			row(w, t.Name+"@"+t.Version, dash(t.From), fmt.Sprint(len(t.Files)), dash(leftOut(t.LeftOut)))
		}
		if c.Into != "" {
			fmt.Fprintf(w, "They are in %s.\n", path.Join(c.Into, modules))
		}
	})
}

func leftOut(all []packages.LeftOutType) string {
	text := ""
	for i, one := range all {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s (%s)", one.Name, one.Reason)
	}
	return text
}

const (
	modules = "node_modules"
	// ours says that a directory was made here, and may be made anew.
	ours = modules + "/.perigee-types"
)

// writeTypes makes a node_modules of the declarations alone. Where they go the core says,
// and they go nowhere else than below it.
func writeTypes(dir string, all []packages.Types) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // like other sources
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if _, err := root.Lstat(modules); err == nil {
		if _, err := root.Lstat(ours); err != nil {
			return &failure{
				code: exitFailed, err: fmt.Errorf("the node_modules in %s is none that perigee package types has made", dir),
				hint: "name another directory with --into, or take that one away",
			}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := root.RemoveAll(modules); err != nil {
		return err
	}
	write := func(name, text string) error {
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		return root.WriteFile(name, []byte(text), 0o644)
	}
	if err := write(ours, ""); err != nil {
		return err
	}
	for _, t := range all {
		for _, f := range t.Files {
			if path.Clean(f.Path) != f.Path || !isBelow(f.Path, modules) {
				return fmt.Errorf("the core names a file %q, which lies in no package", f.Path)
			}
			if err := write(f.Path, f.Text); err != nil {
				return err
			}
		}
	}
	return nil
}

func isBelow(name, dir string) bool { return len(name) > len(dir) && name[:len(dir)+1] == dir+"/" }
