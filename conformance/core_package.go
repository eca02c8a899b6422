package conformance

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// packageCases are what is asked of a core that installs script packages, by who
// administers it. They come last: what they do reaches every satellite of the core.
var packageCases = []coreCase{
	{"L39_hash", "once a package is installed, who authenticates is told the hash of the tree", installed(func(ad *administration, s Satellite, p Package) error {
		a, err := ad.arrive(s, func(hash any) error {
			if hash != p.LockfileHash {
				return fmt.Errorf("authenticated has the lockfile hash %v, want %s", hash, p.LockfileHash)
			}
			return nil
		})
		if err == nil {
			a.hangUp()
		}
		return err
	})},
	{"L41_refresh", "every satellite that is connected is told of another tree", installed(refreshed)},
	{"L42_sync_state", "how far a satellite is is kept as that of who authenticated", enrolled(func(ad *administration, s Satellite) error {
		other, err := ad.Enrol(ad.ctx)
		if err != nil {
			return fmt.Errorf("making another satellite: %w", err)
		}
		a, _, err := ad.connect(s)
		if err != nil {
			return err
		}
		defer a.hangUp()
		said := PackageState{LockfileHash: strings.Repeat("f", 64), Status: "ready"}
		if err := a.send(`{"type":"script_package_sync_state","satelliteId":%q,"lockfileHash":%q,"status":%q}`, other.ID, said.LockfileHash, said.Status); err != nil {
			return err
		}
		if err := ad.until(func() error { return ad.state(s, said) }); err != nil {
			return err
		}
		return ad.state(other, PackageState{})
	})},
	{"L43_manifest", "a manifest has the hash that was asked for, and what the hash is of", installed(func(ad *administration, s Satellite, p Package) error {
		a, _, err := ad.connect(s)
		if err != nil {
			return err
		}
		defer a.hangUp()
		entries, err := a.manifest(p.LockfileHash)
		if err != nil {
			return err
		}
		if _, err := p.among(entries); err != nil {
			return err
		}
		if got := lockfileHash(entries); got != p.LockfileHash {
			return fmt.Errorf("the entries %v hash to %s, and are those of %s", entries, got, p.LockfileHash)
		}
		return nil
	})},
	{"L44_package", "a blob is the package, unpacked, as an original agent puts it into its cache", installed(func(ad *administration, s Satellite, p Package) error {
		a, _, err := ad.connect(s)
		if err != nil {
			return err
		}
		defer a.hangUp()
		entries, err := a.manifest(p.LockfileHash)
		if err != nil {
			return err
		}
		entry, err := p.among(entries)
		if err != nil {
			return err
		}
		if err := a.send(`{"type":"request_script_package_blob","integrity":%q}`, entry.text("integrity")); err != nil {
			return err
		}
		m, err := a.next("script_package_blob")
		if err != nil {
			return err
		}
		if m.text("integrity") != entry.text("integrity") {
			return fmt.Errorf("the integrity is %q, want %q", m.text("integrity"), entry.text("integrity"))
		}
		return p.blob(m.text("data"), entry["blobSha256"])
	})},
	{"L77_removed", "that a package is not installed any more is told, and takes no assignment away", given(removed)},
}

// installed runs a case with a package that is installed, and a satellite of its own.
func installed(run func(*administration, Satellite, Package) error) func(context.Context, Target) error {
	return administered(func(ad *administration) error {
		p, err := ad.install()
		if err != nil {
			return err
		}
		s, err := ad.Enrol(ad.ctx)
		if err != nil {
			return fmt.Errorf("making a satellite: %w", err)
		}
		return run(ad, s, p)
	})
}

func (ad *administration) install() (Package, error) {
	p, err := ad.InstallPackage(ad.ctx)
	if err != nil {
		return p, fmt.Errorf("installing a package: %w", err)
	}
	return p, nil
}

func (ad *administration) uninstall() error {
	if err := ad.RemovePackage(ad.ctx); err != nil {
		return fmt.Errorf("taking a package away: %w", err)
	}
	return nil
}

// arrive connects the satellite, a few times if need be: an installation that is done
// may get around a moment later.
func (ad *administration) arrive(s Satellite, fits func(hash any) error) (*agent, error) {
	const tries = 4
	for try := 1; ; try++ {
		a, welcome, err := ad.connect(s)
		if err != nil {
			return nil, err
		}
		if err = fits(welcome["scriptPackagesLockfileHash"]); err == nil {
			return a, nil
		}
		a.hangUp()
		if try == tries {
			return nil, err
		}
		if err := ad.pause(); err != nil {
			return nil, err
		}
	}
}

// refreshed has the package installed again while two are connected.
func refreshed(ad *administration, s Satellite, before Package) error {
	if err := ad.uninstall(); err != nil {
		return err
	}
	other, err := ad.Enrol(ad.ctx)
	if err != nil {
		return fmt.Errorf("making another satellite: %w", err)
	}
	var agents []*agent
	for _, s := range []Satellite{s, other} {
		a, err := ad.arrive(s, func(hash any) error {
			if hash == before.LockfileHash {
				return errors.New("authenticated still has the lockfile hash of what was taken away")
			}
			return nil
		})
		if err != nil {
			return err
		}
		defer a.hangUp()
		agents = append(agents, a)
	}
	p, err := ad.install()
	if err != nil {
		return err
	}
	for _, a := range agents {
		var last message // others may come before
		for last.text("lockfileHash") != p.LockfileHash {
			m, err := a.next("refresh_script_packages")
			if err != nil {
				return fmt.Errorf("%w; the last hash before was %q, want %q", err, last.text("lockfileHash"), p.LockfileHash)
			}
			last = m
		}
	}
	return nil
}

// removed has the package taken away while one is connected. What is left may be null,
// which only config_updated can say, or a tree: an original core makes one of nothing.
func removed(ad *administration, _ Satellite, as Assigned, a *agent) error {
	p, err := ad.install()
	if err != nil {
		return err
	}
	if err := ad.pause(); err != nil { // a push of what was installed just now may be on its way
		return err
	}
	if err := ad.uninstall(); err != nil {
		return err
	}
	for {
		m, err := a.next("refresh_script_packages", "config_updated")
		if err != nil {
			return err
		}
		hash, said := m["lockfileHash"], true
		if m.kind() == "config_updated" {
			if err := only(m, as); err != nil {
				return err
			}
			hash, said = m["scriptPackagesLockfileHash"]
		}
		text, isText := hash.(string)
		switch {
		case !said || text == p.LockfileHash:
			continue
		case !isText && (hash != nil || m.kind() != "config_updated"):
			return fmt.Errorf("%s has the lockfile hash %v", m.kind(), hash)
		case !isText:
			return nil
		}
		entries, err := a.manifest(text)
		if err != nil {
			return err
		}
		if _, err := p.among(entries); err == nil {
			return fmt.Errorf("%s is still in the tree", p)
		}
		return nil
	}
}

// state expects that the core keeps that of the satellite's packages.
func (ad *administration) state(s Satellite, want PackageState) error {
	got, err := ad.PackageState(ad.ctx, s.ID)
	if err != nil {
		return fmt.Errorf("asking how far a satellite is: %w", err)
	}
	if got != want {
		return fmt.Errorf("of a satellite's packages the core has %+v, want %+v", got, want)
	}
	return nil
}

// The forms of G.2.
var (
	integrityForm = regexp.MustCompile(`^sha(1|256|384|512)-[A-Za-z0-9+/]+={0,2}$`)
	sha256Form    = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// manifest asks for that of a tree.
func (a *agent) manifest(hash string) ([]message, error) {
	if err := a.send(`{"type":"request_script_package_manifest","lockfileHash":%q}`, hash); err != nil {
		return nil, err
	}
	m, err := a.next("script_package_manifest")
	if err != nil {
		return nil, err
	}
	list, isList := m["entries"].([]any)
	if m.text("lockfileHash") != hash || !isList {
		return nil, fmt.Errorf("got %v, want the hash %s and a list of entries", m, hash)
	}
	entries := make([]message, len(list))
	for i, item := range list {
		entry, _ := item.(map[string]any)
		e := message(entry)
		if e.text("name") == "" || e.text("version") == "" || !integrityForm.MatchString(e.text("integrity")) {
			return nil, fmt.Errorf("got the entry %v, want a name, a version and an integrity as sha512-…", item)
		}
		if sum, said := e["blobSha256"]; said && !sha256Form.MatchString(e.text("blobSha256")) {
			return nil, fmt.Errorf("the blobSha256 %v is not 64 digits of lower-case hex", sum)
		}
		entries[i] = e
	}
	return entries, nil
}

func (p Package) String() string { return p.Name + "@" + p.Version }

// among finds the package's entry.
func (p Package) among(entries []message) (message, error) {
	i := slices.IndexFunc(entries, func(e message) bool { return e.text("name") == p.Name && e.text("version") == p.Version })
	if i < 0 {
		return nil, fmt.Errorf("%s is not among the entries %v", p, entries)
	}
	return entries[i], nil
}

// lockfileHash is what G.2 makes of the entries.
func lockfileHash(entries []message) string {
	sorted := slices.SortedStableFunc(slices.Values(entries), func(a, b message) int {
		return cmp.Or(cmp.Compare(a.text("name"), b.text("name")), cmp.Compare(a.text("version"), b.text("version")))
	})
	sum := sha256.New()
	for _, e := range sorted {
		fmt.Fprintf(sum, "%s\x00%s\x00%s\n", e.text("name"), e.text("version"), e.text("integrity"))
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// blob expects the form of N.2, and the digest if one was announced.
func (p Package) blob(data string, digest any) error {
	zipped, err := base64.StdEncoding.DecodeString(data)
	if err != nil || data == "" {
		return fmt.Errorf("data is not base64: %.40q", data)
	}
	if sum := sha256.Sum256(zipped); digest != nil && digest != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("the blob's sha256 is %x, the manifest says %v", sum, digest)
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		return fmt.Errorf("the blob is not compressed with gzip: %w", err)
	}
	says, err := p.unpacked(unzipped)
	if err != nil {
		return err
	}
	var m message
	if err := json.Unmarshal(says, &m); err != nil || m.text("name") != p.Name || m.text("version") != p.Version {
		return fmt.Errorf("the archive's package.json is not that of %s: %.200q", p, says)
	}
	return nil
}

// cached is what is below the directory that the original's package manager looks for in
// its cache. A scope is not part of that in the original, which is M83.
func (p Package) cached() *regexp.Regexp {
	scope, bare := "", p.Name
	if i := strings.IndexByte(p.Name, '/'); i >= 0 {
		scope, bare = p.Name[:i+1], p.Name[i+1:]
	}
	return regexp.MustCompile(`^((?:` + regexp.QuoteMeta(scope) + `)?` + regexp.QuoteMeta(bare+"@"+p.Version) + `@@@[0-9]+)/(.*)$`)
}

// unpacked reads the archive to its end, and returns the package.json.
func (p Package) unpacked(unzipped io.Reader) (says []byte, err error) {
	form, directories := p.cached(), map[string]bool{}
	archive := tar.NewReader(unzipped)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("the blob is not an archive: %w", err)
		}
		parts := form.FindStringSubmatch(header.Name)
		switch {
		case header.Typeflag != tar.TypeReg && header.Typeflag != tar.TypeDir:
			return nil, fmt.Errorf("%s in the archive is neither a file nor a directory", header.Name)
		case header.Typeflag == tar.TypeDir && !strings.HasSuffix(header.Name, "/"):
			parts = form.FindStringSubmatch(header.Name + "/")
		}
		if parts == nil || !fs.ValidPath(strings.TrimSuffix(header.Name, "/")) {
			return nil, fmt.Errorf("%s in the archive is not below %s@@@1/", header.Name, p)
		}
		directories[parts[1]] = true
		if parts[2] == "package.json" {
			if says, err = io.ReadAll(archive); err != nil {
				return nil, fmt.Errorf("reading package.json: %w", err)
			}
		}
	}
	if len(directories) != 1 {
		return nil, fmt.Errorf("the archive has %d directories at its top, want one", len(directories))
	}
	return says, nil
}
