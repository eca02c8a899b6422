package secret

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// credential is a text of a check's config that stands for a secret by itself: one
// that was written out in a secret field, or the marker of one that was.
type credential struct {
	name   string // under which it is kept
	at     string // where it stands in the spec, for people
	config int    // -1 for the strategy's config, else the collector's index
	path   string // in the config
	text   string
}

func (c *credential) marker() bool { return strings.HasPrefix(c.text, Marker) }

// credentials finds them, in an order that does not change. A text that holds a
// reference or a template is none: what it holds is no secret.
func credentials(checkID string, spec check.Spec) []credential {
	var all []credential
	add := func(config int, scope, at string, kind check.Kind, raw json.RawMessage) {
		found := map[string]string{}
		for path, t := range configTexts(checkID, scope, raw) {
			if t.own != "" {
				found[path] = t.template
			}
		}
		for path, text := range secretFields(kind, raw) {
			if text != "" && !strings.Contains(text, "{{") {
				found[path] = text
			}
		}
		for _, path := range slices.Sorted(maps.Keys(found)) {
			all = append(all, credential{name: ownName(checkID, scope, path), at: at + "." + path, config: config, path: path, text: found[path]})
		}
	}
	kind, _ := check.Strategy(spec.Strategy)
	add(-1, "strategy", "config", kind, spec.Config)
	for i, c := range spec.Collectors {
		kind, _ := check.CollectorKind(c.Collector)
		add(i, "collector:"+c.ID, fmt.Sprintf("collectors[%d].config", i), kind, c.Config)
	}
	return all
}

// secretFields are the texts of a config's secret fields by path. A config of a kind
// that is not known has none. One that is not valid, which an import may bring, has
// those that can be found: fields of another type do not hide them, and neither do
// letters of another case, which a satellite reads as well.
func secretFields(kind check.Kind, raw json.RawMessage) map[string]string {
	if kind.Default == nil || len(raw) == 0 {
		return nil
	}
	var tree any
	if json.Unmarshal(raw, &tree) != nil {
		return nil
	}
	config := reflect.New(reflect.TypeOf(kind.Default))
	_ = json.Unmarshal(raw, config.Interface()) // what is of another type is left out
	found := map[string]string{}
	_ = check.Secrets(config.Interface(), func(path, _ string) error {
		spellings(tree, step.FindAllString(path, -1), "", found)
		return nil
	})
	return found
}

// spellings adds the texts of a field, under the paths at which they stand in fact.
func spellings(node any, steps []string, path string, found map[string]string) {
	if len(steps) == 0 {
		if text, ok := node.(string); ok {
			found[path] = text
		}
		return
	}
	switch node := node.(type) {
	case map[string]any:
		for key, below := range node {
			if !strings.EqualFold(key, steps[0]) {
				continue
			}
			if path != "" {
				key = path + "." + key
			}
			spellings(below, steps[1:], key, found)
		}
	case []any:
		if n, err := strconv.Atoi(steps[0]); err == nil && n < len(node) {
			spellings(node[n], steps[1:], fmt.Sprintf("%s[%d]", path, n), found)
		}
	}
}

// Exposed reports whether the check has a credential that is written out.
func (s *Service) Exposed(spec check.Spec) bool {
	return slices.ContainsFunc(credentials("", spec), func(c credential) bool { return !c.marker() })
}

// Hidden is the check as others may see it, with a marker without a number for each
// credential that is written out.
func (s *Service) Hidden(spec check.Spec) check.Spec {
	markers := map[int]map[string]string{}
	for _, c := range credentials("", spec) {
		if !c.marker() {
			mark(markers, c, Marker)
		}
	}
	hidden, err := marked(spec, markers)
	if err != nil { // it has been found there
		return check.Spec{}
	}
	return hidden
}

// Conceal takes the credentials that are written out in a check into keeping, within
// a transaction that alters the check, and gives the check with markers in their
// places (spec M34). A credential that has not changed keeps its marker; a new one
// gets another, so that the check is altered too. A marker stays where it stands and
// is worth nothing elsewhere: the second result names those. What the check has no
// more is deleted. A check without credentials costs nothing.
//
// Fault: Unavailable when the root key does not open the keyset.
func (s *Service) Conceal(ctx context.Context, within entity.Tx, actor entity.Actor, checkID string, before, after check.Spec) (check.Spec, []fault.Field, error) {
	wanted := credentials(checkID, after)
	names := map[string]bool{}
	for _, c := range wanted {
		names[c.name] = true
	}
	for _, c := range credentials(checkID, before) {
		if c.marker() {
			names[c.name] = true
		}
	}
	if len(names) == 0 {
		return after, nil, nil
	}
	tx, ok := within.(Tx)
	if !ok {
		return after, nil, fmt.Errorf("the store keeps no secrets")
	}
	if err := tx.LockSecrets(ctx); err != nil {
		return after, nil, err
	}
	kept, err := tx.SecretRecordsNamed(ctx, slices.Sorted(maps.Keys(names)))
	if err != nil {
		return after, nil, err
	}
	k := keeping{tx: tx, keys: s.keys, actor: actor, kept: kept}
	var wrong []fault.Field
	markers := map[int]map[string]string{} // by config and path
	for _, c := range wanted {
		version, problem, err := k.keep(ctx, c)
		switch {
		case err != nil:
			return after, nil, err
		case problem != "":
			wrong = append(wrong, fault.Field{Path: c.at, Message: problem})
			continue
		}
		mark(markers, c, markerOf(version))
		delete(names, c.name)
	}
	for _, name := range slices.Sorted(maps.Keys(names)) { // those that are not there any more
		if r, ok := kept[name]; ok && wrong == nil {
			if err := remove(ctx, tx, &r); err != nil {
				return after, nil, err
			}
		}
	}
	if after, err = marked(after, markers); err == nil && wrong == nil && s.Exposed(after) {
		err = errors.New("a credential would have stayed in the definition")
	}
	return after, wrong, err
}

// Concealed is called when a transaction in which Conceal worked is durable.
func (s *Service) Concealed() { s.changed() }

// keeping is one check's credentials on their way into the store.
type keeping struct {
	tx    Tx
	keys  *keyring
	opens *keys // nil until one is needed: markers alone need none
	actor entity.Actor
	kept  map[string]Record
}

// keep gives the version under which the credential is kept.
func (k *keeping) keep(ctx context.Context, c credential) (version int64, problem string, err error) {
	record, had := k.kept[c.name]
	if c.marker() {
		if !had {
			return 0, "stands for a credential that is not kept here; write the credential itself, or refer to a secret as ${{ secrets.NAME }}", nil
		}
		return record.Version, "", nil
	}
	if len(c.text) > MaxValue || !utf8.ValidString(c.text) || strings.ContainsRune(c.text, 0) {
		return 0, fmt.Sprintf("must be UTF-8 text without NUL of at most %d bytes", MaxValue), nil
	}
	if k.opens == nil {
		if k.opens, err = k.keys.forWriting(ctx, k.tx); err != nil {
			return 0, "", err
		}
	}
	var before *Record
	if had {
		if text, err := k.opens.open(record.ID, record.Version, record.Sealed); err == nil && text == c.text {
			return record.Version, "", nil
		}
		before = &record
	}
	description := "credential of a check, at " + c.at
	made, err := write(ctx, k.tx, k.opens, before, c.name, Input{Value: c.text, Description: &description}, k.actor)
	return made.Version, "", err
}

func mark(markers map[int]map[string]string, c credential, marker string) {
	if markers[c.config] == nil {
		markers[c.config] = map[string]string{}
	}
	markers[c.config][c.path] = marker
}

// marked is the spec with markers in their places; what it was made of is not touched.
func marked(spec check.Spec, markers map[int]map[string]string) (check.Spec, error) {
	var err error
	if spec.Config, err = check.SetTexts(spec.Config, markers[-1]); err != nil {
		return spec, err
	}
	spec.Collectors = slices.Clone(spec.Collectors)
	for i := range spec.Collectors {
		if spec.Collectors[i].Config, err = check.SetTexts(spec.Collectors[i].Config, markers[i]); err != nil {
			return spec, err
		}
	}
	return spec, nil
}

// step is one part of a path in a config.
var step = regexp.MustCompile(`[^.\[\]]+`)
