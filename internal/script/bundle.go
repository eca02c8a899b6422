package script

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// entry is the module that is built: it hands over what the script exports.
const entry = `import * as script from "perigee:script"; globalThis.__perigee.exported(script);`

// bundle puts a script and what it imports together, as one module of the engine's
// language. It reads files below root and no others.
func bundle(t buildTask) built {
	result := esbuild(t, t.Source+"\nexport {};") // a module, whatever it looks like
	if returnsAtTop(result.Errors) {
		result = esbuild(t, asFunction(t.Source))
	}
	if len(result.Errors) > 0 {
		return built{Problem: problem(result.Errors[0], t)}
	}
	b := built{Hosted: t.Runtime != ""}
	for _, f := range result.OutputFiles {
		if strings.HasSuffix(f.Path, ".map") {
			b.Map = string(f.Contents)
		} else {
			b.Code = string(f.Contents)
		}
	}
	if len(b.Code) > maxBundle {
		return built{Problem: &Error{Message: fmt.Sprintf("with what it imports the script is %d bytes, more than %d", len(b.Code), maxBundle)}}
	}
	return b
}

func esbuild(t buildTask, source string) api.BuildResult {
	options := api.BuildOptions{
		Stdin:  &api.StdinOptions{Contents: entry, Loader: api.LoaderJS, Sourcefile: "perigee:entry"},
		Bundle: true, Write: false, Outfile: "script.js",
		Format: api.FormatESModule, Target: api.ES2023, Platform: api.PlatformNeutral,
		MainFields: []string{"module", "main"}, Conditions: []string{"import", "module", "default"},
		Sourcemap: api.SourceMapExternal, SourcesContent: api.SourcesContentExclude,
		TsconfigRaw: `{}`, LogLevel: api.LogLevelSilent, KeepNames: true,
		Plugins: []api.Plugin{{Name: "perigee", Setup: func(b api.PluginBuild) { within(b, t, source) }}},
	}
	if t.Runtime != "" {
		options.Platform, options.Conditions = api.PlatformNode, append(options.Conditions, "node", t.Runtime)
		options.Banner = map[string]string{"js": requireOf}
	}
	return api.Build(options)
}

// requireOf is for packages that ask for parts of the runtime as they are loaded.
const requireOf = `import { createRequire as __perigeeRequire } from "node:module"; const require = __perigeeRequire(import.meta.url);`

// within lets the build read what lies below the root, and nothing else: to a bundler any
// path is a module.
func within(b api.PluginBuild, t buildTask, source string) {
	b.OnResolve(api.OnResolveOptions{Filter: `^perigee:script$`}, func(api.OnResolveArgs) (api.OnResolveResult, error) {
		return api.OnResolveResult{Path: t.Name, Namespace: "script"}, nil
	})
	b.OnLoad(api.OnLoadOptions{Filter: `.*`, Namespace: "script"}, func(api.OnLoadArgs) (api.OnLoadResult, error) {
		return api.OnLoadResult{Contents: &source, Loader: loader(t.Name), ResolveDir: t.Root}, nil
	})
	b.OnResolve(api.OnResolveOptions{Filter: `^(https?:|data:|//)`}, func(a api.OnResolveArgs) (api.OnResolveResult, error) {
		return api.OnResolveResult{}, fmt.Errorf("%s: code is imported from packages, not from addresses", a.Path)
	})
	b.OnResolve(api.OnResolveOptions{Filter: `^(node:|bun:|bun$)`}, func(a api.OnResolveArgs) (api.OnResolveResult, error) {
		if own, _, _ := strings.Cut(a.Path, ":"); t.Runtime == own || t.Runtime == Bun {
			return api.OnResolveResult{Path: a.Path, External: true}, nil
		}
		if strings.HasPrefix(a.Path, "bun") {
			return api.OnResolveResult{}, fmt.Errorf("%s is a part of Bun, and this script runs without it; set runtime to bun where Bun is installed", a.Path)
		}
		return api.OnResolveResult{}, fmt.Errorf("%s is a part of Node, and this script runs without it; set runtime to node where Node is installed", a.Path)
	})
	b.OnLoad(api.OnLoadOptions{Filter: `.*`, Namespace: "file"}, func(a api.OnLoadArgs) (api.OnLoadResult, error) {
		if t.Root == "" || !below(t.Root, a.Path) {
			return api.OnLoadResult{}, fmt.Errorf("%s lies outside of the packages", filepath.Base(a.Path))
		}
		return api.OnLoadResult{}, nil // as esbuild reads it
	})
}

// below reports whether the path, with its links followed, lies in the root.
func below(root, path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return false
	}
	inside, err := filepath.Rel(root, real)
	return err == nil && filepath.IsLocal(inside)
}

func loader(name string) api.Loader {
	switch filepath.Ext(name) {
	case ".js", ".mjs":
		return api.LoaderJS
	case ".tsx":
		return api.LoaderTSX
	}
	return api.LoaderTS
}

func returnsAtTop(errors []api.Message) bool {
	for _, e := range errors {
		if strings.Contains(e.Text, "Top-level return cannot be used") {
			return true
		}
	}
	return false
}

// imports are import declarations at the beginning of a line, or behind one.
var imports = regexp.MustCompile(`(?m)(?:^|;)[ \t]*import\s(?:[^;"'` + "`" + `]*?\sfrom\s*)?["'][^"'\n]+["']`)

// asFunction makes a script that only returns the body of a function (spec G.7). Every
// line stays the line that it is.
func asFunction(source string) string {
	var first strings.Builder
	body := imports.ReplaceAllStringFunc(source, func(declaration string) string {
		first.WriteString(strings.ReplaceAll(strings.TrimLeft(declaration, "; \t"), "\n", " ") + "; ")
		return strings.Repeat("\n", strings.Count(declaration, "\n"))
	})
	return first.String() + "export default async function () { " + body + "\n}"
}

func problem(m api.Message, t buildTask) *Error {
	e := &Error{Message: m.Text}
	if m.PluginName != "" && len(m.Notes) == 0 {
		e.Message = strings.TrimPrefix(e.Message, "[plugin perigee] ")
	}
	if strings.HasPrefix(m.Text, "Could not resolve ") && !strings.Contains(m.Text, `"./`) && !strings.Contains(m.Text, `"../`) {
		name := strings.Trim(strings.TrimPrefix(m.Text, "Could not resolve "), `"`)
		e.Message = fmt.Sprintf("there is no package %s on this satellite (perigee package add %s)", name, name)
	}
	if l := m.Location; l != nil {
		name := strings.TrimPrefix(l.File, "script:")
		if rel, err := filepath.Rel(t.Root, name); err == nil && t.Root != "" && filepath.IsLocal(rel) {
			name = rel
		}
		e.At = fmt.Sprintf("%s:%d:%d", name, l.Line, l.Column+1)
	}
	return e
}

// treeOf is the directory that the packages of a root really lie in; "" where it has none.
func treeOf(root string) string {
	if root == "" {
		return ""
	}
	modules, err := filepath.EvalSymlinks(filepath.Join(root, "node_modules"))
	if err != nil {
		return ""
	}
	return filepath.Dir(modules)
}
