package probe

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// run is one execution: what it may know of itself, and how much it may keep.
type run struct {
	of *protocol.Assignment
	in *check.Environment // nil for none
	// bodyCap is the most of one body that is kept.
	bodyCap int
	// known are configs that are the same in every run; nil for none.
	known *configs
}

const (
	// maxBody is the most of a response body that is kept, in bytes.
	maxBody = 1 << 20
	// maxEscape is how many bytes of JSON one byte of text can become.
	maxEscape = 6
)

func newRun(a *protocol.Assignment, env *check.Environment) run {
	r := run{of: a, in: env, bodyCap: maxBody}
	if n := len(a.Collectors); n > 0 {
		// All results of a run travel in one message.
		r.bodyCap = min(maxBody, (protocol.MaxResult-1<<20)/maxEscape/n)
	}
	return r
}

// maxText is the most that is kept of one text of an answer that is no body.
const maxText = 64 << 10

// keep bounds a text of an answer, and makes it valid.
func (r run) keep(text string) string { return cut(text, min(r.bodyCap, maxText)) }

// values are what a run knows of itself, and templates can name (spec K.4). Names fall
// back to ids, each for itself (L.106–108); metadata is never absent (L.109, L.110). An
// environment's fields stand beside its id and name.
func (r run) values() map[string]any {
	a, env := r.of, r.in
	metadata := a.SystemMetadata
	if metadata == nil {
		metadata = map[string]any{}
	}
	values := map[string]any{
		"check": map[string]any{
			"id": a.ConfigID, "name": cmp.Or(a.ConfigName, a.ConfigID), "intervalSeconds": a.IntervalSeconds,
		},
		"system": map[string]any{
			"id": a.SystemID, "name": cmp.Or(a.SystemName, a.SystemID), "metadata": metadata,
		},
	}
	if env != nil {
		environment := map[string]any{"fields": env.Fields}
		for name, value := range env.Fields {
			environment[name] = value
		}
		environment["id"], environment["name"] = env.ID, cmp.Or(env.Name, env.ID)
		values["environment"] = environment
	}
	return values
}

// configure reads a config for this run: defaults applied, templates filled, and
// no secret left unresolved (L.120).
func configure[T any](r run, raw json.RawMessage, decode func(json.RawMessage) (T, error)) (T, error) {
	if config, ok := r.known.get(raw, reflect.TypeFor[T]()); ok {
		return config.(T), nil
	}
	config, err := decode(raw)
	if err != nil {
		return config, fmt.Errorf("the config cannot be used: %w", err)
	}
	constant := true
	if err := check.Secrets(&config, func(name, value string) error {
		constant = constant && value == "" // a secret is not kept for longer than its run
		return unresolved(name, value)
	}); err != nil {
		return config, err
	}
	values := sync.OnceValue(r.values)
	fill := func(text string) (string, error) {
		constant = constant && !strings.Contains(text, "{{")
		return check.Fill(text, values())
	}
	if err := check.Expand(&config, fill); err != nil {
		return config, fmt.Errorf("the config cannot be used: %w", err)
	}
	if err := check.Validate(config); err != nil {
		return config, fmt.Errorf("the config cannot be used: %w", err)
	}
	if constant {
		r.known.put(raw, config)
	}
	return config, nil
}

// configs keeps what configs were read as, which costs as much as a small check. Who gets
// one changes nothing that it points to.
type configs struct {
	mu  sync.RWMutex
	all map[configKey]any
}

// configKey is a config as it came, and what it was read as.
type configKey struct {
	raw  string
	kind reflect.Type
}

const (
	// maxConfigs is how many are kept; then it begins anew.
	maxConfigs = 2000
	// maxConfig is the length of the longest that is kept, in bytes.
	maxConfig = 4 << 10
)

func (c *configs) get(raw json.RawMessage, kind reflect.Type) (any, bool) {
	if c == nil {
		return nil, false
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	config, ok := c.all[configKey{string(raw), kind}]
	return config, ok
}

func (c *configs) put(raw json.RawMessage, config any) {
	if c == nil || len(raw) > maxConfig {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil || len(c.all) >= maxConfigs {
		c.all = map[configKey]any{}
	}
	c.all[configKey{string(raw), reflect.TypeOf(config)}] = config
}

// unresolved refuses the place-holder of a secret: sent to the target, it would
// look like a wrong password of the operator's.
func unresolved(name, value string) error {
	if check.RefersToSecret(value) {
		return unsupported{name + " refers to a secret that this satellite did not get"}
	}
	return nil
}
