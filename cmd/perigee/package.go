package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/internal/packages"
)

// PackageCmd is what can be done with the packages that scripts may import.
type PackageCmd struct {
	Add     PackageAddCmd     `cmd:"" help:"Put packages on the list, each with its exact version."`
	Remove  PackageRemoveCmd  `cmd:"" help:"Take a package off the list."`
	Enable  PackageEnableCmd  `cmd:"" help:"Take a package into the next installation again."`
	Disable PackageDisableCmd `cmd:"" help:"Leave a package out of the next installation."`
	List    PackageListCmd    `cmd:"" help:"List the packages."`
	Install PackageInstallCmd `cmd:"" help:"Resolve, fetch and verify what the list says; satellites then converge to it."`
	Status  PackageStatusCmd  `cmd:"" help:"Show how the installation is, and how far each satellite is."`
	History PackageHistoryCmd `cmd:"" help:"List the trees that were installed, newest first."`
	Types   PackageTypesCmd   `cmd:"" help:"Show who declares the types of installed packages, or write them down for your editor."`
	Collect PackageCollectCmd `cmd:"" help:"Delete what no tree needs any more."`
}

// PackageAddCmd puts packages on the list.
type PackageAddCmd struct {
	Packages []string `arg:"" name:"package" placeholder:"NAME@VERSION" help:"Such as zod@4.2.1 or @scope/name@1.0.0."`
}

// Run puts them; none when one of them is mistyped.
func (c *PackageAddCmd) Run(ctx context.Context, a *app) error {
	wanted := make([]httpapi.NewPackage, len(c.Packages))
	for i, text := range c.Packages {
		at := strings.LastIndexByte(text, '@')
		if at <= 0 || at == len(text)-1 {
			return usage("perigee package add "+strings.TrimSuffix(text, "@")+"@1.2.3", "%s has no version", text)
		}
		wanted[i] = httpapi.NewPackage{Name: text[:at], Version: text[at+1:]}
	}
	var added []packages.Package
	for _, w := range wanted {
		var p packages.Package
		if err := a.client.Post(ctx, "/packages", w, &p); err != nil {
			return errors.Join(err, a.printAdded(added))
		}
		added = append(added, p)
	}
	return a.printAdded(added)
}

func (a *app) printAdded(added []packages.Package) error {
	if len(added) == 0 {
		return nil
	}
	return a.print(list[packages.Package]{added}, func(w *tabwriter.Writer) {
		for _, p := range added {
			fmt.Fprintf(w, "%s@%s is on the list.\n", p.Name, p.Version)
		}
		fmt.Fprintln(w, "Satellites get it with: perigee package install --wait")
	})
}

// PackageRemoveCmd takes a package off the list.
type PackageRemoveCmd struct {
	Name string `arg:"" help:"Its name."`
}

// Run takes it off.
func (c *PackageRemoveCmd) Run(ctx context.Context, a *app) error {
	return a.client.Delete(ctx, "/packages?"+url.Values{"name": {c.Name}}.Encode(), nil)
}

// PackageEnableCmd takes a package in again.
type PackageEnableCmd struct {
	Name string `arg:"" help:"Its name."`
}

// Run does.
func (c *PackageEnableCmd) Run(ctx context.Context, a *app) error {
	return a.enablePackage(ctx, c.Name, true)
}

// PackageDisableCmd leaves a package out.
type PackageDisableCmd struct {
	Name string `arg:"" help:"Its name."`
}

// Run does.
func (c *PackageDisableCmd) Run(ctx context.Context, a *app) error {
	return a.enablePackage(ctx, c.Name, false)
}

func (a *app) enablePackage(ctx context.Context, name string, enabled bool) error {
	var p packages.Package
	if err := a.client.Put(ctx, "/packages/enabled", httpapi.PackageSwitch{Name: name, Enabled: enabled}, &p); err != nil {
		return err
	}
	return a.print(p, func(w *tabwriter.Writer) {
		fmt.Fprintf(w, "%s@%s is %s the next installation.\n", p.Name, p.Version, map[bool]string{true: "part of", false: "left out of"}[enabled])
	})
}

// PackageListCmd lists packages.
type PackageListCmd struct{}

// Run lists them.
func (c *PackageListCmd) Run(ctx context.Context, a *app) error {
	all, err := fetch[packages.Package](ctx, a, "/packages", nil, 0)
	if err != nil {
		return err
	}
	return a.print(list[packages.Package]{all}, func(w *tabwriter.Writer) {
		row(w, "NAME", "VERSION", "ENABLED", "ADDED", "BY")
		for _, p := range all {
			row(w, p.Name, p.Version, yesNo(p.Enabled), a.ago(p.AddedAt), dash(p.AddedBy))
		}
	})
}

// PackageInstallCmd installs.
type PackageInstallCmd struct {
	Wait bool `help:"Wait until it is done, and tell how it goes."`
}

// Run installs.
func (c *PackageInstallCmd) Run(ctx context.Context, a *app) error {
	var state packages.State
	if err := a.client.Post(ctx, "/packages/install", nil, &state); err != nil {
		return err
	}
	for c.Wait && state.Status == packages.Installing {
		if a.interactive {
			fmt.Fprintf(a.errw, "\r%-60s", progressOf(&state))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
		if err := a.client.Get(ctx, "/packages/install", nil, &state); err != nil {
			return err
		}
	}
	if a.interactive && c.Wait {
		fmt.Fprintf(a.errw, "\r%-60s\r", "")
	}
	if err := a.print(state, func(w *tabwriter.Writer) { a.installation(w, &state) }); err != nil {
		return err
	}
	if c.Wait && state.Status == packages.Failed {
		return &failure{code: exitFailed, err: fmt.Errorf("the installation failed: %s", state.ErrorMessage)}
	}
	return nil
}

func progressOf(s *packages.State) string {
	if s.Total == 0 {
		return "resolving the tree …"
	}
	return fmt.Sprintf("%d of %d packages", s.Done, s.Total)
}

func (a *app) installation(w *tabwriter.Writer, s *packages.State) {
	row(w, "Installation", string(s.Status))
	if s.Status == packages.Installing {
		row(w, "Progress", progressOf(s))
	}
	row(w, "Tree", dash(value(s.LockfileHash)))
	row(w, "Packages", fmt.Sprintf("%d, %.1f MiB", s.Packages, float64(s.TotalSizeBytes)/(1<<20)))
	row(w, "Installed", a.ago(value(s.LastInstalledAt)))
	row(w, "Registry", s.Registry)
	if s.ErrorMessage != "" {
		row(w, "Error", s.ErrorMessage)
	}
	for _, warning := range s.Warnings {
		row(w, "Warning", warning)
	}
	if s.Outdated {
		row(w, "", "the list has changed since: perigee package install")
	}
}

// packageStatus is the installation and how far the satellites are.
type packageStatus struct {
	Installation packages.State            `json:"installation"`
	Satellites   []packages.SatelliteState `json:"satellites"`
}

// PackageStatusCmd shows how things are.
type PackageStatusCmd struct{}

// Run shows it.
func (c *PackageStatusCmd) Run(ctx context.Context, a *app) error {
	var s packageStatus
	if err := a.client.Get(ctx, "/packages/install", nil, &s.Installation); err != nil {
		return err
	}
	var err error
	if s.Satellites, err = fetch[packages.SatelliteState](ctx, a, "/packages/satellites", nil, 0); err != nil {
		return err
	}
	return a.print(s, func(w *tabwriter.Writer) {
		a.installation(w, &s.Installation)
		_ = w.Flush()
		fmt.Fprintln(w)
		row(w, "SATELLITE", "STATUS", "TREE", "SAID", "ERROR")
		for _, at := range s.Satellites {
			tree := value(at.LockfileHash)
			if len(tree) > 12 {
				tree = tree[:12]
			}
			row(w, at.Name, cmp.Or(string(at.Status), "pending"), dash(tree), a.ago(value(at.SyncedAt)), dash(at.ErrorMessage))
		}
	})
}

// PackageHistoryCmd lists what was installed when.
type PackageHistoryCmd struct{}

// Run lists it. What differs from the tree before is shown, and all of it with -o json.
func (c *PackageHistoryCmd) Run(ctx context.Context, a *app) error {
	var page httpapi.List[packages.Tree]
	if err := a.client.Get(ctx, "/packages/history", nil, &page); err != nil {
		return err
	}
	trees := page.Items
	return a.print(list[packages.Tree]{trees}, func(w *tabwriter.Writer) {
		row(w, "INSTALLED", "TREE", "WANTED", "PACKAGES", "CHANGED")
		for i, t := range trees {
			var before []packages.TreePackage
			if i+1 < len(trees) {
				before = trees[i+1].Packages
			}
			wanted := ""
			if t.Wanted {
				wanted = "yes"
			}
			row(w, instant(t.InstalledAt), t.LockfileHash[:min(12, len(t.LockfileHash))], dash(wanted), strconv.Itoa(len(t.Packages)), dash(treeChange(before, t.Packages)))
		}
	})
}

// treeChange names what one tree has and the other has not.
func treeChange(before, after []packages.TreePackage) string {
	var changes []string
	for _, p := range after {
		if !slices.Contains(before, p) {
			changes = append(changes, "+"+p.Name+"@"+p.Version)
		}
	}
	for _, p := range before {
		if !slices.Contains(after, p) {
			changes = append(changes, "-"+p.Name+"@"+p.Version)
		}
	}
	const most = 6
	if more := len(changes) - most; more > 0 {
		changes = append(changes[:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(changes, " ")
}

// PackageCollectCmd deletes what nobody needs.
type PackageCollectCmd struct {
	DryRun bool `help:"Say what would be deleted, and delete nothing."`
}

// Run deletes it.
func (c *PackageCollectCmd) Run(ctx context.Context, a *app) error {
	if c.DryRun {
		var would packages.Unneeded
		if err := a.client.Get(ctx, "/packages/collect", nil, &would); err != nil {
			return err
		}
		return a.print(would, func(w *tabwriter.Writer) {
			fmt.Fprintf(w, "%d blobs (%.1f MiB) would be deleted.\n", would.Blobs, float64(would.Bytes)/(1<<20))
			for _, p := range would.Packages {
				fmt.Fprintln(w, p)
			}
		})
	}
	var done packages.Collected
	if err := a.client.Post(ctx, "/packages/collect", nil, &done); err != nil {
		return err
	}
	return a.print(done, func(w *tabwriter.Writer) {
		fmt.Fprintf(w, "%d blobs (%.1f MiB) deleted, %d could not be.\n", done.Deleted, float64(done.Bytes)/(1<<20), done.Failed)
	})
}
