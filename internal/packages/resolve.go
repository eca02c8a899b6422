package packages

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
	"github.com/perigee-monitoring/perigee/protocol"
)

// Bounds of a tree. Who needs more does not want it on a satellite.
const (
	maxPlaces    = 10_000
	maxNesting   = 32 // versions that need each other in turn would nest without end
	maxDocuments = 8  // asked for at once
)

// tree is the packages of an installation where they lie, as npm lays them out: each
// as near to the root as nothing stands in the way, so that every package finds, on
// its way up, a version of each dependency that will do.
type tree struct {
	root     *place
	docs     *documents
	places   int
	warnings []string
}

// place is a package in the tree.
type place struct {
	path     string // such as "node_modules/b/node_modules/a"
	name     string // of the package; the folder's may be an alias
	version  string
	manifest *manifest
	up       *place            // nil for the root
	depth    int               // of places above it
	inner    map[string]*place // what is in its node_modules
	// barred are names for which something in or below this place looks past it: a
	// package of that name put here would stand in its way.
	barred   map[string]bool
	optional bool // nothing breaks without it
}

func newPlace() *place { return &place{inner: map[string]*place{}, barred: map[string]bool{}} }

func (p *place) String() string { return p.name + "@" + p.version }

// find is what a package at p gets when it asks for the name.
func (p *place) find(name string) *place {
	for at := p; at != nil; at = at.up {
		if found := at.inner[name]; found != nil {
			return found
		}
	}
	return nil
}

// bar keeps the way free from p up to, but not at, top.
func (p *place) bar(name string, top *place) {
	for at := p; at != top; at = at.up {
		at.barred[name] = true
	}
}

// resolution is what resolving a list came to.
type resolution struct {
	entries []scriptpkg.Entry
	// tarballs are where the registry says they are, by integrity.
	tarballs map[string]string
	warnings []string
}

// resolve pins the list and everything that it depends on.
func resolve(ctx context.Context, r *registry, list []Package) (resolution, error) {
	ctx, cancel := context.WithCancel(ctx)
	docs := newDocuments(ctx, r)
	defer docs.wait()
	defer cancel()
	t := &tree{root: newPlace(), docs: docs}
	if err := t.grow(list); err != nil {
		return resolution{}, err
	}
	return t.resolution()
}

// grow puts the list at the root, and then what each package needs.
func (t *tree) grow(list []Package) error {
	list = slices.SortedFunc(slices.Values(list), func(a, b Package) int { return strings.Compare(a.Name, b.Name) })
	for _, p := range list {
		t.docs.want(p.Name)
	}
	var queue []*place
	for _, p := range list {
		doc, err := t.docs.get(p.Name)
		if err != nil {
			return err
		}
		m, err := doc.manifest(p.Version)
		if err != nil {
			return err
		}
		if m.Deprecated {
			t.warnings = append(t.warnings, fmt.Sprintf("%s@%s is deprecated", p.Name, p.Version))
		}
		at, err := t.put(t.root, p.Name, p.Name, p.Version, m)
		if err != nil {
			return err
		}
		queue = queued(queue, []*place{at})
	}
	// Peers only now: what the list names is not to be chosen for it.
	for _, p := range slices.Clone(queue) {
		added, err := t.peers(p, nil)
		if err != nil {
			return err
		}
		queue = queued(queue, added)
	}
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		added, err := t.dependencies(p)
		if err != nil {
			return err
		}
		queue = queued(queue, added)
	}
	return nil
}

// queued adds places in npm's order: what is nearer to the root is seen to first.
func queued(queue, added []*place) []*place {
	order := func(a, b *place) int {
		return cmp.Or(cmp.Compare(a.depth, b.depth), strings.Compare(a.path, b.path))
	}
	for _, p := range added {
		at, _ := slices.BinarySearchFunc(queue, p, order)
		queue = slices.Insert(queue, at, p)
	}
	return queue
}

// put makes a place.
func (t *tree) put(up *place, folder, name, version string, m *manifest) (*place, error) {
	if t.places++; t.places > maxPlaces {
		return nil, fault.New(fault.Invalid, "the tree has more than %d packages", maxPlaces)
	}
	if up.depth == maxNesting {
		return nil, fault.New(fault.Invalid, "the tree nests more than %d deep at %s@%s", maxNesting, name, version)
	}
	p := newPlace()
	p.path = path.Join(up.path, "node_modules", folder)
	p.name, p.version, p.manifest, p.up = name, version, m, up
	p.depth = up.depth + 1
	up.inner[folder] = p
	for _, needs := range []ranges{m.Dependencies, m.Optional, m.Peers} {
		for dependency, text := range needs {
			if s, err := parseSpec(dependency, text); err == nil {
				t.docs.want(s.of)
			}
		}
	}
	return p, nil
}

// dependencies sees to everything that the package at p asks for, and returns the
// places that were made for it.
func (t *tree) dependencies(p *place) ([]*place, error) {
	all := maps.Clone(p.manifest.Dependencies)
	if all == nil {
		all = ranges{}
	}
	maps.Copy(all, p.manifest.Optional) // what is in both is optional
	var added []*place
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if p.manifest.brings(name) {
			continue
		}
		_, optional := p.manifest.Optional[name]
		more, err := t.dependency(p, name, all[name], optional)
		switch {
		case err == nil:
			added = append(added, more...)
		case optional && skippable(err):
		case p.optional && skippable(err):
			t.warnings = append(t.warnings, fmt.Sprintf("%s, which is optional, lacks a dependency: %s", p, words(err)))
		default:
			return nil, fmt.Errorf("resolving what %s needs: %w", p, err)
		}
	}
	return added, nil
}

// skippable reports whether an optional dependency is done without for this error: it
// cannot be had, as opposed to not just now.
func skippable(err error) bool { return fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) }

// dependency finds or makes a place for what p asks for. Optional packages that are
// for some platforms only are left out: nobody knows yet on what satellites they
// would come to be.
func (t *tree) dependency(p *place, name, text string, optional bool) ([]*place, error) {
	s, err := parseSpec(name, text)
	if err != nil {
		return nil, err
	}
	doc, err := t.docs.get(s.of)
	if err != nil {
		return nil, err
	}
	if found := p.find(name); found != nil && found.name == s.of && s.takes(doc, found.version) {
		p.bar(name, found.up)
		return nil, nil
	}
	version, m, err := doc.pick(s)
	if err != nil {
		return nil, err
	}
	if optional && m.platform() {
		return nil, nil
	}
	at, ok := t.highest(p, name, m)
	if !ok {
		return nil, fault.New(fault.Invalid, "there is no place for %s beside what is already needed there", s)
	}
	made, err := t.put(at, name, s.of, version, m)
	if err != nil {
		return nil, err
	}
	made.optional = optional || p.optional
	p.bar(name, at)
	peers, err := t.peers(made, p)
	return append([]*place{made}, peers...), err
}

// highest is the place nearest to the root, from p up, in which a package of the name
// stands in nobody's way and finds the peers that it wants.
func (t *tree) highest(p *place, name string, m *manifest) (*place, bool) {
	if !free(p, name) {
		return nil, false
	}
	best, fits := p, t.peersFit(p, m)
	for at := p.up; at != nil && free(at, name); at = at.up {
		// Without a place that fits the nearest to p counts: there it hurts the fewest.
		if f := t.peersFit(at, m); f {
			best, fits = at, true
		} else if fits {
			break
		}
	}
	return best, true
}

func free(at *place, name string) bool { return at.inner[name] == nil && !at.barred[name] }

// peersFit reports whether a package with this manifest, if it were in at, would find
// no peer of a version that will not do.
func (t *tree) peersFit(at *place, m *manifest) bool {
	for name, text := range m.Peers {
		found := at.find(name)
		if found == nil {
			continue
		}
		s, err := parseSpec(name, text)
		if err != nil {
			continue // said when it is seen to
		}
		if doc, err := t.docs.get(s.of); err == nil && !(found.name == s.of && s.takes(doc, found.version)) && !free(at, name) {
			return false
		}
	}
	return true
}

// peers sees to the peers of the package at p, which lie beside it or above, as npm
// does since its version 7: those that are missing are added. by is whose dependency
// p is, nil for one of the list.
func (t *tree) peers(p, by *place) ([]*place, error) {
	var added []*place
	for _, name := range slices.Sorted(maps.Keys(p.manifest.Peers)) {
		_, own := p.manifest.Dependencies[name]
		if own || p.manifest.PeersMeta[name].Optional {
			continue
		}
		more, err := t.peer(p, by, name)
		switch {
		case err == nil:
			added = append(added, more...)
		case by == nil && !skippable(err), !skippable(err):
			return nil, fmt.Errorf("resolving the peers of %s: %w", p, err)
		case by == nil:
			return nil, err
		default:
			t.warnings = append(t.warnings, words(err))
		}
	}
	return added, nil
}

func (t *tree) peer(p, by *place, name string) ([]*place, error) {
	s, err := parseSpec(name, p.manifest.Peers[name])
	if err != nil {
		return nil, err
	}
	doc, err := t.docs.get(s.of)
	if err != nil {
		return nil, err
	}
	found := p.up.find(name)
	if found != nil && found.name == s.of && s.takes(doc, found.version) {
		p.bar(name, found.up)
		return nil, nil
	}
	version, m, err := doc.pick(s, wishes(by, name)...)
	if err != nil {
		return nil, err
	}
	at, ok := t.highest(p.up, name, m)
	if !ok {
		return nil, fault.New(fault.Invalid, "%s wants %s beside it, but %s is there", p, s, there(found))
	}
	made, err := t.put(at, name, s.of, version, m)
	if err != nil {
		return nil, err
	}
	made.optional = p.optional
	p.bar(name, at)
	peers, err := t.peers(made, p)
	return append([]*place{made}, peers...), err
}

func there(found *place) string {
	if found == nil {
		return "another version"
	}
	return found.String()
}

// wishes are what by itself asks of the name, so that one version does for both.
func wishes(by *place, name string) []spec {
	if by == nil {
		return nil
	}
	text, ok := by.manifest.Dependencies[name]
	if !ok {
		text, ok = by.manifest.Peers[name]
	}
	if !ok {
		return nil
	}
	s, err := parseSpec(name, text)
	if err != nil || s.of != name {
		return nil
	}
	return []spec{s}
}

// resolution lists the tree by package and version.
func (t *tree) resolution() (resolution, error) {
	r := resolution{tarballs: map[string]string{}, warnings: t.warnings}
	type key struct{ name, version string }
	paths := map[key][]string{}
	found := map[key]*place{}
	t.walk(t.root, func(p *place) {
		k := key{p.name, p.version}
		paths[k] = append(paths[k], p.path)
		found[k] = p
	})
	for k, p := range found {
		dist := p.manifest.Dist
		e := scriptpkg.Entry{Name: k.name, Version: k.version, Integrity: dist.Integrity, Paths: slices.Sorted(slices.Values(paths[k]))}
		if err := e.Validate(); err != nil {
			return resolution{}, fault.Wrap(fault.Invalid, err, "the tree cannot be laid out")
		}
		if len(e.Paths) > protocol.MaxList {
			return resolution{}, fault.New(fault.Invalid, "%s@%s is needed in more than %d places", k.name, k.version, protocol.MaxList)
		}
		r.entries = append(r.entries, e)
		r.tarballs[e.Integrity] = dist.Tarball
	}
	scriptpkg.SortEntries(r.entries)
	return r, nil
}

func (t *tree) walk(p *place, visit func(*place)) {
	for _, inner := range p.inner {
		visit(inner)
		t.walk(inner, visit)
	}
}

// documents are what the registry says, each asked for once, and before it is needed.
type documents struct {
	ctx      context.Context // of one resolution
	registry *registry
	places   chan struct{} // one for each request
	running  sync.WaitGroup

	mu  sync.Mutex
	all map[string]*asked // guarded by mu
}

type asked struct {
	done chan struct{}
	doc  *document
	err  error
}

func newDocuments(ctx context.Context, r *registry) *documents {
	return &documents{ctx: ctx, registry: r, places: make(chan struct{}, maxDocuments), all: map[string]*asked{}}
}

// want asks for a document that will be needed, or may.
func (d *documents) want(name string) *asked {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a := d.all[name]; a != nil {
		return a
	}
	a := &asked{done: make(chan struct{})}
	d.all[name] = a
	d.running.Go(func() {
		defer close(a.done)
		select {
		case d.places <- struct{}{}:
			defer func() { <-d.places }()
			a.doc, a.err = d.registry.document(d.ctx, name)
		case <-d.ctx.Done():
			a.err = context.Cause(d.ctx)
		}
	})
	return a
}

func (d *documents) get(name string) (*document, error) {
	a := d.want(name)
	<-a.done
	return a.doc, a.err
}

// wait returns when no request is under way; the context must have ended.
func (d *documents) wait() { d.running.Wait() }

// words are an error's for people: what was being done, and the fault without its
// cause.
func words(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Kind != fault.Internal {
		return strings.TrimSuffix(err.Error(), f.Error()) + f.Message
	}
	return "something failed here; the core's log says what"
}
