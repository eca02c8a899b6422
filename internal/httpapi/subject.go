package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/diff"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/incident"
	"github.com/perigee-monitoring/perigee/internal/notify"
	"github.com/perigee-monitoring/perigee/internal/packages"
	"github.com/perigee-monitoring/perigee/internal/redact"
	"github.com/perigee-monitoring/perigee/internal/sandbox"
	"github.com/perigee-monitoring/perigee/internal/secret"
)

const (
	// maxChanges bounds the fields of one request that the audit log keeps.
	maxChanges = 100
	// maxValue bounds a text that is kept of a field, in bytes.
	maxValue = 400
)

// place is where something is in the API: systems, and an id or name.
type place struct{ kind, ref string }

// kindNamed is the kind of a place as documents have it: System.
func kindNamed(kind string) string {
	return strings.ToUpper(kind[:1]) + strings.TrimSuffix(kind[1:], "s")
}

// subject is something that can be changed, as the audit log sees it: its name, and
// what people have set of it. What moves by itself is not part of it.
type subject struct {
	id, name string
	set      map[string]json.RawMessage
}

// subject reads what is at a place. What is not there, or nothing that is compared, is
// the zero subject.
func (a *API) subject(ctx context.Context, at place) (subject, error) {
	if at.ref == "" && at.kind != "sandbox-policy" {
		return subject{}, nil
	}
	var found any
	var err error
	switch at.kind {
	case "systems":
		found, err = a.Catalog.System(ctx, at.ref)
	case "checks":
		found, err = a.Catalog.Check(ctx, at.ref)
	case "assignments":
		found, err = a.Catalog.Assignment(ctx, at.ref)
	case "maintenances":
		found, err = a.Catalog.Maintenance(ctx, at.ref)
	case "satellites":
		found, err = a.satellite(ctx, at.ref)
	case "automations":
		found, err = a.Automations.Automation(ctx, at.ref)
	case "automation-runs":
		found, err = a.runSubject(ctx, at.ref)
	case "channels":
		found, err = a.Channels.Get(ctx, at.ref)
	case "incidents":
		found, err = a.Incidents.Get(ctx, at.ref)
	case "users":
		found, err = a.Accounts.GetUser(ctx, at.ref)
	case "tokens":
		found, err = among(at.ref, func(t auth.Token) []string { return []string{t.ID, t.Name} })(a.Accounts.ListTokens(ctx, auth.From(ctx)))
	case "secrets":
		found, err = among(at.ref, func(s secret.Secret) []string { return []string{s.Name} })(a.Secrets.List(ctx))
	case "packages":
		found, err = among(at.ref, func(p packages.Package) []string { return []string{p.Name} })(a.Packages.Packages(ctx))
	case "sandbox-policy":
		found, err = a.Sandbox.Get(ctx)
	default:
		return subject{}, nil
	}
	if fault.Is(err, fault.NotFound) {
		return subject{}, nil
	}
	if err != nil {
		return subject{}, err
	}
	return subjectOf(found), nil
}

// among finds one in a list by what it is called.
func among[T any](ref string, names func(T) []string) func([]T, error) (T, error) {
	return func(all []T, err error) (none T, _ error) {
		if err != nil {
			return none, err
		}
		if i := slices.IndexFunc(all, func(one T) bool { return slices.Contains(names(one), ref) }); i >= 0 {
			return all[i], nil
		}
		return none, fault.New(fault.NotFound, "there is no %q", ref)
	}
}

// runSubject is a run under the name of its automation; it has none of its own.
func (a *API) runSubject(ctx context.Context, id string) (subject, error) {
	run, _, err := a.Automations.Run(ctx, id)
	if err != nil {
		return subject{}, err
	}
	of, err := a.Automations.Automation(ctx, run.Automation)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return subject{}, err
	}
	return subject{run.ID, of.Name, only(run, "status")}, nil
}

func subjectOf(found any) subject {
	switch v := found.(type) {
	case subject:
		return v
	case catalog.System:
		return subject{v.ID, v.Name, only(v, "name", "description", "labels", "fields", "environments", "dependsOn")}
	case catalog.Check:
		return subject{v.ID, v.Name, only(v, "name", "labels", "spec")}
	case catalog.Assignment:
		return subject{v.ID, v.Name, only(v, "name", "labels", "check", "system", "includeLocal", "satellites", "environments", "satelliteEnvironments", "enabled", "policy")}
	case catalog.Maintenance:
		return subject{v.ID, v.Name, only(v, "name", "description", "labels", "mode", "systems", "checks", "start", "end", "schedule", "endedBefore")}
	case fleet.Satellite:
		return subject{v.ID, v.Name, only(v, "name", "region", "tags", "offlineThresholdMs", "weight", "cordonedAt", "draining", "tokenExpiresAt", "previousTokenValidUntil")}
	case automation.Automation:
		return subject{v.ID, v.Name, only(v, "name", "labels", "enabled", "definition")}
	case notify.Channel:
		return subject{v.ID, v.Name, only(v, "name", "description", "enabled", "type", "config")}
	case automation.Run:
		return subject{v.ID, "", only(v, "status")}
	case incident.Note:
		return subject{v.ID, "", only(v, "kind", "entityId")}
	case incident.Incident:
		return subject{v.ID, v.Title, only(v, "title", "severity", "status", "cause", "systems")}
	case auth.User:
		return subject{v.ID, v.Name, only(v, "name", "role", "disabled")}
	case auth.Token:
		return subject{v.ID, v.Name, only(v, "name", "role", "owner", "expiresAt")}
	case secret.Secret:
		return subject{v.Name, v.Name, only(v, "name", "description", "version", "external")}
	case packages.Package:
		return subject{v.Name, v.Name, only(v, "name", "version", "enabled")}
	case sandbox.Setting:
		return subject{"", "", only(v, "policy")}
	}
	return subject{}
}

// only gives these members of what the API says of something.
func only(of any, names ...string) map[string]json.RawMessage {
	var all map[string]json.RawMessage
	text, err := json.Marshal(of)
	if err != nil || json.Unmarshal(text, &all) != nil {
		return nil
	}
	set := map[string]json.RawMessage{}
	for _, name := range names {
		if value, ok := all[name]; ok {
			set[name] = value
		}
	}
	return set
}

// differences are the fields in which a subject was changed, below a path: all that it
// had or has when it is new or gone. No secret is among them.
func differences(path string, was, is subject) []diff.Field {
	from, to := was.set, is.set
	if from == nil {
		from = map[string]json.RawMessage{}
	}
	if to == nil {
		to = map[string]json.RawMessage{}
	}
	all := diff.Of("", from, to)
	all = slices.DeleteFunc(all, func(f diff.Field) bool { return empty(f.From) && empty(f.To) })
	for i, f := range all {
		from, to := kept(f.Path, f.From), kept(f.Path, f.To)
		if a, b, ok := excerpts(from, to); ok {
			from, to = a, b
		}
		all[i] = diff.Field{Path: path + f.Path, From: from, To: to}
	}
	return all
}

// empty is what a field holds of which nobody has said anything.
func empty(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

var (
	// confidential are names of fields whose values are nobody's business, whatever they
	// hold. Credentials of checks are markers already, and those of channels references.
	confidential = regexp.MustCompile(`(?i)(passw(or)?d|passphrase|secret|token|credentials?|authorization|cookie|(private|api|access)[-_ ]?key)("?\]|\.|$)`)
	// inURL are the places of addresses in which people write passwords.
	inURL = regexp.MustCompile(`(://)[^/@\s]+(@)|([?&][^=&\s]*(?i:token|key|secret|password|signature)=)[^&\s"']+`)
	// reference is what stands where a secret is put in later.
	reference = regexp.MustCompile(`^\s*\$\{\{[^{}]*\}\}\s*$`)
)

// kept is a value as the log keeps it.
func kept(path string, value any) any {
	switch v := value.(type) {
	case string:
		if v != "" && confidential.MatchString(path) && !reference.MatchString(v) {
			return redact.Mask
		}
		return inURL.ReplaceAllString(v, "${1}${3}"+redact.Mask+"${2}")
	case map[string]any:
		clean := map[string]any{}
		for key, item := range v {
			clean[key] = kept(path+"."+key, item)
		}
		return clean
	case []any:
		clean := make([]any, len(v))
		for i, item := range v {
			clean[i] = kept(path, item)
		}
		return clean
	}
	return value
}

// excerpts bound two values. Of two long texts they show where these differ; of a long
// object there is its beginning, as text.
func excerpts(from, to any) (any, any, bool) {
	a, b := text(from), text(to)
	if len(a) <= maxValue && len(b) <= maxValue {
		return nil, nil, false
	}
	const around = 40
	same := 0
	for from != nil && to != nil && same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	cut := max(0, same-around)
	excerpt := func(value any, s string) any {
		switch {
		case value == nil:
			return nil
		case cut > 0:
			return "…" + short(strings.ToValidUTF8(s[cut:], ""), maxValue)
		}
		return short(s, maxValue)
	}
	return excerpt(from, a), excerpt(to, b), true
}

// text is a value for people: a text as it is, and of all else the JSON.
func text(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	return diff.Text(value)
}

// told says in short what was changed: "role: viewer → admin".
func told(changes []diff.Field) string {
	var all []string
	for _, f := range changes {
		from, to := "nothing", "nothing"
		if f.From != nil {
			from = short(text(f.From), 60)
		}
		if f.To != nil {
			to = short(text(f.To), 60)
		}
		all = append(all, fmt.Sprintf("%s: %s → %s", f.Path, from, to))
	}
	return strings.Join(all, ", ")
}
