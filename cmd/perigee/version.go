package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"text/tabwriter"
)

// version is set by the release build (-ldflags "-X main.version=…").
var version = ""

// versionText is what the release build set, else what Go knows of the build.
func versionText() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "dev+" + s.Value[:12]
		}
	}
	return "dev"
}

// VersionCmd says what this program is. It needs no core, and no token.
type VersionCmd struct{}

// Run prints the version.
func (VersionCmd) Run(g *global, out io.Writer) error {
	v := struct {
		Version  string `json:"version"`
		Go       string `json:"go"`
		Platform string `json:"platform"`
	}{versionText(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	a := &app{out: out, format: g.Output}
	return a.print(v, func(w *tabwriter.Writer) {
		fmt.Fprintf(w, "perigee %s (%s, %s)\n", v.Version, v.Go, v.Platform)
	})
}
