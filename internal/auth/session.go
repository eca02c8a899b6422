package auth

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// SessionAge is how long a session lasts, and maxSessions how many there are; the
// oldest ends when one more begins.
const (
	SessionAge  = 12 * time.Hour
	maxSessions = 1000
)

// sessions are kept in memory: after a restart people sign in again. The zero
// value is ready.
type sessions struct {
	mu   sync.Mutex
	byID map[string]session
}

type session struct {
	digest  string // of the token that it was opened with
	expires time.Time
}

// OpenSession exchanges a token for a session, so that a browser need not keep the
// token. Faults as of Token.
func (a *Authenticator) OpenSession(ctx context.Context, remote, token string) (id string, p Principal, err error) {
	if p, err = a.Token(ctx, remote, token); err != nil {
		return "", Principal{}, err
	}
	id = rand.Text()
	a.sessions.put(id, session{digest: Digest(token), expires: time.Now().Add(SessionAge)})
	return id, p, nil
}

// Session tells who opened the session. Its token is looked up each time, so a
// session does not outlive it. Faults: Unauthenticated, Unavailable.
func (a *Authenticator) Session(ctx context.Context, id string) (Principal, error) {
	s, ok := a.sessions.get(id)
	if !ok {
		return Principal{}, fault.New(fault.Unauthenticated, "the session has ended; sign in again")
	}
	return a.holder(ctx, s.digest)
}

// CloseSession ends a session; an unknown one has ended already.
func (a *Authenticator) CloseSession(id string) {
	a.sessions.mu.Lock()
	defer a.sessions.mu.Unlock()
	delete(a.sessions.byID, id)
}

func (s *sessions) get(id string) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.byID[id]
	if ok && !time.Now().Before(found.expires) {
		delete(s.byID, id)
		return session{}, false
	}
	return found, ok
}

func (s *sessions) put(id string, added session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID == nil {
		s.byID = map[string]session{}
	}
	if len(s.byID) >= maxSessions {
		oldest := ""
		for other, o := range s.byID {
			if oldest == "" || o.expires.Before(s.byID[oldest].expires) {
				oldest = other
			}
		}
		delete(s.byID, oldest)
	}
	s.byID[id] = added
}
