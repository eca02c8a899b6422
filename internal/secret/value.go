package secret

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/redact"
)

// cacheFor is how long opened values are kept in memory: long enough for a storm of
// runs, short enough that a value replaced on another core is not used for long when
// its bell is lost.
const cacheFor = 10 * time.Second

// value is one opened secret.
type value struct {
	text    string
	former  []string // what it was before, for redaction alone
	version int64
	absent  bool // there is none of the name, or none any more
}

// cache keeps opened values for a short time, in memory only.
type cache struct {
	mu     sync.Mutex
	clears int // how often it was cleared
	until  time.Time
	held   map[string]value
	// redactors are made of held values, by the names.
	redactors map[string]*redact.Redactor
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clears++
	c.held, c.redactors = nil, nil
}

// expect forgets what is held when a definition tells of a newer value: the definition
// may be here before the bell, which may be lost.
func (c *cache) expect(name string, version int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.held[name]; ok && v.version < version {
		c.clears++
		c.held, c.redactors = nil, nil
	}
}

// get gives those of the names that are held, and the others, which may be put with
// the state that it gives.
func (c *cache) get(names []string, now time.Time) (held map[string]value, others []string, state int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	held = make(map[string]value, len(names))
	if now.After(c.until) {
		c.held, c.redactors = nil, nil
	}
	for _, n := range names {
		if v, ok := c.held[n]; ok {
			held[n] = v
		} else {
			others = append(others, n)
		}
	}
	return held, others, c.clears
}

// put holds values that were read since the state; when it was cleared meanwhile they
// may be old ones, and are not held.
func (c *cache) put(values map[string]value, now time.Time, state int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clears != state {
		return
	}
	if c.held == nil {
		c.held, c.until = map[string]value{}, now.Add(cacheFor)
	}
	maps.Copy(c.held, values)
}

// redactor gives one that was made of what is held.
func (c *cache) redactor(key string, now time.Time) *redact.Redactor {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.After(c.until) {
		return nil
	}
	return c.redactors[key]
}

// putRedactor holds one that was made of values read since the state.
func (c *cache) putRedactor(key string, r *redact.Redactor, state int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clears != state || c.held == nil {
		return
	}
	if c.redactors == nil {
		c.redactors = map[string]*redact.Redactor{}
	}
	c.redactors[key] = r
}

func (c *cache) state() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clears
}

// open gives the values of the names, absent ones too.
func (s *Service) open(ctx context.Context, names []string) (map[string]value, error) {
	now := time.Now()
	found, others, state := s.values.get(names, now)
	if len(others) == 0 {
		return found, nil
	}
	opened, err := s.read(ctx, others)
	if err != nil {
		return nil, err
	}
	s.values.put(opened, now, state)
	maps.Copy(found, opened)
	return found, nil
}

// readAttempts bounds how often values are read again because the keys were rotated
// while they were read.
const readAttempts = 5

// read gives the values of the names as they are in the store, absent ones too.
func (s *Service) read(ctx context.Context, names []string) (map[string]value, error) {
	wrapped, err := s.Store.SecretKeyset(ctx)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		records, err := s.Store.SecretsNamed(ctx, names)
		if err != nil {
			return nil, err
		}
		former, err := s.Store.FormerSecrets(ctx, names)
		if err != nil {
			return nil, err
		}
		opened := make(map[string]value, len(names))
		for _, name := range names {
			opened[name] = value{absent: true}
		}
		if len(records)+len(former) == 0 {
			return opened, nil
		}
		before := wrapped
		if wrapped, err = s.Store.SecretKeyset(ctx); err != nil {
			return nil, err
		}
		if wrapped == before || attempt == readAttempts {
			return opened, s.unseal(ctx, wrapped, opened, records, former)
		}
	}
}

// unseal opens what was read of the store.
func (s *Service) unseal(ctx context.Context, wrapped string, opened map[string]value, records map[string]Record, former []Former) error {
	keys, err := s.keys.unwrap(wrapped)
	if err != nil {
		return err
	}
	for name, r := range records {
		v := value{version: r.Version}
		if r.External != "" {
			v.text, err = s.external(ctx, r.External)
		} else {
			v.text, err = keys.open(r.ID, r.Version, r.Sealed)
		}
		if err != nil {
			return fault.Wrap(fault.Unavailable, err, "secret %s cannot be had", shown(name))
		}
		opened[name] = v
	}
	for _, f := range former {
		// One that does not open any more is no reason to refuse the new one.
		if text, err := keys.open(f.SecretID, f.Version, f.Sealed); err == nil {
			v := opened[f.Name]
			v.former = append(v.former, text)
			opened[f.Name] = v
		}
	}
	return nil
}

func (s *Service) external(ctx context.Context, place string) (string, error) {
	if s.KV == nil {
		return "", fault.New(fault.Unavailable, "this core fetches secrets from nowhere; start it with --vault-addr")
	}
	return s.KV.Fetch(ctx, place)
}

// resolve gives the values of all names; a missing one fails the whole (spec H.2).
func (s *Service) resolve(ctx context.Context, names []string) (values map[string]string, versions []string, err error) {
	found, err := s.open(ctx, names)
	if err != nil {
		return nil, nil, err
	}
	values = make(map[string]string, len(names))
	for _, n := range slices.Sorted(slices.Values(names)) {
		v := found[n]
		if v.absent {
			return nil, versions, fault.New(fault.NotFound, "Secret not found: %s", shown(n))
		}
		values[n] = v.text
		versions = append(versions, fmt.Sprintf("%s@%d", n, v.version))
	}
	return values, versions, nil
}

// shown is the name as people know it.
func shown(name string) string {
	if internal(name) {
		return "credential of this check (write it anew)"
	}
	return name
}
