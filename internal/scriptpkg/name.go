package scriptpkg

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// Bounds of what names a package: npm's own for names, ours for versions and paths.
const (
	maxPackageName    = 214
	maxPackageVersion = 256
	maxTreePath       = 4 << 10
)

// They are compiled when they are first needed: every program that starts a script would
// compile them else, and the one between them as well.
var (
	// Old packages have upper case; the characters that npm forbids for new ones, and
	// all that means something to a shell, a path or a URL, are refused.
	packageName = lazily(`^(@[A-Za-z0-9~-][A-Za-z0-9._~-]*/)?[A-Za-z0-9~-][A-Za-z0-9._~-]*$`)
	// A version of semver.org 2.0.0, and nothing beside it.
	exactVersion = lazily(`^(0|[1-9]\d{0,15})\.(0|[1-9]\d{0,15})\.(0|[1-9]\d{0,15})(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)
	blobDigest   = lazily(`^[0-9a-f]{64}$`)
)

func lazily(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// CheckName says what is wrong with the name of a package, such as "left-pad" or
// "@scope/name". Names that pass are safe as parts of a path.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("a package must have a name")
	case len(name) > maxPackageName:
		return fmt.Errorf("a package's name is at most %d characters long", maxPackageName)
	case !packageName().MatchString(name):
		return fmt.Errorf("%q is not the name of an npm package", name)
	}
	switch strings.ToLower(name) {
	case "node_modules", "favicon.ico":
		return fmt.Errorf("%q cannot be the name of a package", name)
	}
	return nil
}

// CheckVersion says what is wrong with an exact version, such as "1.2.3-rc.1".
func CheckVersion(version string) error {
	if len(version) > maxPackageVersion || !exactVersion().MatchString(version) {
		return fmt.Errorf("%q is not an exact version, such as 1.2.3", version)
	}
	return nil
}

// checkTreePath says what is wrong with a place in a tree: "node_modules/<name>",
// once or several times one in the other.
func checkTreePath(path string) error {
	if len(path) > maxTreePath {
		return fmt.Errorf("a path is longer than %d bytes", maxTreePath)
	}
	rest := "/" + path
	for rest != "" {
		inner, ok := strings.CutPrefix(rest, "/node_modules/")
		if !ok {
			return fmt.Errorf("%q is not a place in a tree of packages", path)
		}
		name := inner
		if i := strings.Index(inner, "/node_modules/"); i >= 0 {
			name = inner[:i]
		}
		if err := CheckName(name); err != nil {
			return fmt.Errorf("%q is not a place in a tree of packages: %w", path, err)
		}
		rest = inner[len(name):]
	}
	return nil
}
