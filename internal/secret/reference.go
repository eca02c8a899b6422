package secret

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// reference is how a definition names a secret (spec H.1).
var reference = regexp.MustCompile(`\$\{\{\s*secrets\.([A-Za-z][A-Za-z0-9_-]{0,62})\s*\}\}`)

// envName is the name of an environment variable (spec H.1).
var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// Marker begins what stands for a credential of the check itself.
const Marker = check.SecretMarker

// markerOf is the marker of a value, by its version.
func markerOf(version int64) string { return Marker + "v" + strconv.FormatInt(version, 10) }

// versionOf is the version that a marker tells; 0 for none.
func versionOf(marker string) int64 {
	version, _ := strconv.ParseInt(strings.TrimPrefix(marker, Marker+"v"), 10, 64)
	return version
}

// ownName is the name under which a credential of a check is kept: by check, scope
// ("strategy" or "collector:ENTRY") and path. No name of a person's has a colon.
func ownName(checkID, scope, path string) string { return ownPrefix(checkID) + scope + ":" + path }

func ownPrefix(checkID string) string { return "check:" + checkID + ":" }

// internal reports whether the name is the core's own.
func internal(name string) bool { return strings.ContainsRune(name, ':') }

// secretEnvKey is the member of a collector's config that maps variables to secrets.
const secretEnvKey = "secretEnv"

// Declares reports whether anything in the assignment refers to a secret. It is
// quick and may say yes where a closer look finds nothing.
func Declares(a *protocol.Assignment) bool {
	if declares(a.Config) {
		return true
	}
	return slices.ContainsFunc(a.Collectors, func(c protocol.Collector) bool { return declares(c.Config) })
}

func declares(config []byte) bool {
	// What is written with escapes may be any of them.
	return bytes.Contains(config, []byte(`\u`)) || bytes.Contains(config, []byte("secrets.")) || bytes.Contains(config, []byte(Marker)) || bytes.Contains(config, []byte(`"`+secretEnvKey+`"`))
}

// text is a string of a config that holds secrets: a template, and what stands in it.
type text struct {
	template string
	names    []string
	own      string // the name of the credential that a marker stands for
}

// fill is the text with the values in place.
func (t text) fill(values map[string]string) string {
	if t.own != "" {
		return values[t.own]
	}
	return reference.ReplaceAllStringFunc(t.template, func(match string) string {
		return values[reference.FindStringSubmatch(match)[1]]
	})
}

func parse(s string) (text, bool) {
	var names []string
	for _, match := range reference.FindAllStringSubmatch(s, -1) {
		names = append(names, match[1])
	}
	return text{template: s, names: names}, names != nil
}

// secretEnv is what a collector declares; false when it is missing, empty or wrong.
func secretEnv(config []byte) (map[string]text, bool) {
	var members map[string]json.RawMessage
	var declared map[string]string
	if json.Unmarshal(config, &members) != nil || json.Unmarshal(members[secretEnvKey], &declared) != nil || len(declared) == 0 {
		return nil, false
	}
	env := make(map[string]text, len(declared))
	for variable, value := range declared {
		if userName.MatchString(value) { // a bare name
			value = "${{ secrets." + value + " }}"
		}
		t, ok := parse(value)
		if !ok || !envName.MatchString(variable) {
			return nil, false
		}
		env[variable] = t
	}
	return env, true
}

// configTexts are the strings of a config that hold references or markers, by path
// ("a.b", "list[0].x"), but for those below secretEnv (spec H.3).
func configTexts(checkID, scope string, config []byte) map[string]text {
	if !declares(config) {
		return nil
	}
	var v any
	if json.Unmarshal(config, &v) != nil {
		return nil
	}
	found := map[string]text{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case string:
			if strings.HasPrefix(v, Marker) {
				found[path] = text{template: v, own: ownName(checkID, scope, path)}
			} else if t, ok := parse(v); ok {
				found[path] = t
			}
		case []any:
			for i, item := range v {
				walk(path+"["+strconv.Itoa(i)+"]", item)
			}
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				if key == secretEnvKey {
					continue
				}
				below := key
				if path != "" {
					below = path + "." + key
				}
				walk(below, v[key])
			}
		}
	}
	walk("", v)
	return found
}

// declared are the names of everything that an assignment refers to.
func declared(a *protocol.Assignment) []string {
	names := map[string]bool{}
	add := func(texts map[string]text) {
		for _, t := range texts {
			for _, n := range t.names {
				names[n] = true
			}
			if t.own != "" {
				names[t.own] = true
			}
		}
	}
	add(configTexts(a.ConfigID, "strategy", a.Config))
	for _, c := range a.Collectors {
		add(configTexts(a.ConfigID, "collector:"+c.ID, c.Config))
		if env, ok := secretEnv(c.Config); ok {
			add(env)
		}
	}
	return slices.Sorted(maps.Keys(names))
}
