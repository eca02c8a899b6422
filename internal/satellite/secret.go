package satellite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/probe"
	"github.com/perigee-monitoring/perigee/internal/redact"
	"github.com/perigee-monitoring/perigee/protocol"
)

// Values of secrets are asked for when a run needs them, live in the memory of that
// run, and are taken out of everything that it says before that reaches the spool,
// the log or the status page (spec H.2, H.3). They are on no disk.
//
// When there is no core to ask, the run is skipped, with reason secrets. When the
// core answers with an error, what becomes of the run depends on whose core it is:
// an original one expects the failed check of spec H.2 and H.3; ours gets a degraded
// result, because nothing was found out about the target.

const (
	// secretTimeout is how long an answer is waited for (spec H.2).
	secretTimeout = 30 * time.Second
	// secretPatience is how long after the end of a session the next one is waited
	// for: a satellite that only changes cores skips nothing.
	secretPatience = 3 * time.Second
	// maxRequests is how many may wait for their answers at once.
	maxRequests = 1024
)

// noSecret is what is said when the core says nothing (spec H.2).
const noSecret = "Required secret not available on this satellite"

// errNoCore: there is nobody to ask, or the session ended before the answer.
var errNoCore = errors.New("there is no connection to a core to get secrets from")

// refusedSecret is an answer of the core that holds no values.
type refusedSecret struct {
	reason string
	ours   bool // it was a core of ours
}

func (e *refusedSecret) Error() string { return e.reason }

// requests are what one session has asked its core and not heard of yet, by request
// id (spec M23). They fail as soon as the session ends (spec M22).
type requests struct {
	send func(protocol.FromAgent) error
	// key opens what is sealed; nil when the two ends did not agree on seals.
	key  *protocol.SealKey
	ours bool

	mu      sync.Mutex
	waiting map[string]chan protocol.FromCore // each of size one; nil when the session has ended
}

func newRequests(send func(protocol.FromAgent) error, key *protocol.SealKey, ours bool) *requests {
	return &requests{send: send, key: key, ours: ours, waiting: make(map[string]chan protocol.FromCore)}
}

// ask sends m and waits for the answer to the request.
func (r *requests) ask(ctx context.Context, id string, m protocol.FromAgent) (protocol.FromCore, error) {
	answer := make(chan protocol.FromCore, 1)
	r.mu.Lock()
	switch {
	case r.waiting == nil:
		r.mu.Unlock()
		return nil, errNoCore
	case len(r.waiting) >= maxRequests:
		r.mu.Unlock()
		return nil, r.refused("too many requests for secrets wait for an answer")
	}
	r.waiting[id] = answer
	r.mu.Unlock()
	defer r.forget(id)
	if err := r.send(m); err != nil {
		return nil, errNoCore
	}
	deadline := time.NewTimer(secretTimeout)
	defer deadline.Stop()
	select {
	case m, ok := <-answer:
		if !ok {
			return nil, errNoCore
		}
		return m, nil
	case <-deadline.C:
		return nil, r.refused(noSecret)
	case <-ctx.Done():
		return nil, r.refused(noSecret)
	}
}

// answer hands an answer to who waits for it. It does not block.
func (r *requests) answer(id string, m protocol.FromCore) (wanted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	waiting, ok := r.waiting[id]
	if ok {
		delete(r.waiting, id) // so that a second answer finds nobody
		waiting <- m
	}
	return ok
}

func (r *requests) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, id)
}

// end fails all that waits.
func (r *requests) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, waiting := range r.waiting {
		close(waiting)
	}
	r.waiting = nil
}

func (r *requests) refused(reason string) error {
	if reason == "" {
		reason = noSecret
	}
	return &refusedSecret{check.Truncate(reason, 1000), r.ours}
}

// run gets the secretEnv of one collector entry.
func (r *requests) run(ctx context.Context, configID, entry string) (map[string]string, error) {
	id := uuid.NewString()
	m, err := r.ask(ctx, id, &protocol.RequestRunSecrets{
		RequestID: id, ConfigID: configID, CollectorID: entry, RunID: uuid.NewString(),
	})
	if err != nil {
		return nil, err
	}
	answer, ok := m.(*protocol.RunSecrets)
	if !ok {
		return nil, r.refused("")
	}
	if answer.Error == "" && r.key != nil {
		if answer, err = unseal(r, answer, answer.Sealed, id, answer.Env != nil); err != nil {
			return nil, err
		}
	}
	if answer.Error != "" || answer.Env == nil {
		return nil, r.refused(answer.Error)
	}
	return answer.Env, nil
}

// config gets the secrets of a configuration.
func (r *requests) config(ctx context.Context, configID string) (*protocol.ConfigSecrets, error) {
	id := uuid.NewString()
	m, err := r.ask(ctx, id, &protocol.RequestConfigSecrets{RequestID: id, ConfigID: configID, RunID: uuid.NewString()})
	if err != nil {
		return nil, err
	}
	answer, ok := m.(*protocol.ConfigSecrets)
	if !ok {
		return nil, r.refused("")
	}
	if answer.Error == "" && r.key != nil {
		if answer, err = unseal(r, answer, answer.Sealed, id, answer.Strategy != nil || answer.Collectors != nil); err != nil {
			return nil, err
		}
	}
	if answer.Error != "" {
		return nil, r.refused(answer.Error)
	}
	return answer, nil
}

// unseal opens an answer. Once seals are agreed, values in the clear are refused:
// whoever is on the way could have put them there.
func unseal[M any](r *requests, outer *M, sealed, id string, clear bool) (*M, error) {
	if clear {
		return nil, r.refused("the core sent secrets that are not sealed, although seals were agreed")
	}
	if sealed == "" {
		return outer, nil
	}
	inner := new(M)
	if err := r.key.Unseal(sealed, id, inner); err != nil {
		return nil, r.refused(err.Error())
	}
	return inner, nil
}

// secrets leads to the session that there is, for runs that need one.
type secrets struct {
	mu      sync.Mutex
	session *requests     // nil when there is none
	since   time.Time     // when the last one ended
	changed chan struct{} // closed at the next change of session
}

func newSecrets() *secrets { return &secrets{since: time.Now(), changed: make(chan struct{})} }

// use makes r the session to ask; nil for none.
func (s *secrets) use(r *requests) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r == nil {
		s.since = time.Now()
	}
	s.session = r
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *secrets) now() (session *requests, since time.Time, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session, s.since, s.changed
}

// open is the session to ask, the next one when there was one a moment ago.
func (s *secrets) open(ctx context.Context) (*requests, error) {
	for {
		session, since, changed := s.now()
		if session != nil {
			return session, nil
		}
		patience := time.NewTimer(time.Until(since.Add(secretPatience)))
		select {
		case <-changed:
			patience.Stop()
		case <-patience.C:
			return nil, errNoCore
		case <-ctx.Done():
			patience.Stop()
			return nil, errNoCore
		}
	}
}

// lease is the secrets of one run.
type lease struct {
	secrets  *secrets
	configID string

	mu     sync.Mutex
	values []string
	cutOff bool // some could not be asked for
}

// env is a probe.Lease.
func (l *lease) env(ctx context.Context, entry string) (map[string]string, error) {
	session, err := l.secrets.open(ctx)
	var env map[string]string
	if err == nil {
		env, err = session.run(ctx, l.configID, entry)
	}
	if err != nil {
		return nil, l.failed(err)
	}
	for _, value := range env {
		l.note(value)
	}
	return env, nil
}

// failed is the error as the probe judges it.
func (l *lease) failed(err error) error {
	if errors.Is(err, errNoCore) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.cutOff = true
		return probe.Unable(err.Error())
	}
	if refused, ok := errors.AsType[*refusedSecret](err); ok && refused.ours {
		return probe.Unable(refused.reason)
	}
	return err
}

func (l *lease) note(value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.values = append(l.values, value)
}

// isCutOff: a core was needed and there was none.
func (l *lease) isCutOff() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cutOff
}

// redactor takes out what was leased.
func (l *lease) redactor() *redact.Redactor {
	l.mu.Lock()
	defer l.mu.Unlock()
	return redact.New(l.values...)
}

// errUnresolved: the core answered, and something is left that refers to a secret.
const errUnresolved = "a config secret could not be resolved"

// resolve gives the assignment with its config secrets in place: itself if it has
// none, else a copy (spec H.3).
func (l *lease) resolve(ctx context.Context, a *protocol.Assignment) (*protocol.Assignment, error) {
	if !wantsConfigSecrets(a) {
		return a, nil
	}
	session, err := l.secrets.open(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := session.config(ctx, a.ConfigID)
	if err != nil {
		return nil, err
	}
	resolved, err := l.apply(a, answer)
	if err != nil {
		return nil, session.refused(err.Error())
	}
	if wantsConfigSecrets(resolved) {
		return nil, session.refused(errUnresolved)
	}
	return resolved, nil
}

func (l *lease) apply(a *protocol.Assignment, answer *protocol.ConfigSecrets) (*protocol.Assignment, error) {
	for _, value := range answer.Strategy {
		l.note(value)
	}
	for _, values := range answer.Collectors {
		for _, value := range values {
			l.note(value)
		}
	}
	resolved := *a
	resolved.Collectors = slices.Clone(a.Collectors)
	var err error
	if resolved.Config, err = check.SetTexts(a.Config, answer.Strategy); err != nil {
		return nil, err
	}
	for i := range resolved.Collectors {
		c := &resolved.Collectors[i]
		if c.Config, err = check.SetTexts(c.Config, answer.Collectors[c.ID]); err != nil {
			return nil, fmt.Errorf("collector %s: %w", check.Truncate(c.ID, 100), err)
		}
	}
	return &resolved, nil
}

// withoutSecrets is the result of a run whose config secrets were refused. Nothing
// was found out about the target; an original core has no word for that but unhealthy.
func withoutSecrets(refused *refusedSecret) check.Result {
	text := "A config secret could not be resolved: " + refused.reason
	if refused.reason == errUnresolved {
		text = "A config secret could not be resolved"
	}
	if refused.ours {
		return check.Result{Status: check.Degraded, Message: "Check not carried out: " + text, Metadata: check.Metadata{Error: text}}
	}
	return check.Result{Status: check.Unhealthy, Message: text, Metadata: check.Metadata{Error: text}}
}
