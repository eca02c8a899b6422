package packages

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
)

// Bounds of what is told of one package's types. A package is told whole or not at all:
// with half of its declarations an editor would find mistakes where there are none.
const (
	maxTypeFiles    = 4000
	maxTypeBytes    = 8 << 20
	maxTypePackages = 200
	// maxTypeReaders is how many are answered at once: each unpacks packages in memory.
	maxTypeReaders = 2
)

// Types is what an editor has to know of an installed package to know its types.
type Types struct {
	LockfileHash string `json:"lockfileHash" doc:"The tree that they are of."`
	Name         string `json:"name"`
	Version      string `json:"version"`
	// From is where its declarations come from.
	From    string        `json:"from" doc:"The package that declares its types: itself, one of @types, or empty where nobody does."`
	Files   []TypesFile   `json:"files" doc:"Declarations of the package and of those that they import, by path."`
	LeftOut []LeftOutType `json:"leftOut" doc:"Packages whose declarations are needed too and are not here."`
}

// TypesFile is a declaration file, or what resolving needs of a package.json.
type TypesFile struct {
	Path string `json:"path" doc:"In the tree, such as node_modules/zod/index.d.ts."`
	Text string `json:"text"`
}

// LeftOutType is a package that is not told.
type LeftOutType struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Types tells the declarations of a package that scripts may import from the tree which
// satellites should have, with those of the installed packages that these import. NotFound
// is a package that scripts would not find there.
func (s *Service) Types(ctx context.Context, name string) (Types, error) {
	if err := scriptpkg.CheckName(name); err != nil {
		return Types{}, fault.Wrap(fault.Invalid, err, "this is not the name of a package")
	}
	select {
	case s.typing <- struct{}{}:
		defer func() { <-s.typing }()
	case <-ctx.Done():
		return Types{}, context.Cause(ctx)
	}
	hash, err := s.LockfileHash(ctx)
	if err != nil {
		return Types{}, err
	}
	if hash == nil {
		return Types{}, fault.New(fault.NotFound, "no packages are installed")
	}
	tree, err := s.store.Lockfile(ctx, *hash)
	if err != nil {
		return Types{}, fmt.Errorf("reading the tree that is installed: %w", err)
	}
	c := typeCollector{service: s, at: map[string]scriptpkg.Entry{}, seen: map[string]bool{}}
	for _, e := range tree.Entries {
		for _, place := range e.Paths {
			c.at[place] = e
		}
	}
	root, ok := c.at["node_modules/"+name]
	if !ok {
		return Types{}, fault.New(fault.NotFound, "the package %s is not installed", name)
	}
	c.types = Types{LockfileHash: *hash, Name: name, Version: root.Version, Files: []TypesFile{}, LeftOut: []LeftOutType{}}
	if err := c.collect(ctx, name); err != nil {
		return Types{}, err
	}
	return c.types, nil
}

// typeCollector follows declarations from package to package.
type typeCollector struct {
	service *Service
	at      map[string]scriptpkg.Entry // by place in the tree
	seen    map[string]bool            // places that were looked at, or wait to be
	waiting []string
	read    int // packages
	types   Types
	bytes   int64
}

func (c *typeCollector) collect(ctx context.Context, name string) error {
	c.ask("", name)
	for len(c.waiting) > 0 {
		place := c.waiting[0]
		c.waiting = c.waiting[1:]
		if err := c.one(ctx, place); err != nil {
			return err
		}
	}
	slices.SortFunc(c.types.Files, func(a, b TypesFile) int { return strings.Compare(a.Path, b.Path) })
	return nil
}

// ask puts what a package at a place gets by a name on the list, and what declares its
// types for it: TypeScript looks for both. The empty place is the script's.
func (c *typeCollector) ask(from, name string) {
	for _, wanted := range []string{name, typesName(name)} {
		place, ok := c.resolve(from, wanted)
		if ok && !c.seen[place] {
			c.seen[place] = true
			c.waiting = append(c.waiting, place)
		}
	}
}

// resolve is Node's algorithm.
func (c *typeCollector) resolve(from, name string) (string, bool) {
	for dir := from; ; dir = path.Dir(dir) {
		if path.Base(dir) != "node_modules" {
			place := path.Join(dir, "node_modules", name)
			if _, ok := c.at[place]; ok {
				return place, true
			}
		}
		if dir == "." || dir == "" {
			return "", false
		}
	}
}

// typesName is the package that declares the types of one that does not itself.
func typesName(name string) string {
	if scope, bare, ok := strings.Cut(strings.TrimPrefix(name, "@"), "/"); ok {
		return "@types/" + scope + "__" + bare
	}
	return "@types/" + name
}

func (c *typeCollector) one(ctx context.Context, place string) error {
	e := c.at[place]
	if c.read++; c.read > maxTypePackages {
		c.leaveOut(e, fmt.Sprintf("more than %d packages are needed", maxTypePackages))
		return nil
	}
	blob, err := c.service.blobs.get(ctx, e.Integrity)
	if err != nil {
		return fmt.Errorf("reading the package %s@%s: %w", e.Name, e.Version, err)
	}
	files, size, tooMuch, err := declarations(e, blob.data, maxTypeFiles-len(c.types.Files), maxTypeBytes-c.bytes)
	if err != nil {
		return fmt.Errorf("reading the package %s@%s: %w", e.Name, e.Version, err)
	}
	if tooMuch {
		c.leaveOut(e, fmt.Sprintf("with its declarations there would be more than %d files or %d MiB", maxTypeFiles, maxTypeBytes>>20))
		return nil
	}
	c.bytes += size
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text := files[name]
		if path.Base(name) == "package.json" {
			text = resolving(text)
		} else {
			c.declares(place)
			for _, needed := range importedBy(text) {
				c.ask(place, needed)
			}
		}
		c.types.Files = append(c.types.Files, TypesFile{Path: path.Join(place, name), Text: string(bytes.ToValidUTF8(text, []byte(string(utf8.RuneError))))})
	}
	return nil
}

// declares notes whose declarations those of the package that was asked for are.
func (c *typeCollector) declares(place string) {
	own := "node_modules/" + c.types.Name
	if place == own || (place == "node_modules/"+typesName(c.types.Name) && c.types.From == "") {
		c.types.From = strings.TrimPrefix(place, "node_modules/")
	}
}

func (c *typeCollector) leaveOut(e scriptpkg.Entry, reason string) {
	c.types.LeftOut = append(c.types.LeftOut, LeftOutType{Name: e.Name + "@" + e.Version, Reason: reason})
}

// declarations are a package's declaration files with the package.json of its folders, if
// they are at most as many and as large as that.
func declarations(e scriptpkg.Entry, blob []byte, maxFiles int, maxBytes int64) (files map[string][]byte, size int64, tooMuch bool, err error) {
	files = map[string][]byte{}
	wanted := func(name string, n int64) bool {
		if !isDeclaration(name) || strings.Contains("/"+name, "/node_modules/") || tooMuch {
			return false
		}
		size += n
		tooMuch = size > maxBytes || len(files) >= maxFiles
		return !tooMuch
	}
	err = scriptpkg.Read(e.Name, e.Version, bytes.NewReader(blob), wanted, func(name string, data []byte) { files[name] = data })
	return files, size, tooMuch, err
}

var declarationFile = regexp.MustCompile(`(^|/)package\.json$|\.d\.[cm]?ts$`)

func isDeclaration(name string) bool { return declarationFile.MatchString(name) }

// resolving is what finding a module needs of a package.json; the rest is nobody's business.
func resolving(text []byte) []byte {
	var all map[string]json.RawMessage
	if json.Unmarshal(text, &all) != nil {
		return []byte("{}")
	}
	maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool {
		return !slices.Contains([]string{"name", "version", "type", "types", "typings", "typesVersions", "main", "module", "exports", "imports"}, name)
	})
	kept, err := json.Marshal(all)
	var short bytes.Buffer
	if err != nil || json.Compact(&short, kept) != nil {
		return []byte("{}")
	}
	return short.Bytes()
}

// imported are the names in imports, and in references to types. What only looks like one,
// in a comment, costs a package more.
var imported = regexp.MustCompile(`(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*|<reference\s+types\s*=\s*)["']([^"'\n]+)["']`)

// importedBy are the packages that a declaration file imports, by name.
func importedBy(text []byte) []string {
	found := map[string]bool{}
	for _, m := range imported.FindAllSubmatch(text, -1) {
		parts := strings.SplitN(string(m[1]), "/", 3)
		name := parts[0]
		if strings.HasPrefix(name, "@") && len(parts) > 1 {
			name += "/" + parts[1]
		}
		if scriptpkg.CheckName(name) == nil {
			found[name] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}
