package auth_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/store"
)

// open opens a store in a file of its own, and gives the folder.
func open(t *testing.T) (*store.DB, string) {
	t.Helper()
	url := dbtest.SQLite(t)
	db, err := store.Open(t.Context(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db, filepath.Dir(url)
}

func tokens(t *testing.T, s auth.Store) int {
	t.Helper()
	n, err := s.CountTokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTheFirstStartMakesAToken(t *testing.T) {
	t.Parallel()
	db, _ := open(t)
	first, err := auth.Bootstrap(t.Context(), db, "")
	if err != nil || !regexp.MustCompile(`^perigee_[A-Za-z0-9_-]{43}$`).MatchString(first) {
		t.Fatalf("first token = %q, %v", first, err)
	}
	p, err := auth.New(auth.NewAccounts(db)).Token(t.Context(), "192.0.2.1:1", first)
	if err != nil || p.Name != "first" || p.TokenID == "" {
		t.Errorf("holder = %+v, %v", p, err)
	}
	if again, err := auth.Bootstrap(t.Context(), db, ""); again != "" || err != nil || tokens(t, db) != 1 {
		t.Errorf("the second start: %q, %v, %d tokens", again, err, tokens(t, db))
	}
}

func TestAChosenToken(t *testing.T) {
	t.Parallel()
	db, _ := open(t)
	for _, wrong := range []string{"short", "1234567", "with space", "tab\tinside", "ünïcödé-token", strings.Repeat("\x00", 9)} {
		if _, err := auth.Bootstrap(t.Context(), db, wrong); !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), wrong) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	for range 2 { // it is there after the first start already
		if printed, err := auth.Bootstrap(t.Context(), db, "eight-88"); printed != "" || err != nil || tokens(t, db) != 1 {
			t.Errorf("chosen: %q, %v, %d tokens", printed, err, tokens(t, db))
		}
	}
	p, err := auth.New(auth.NewAccounts(db)).Token(t.Context(), "192.0.2.1:1", "eight-88")
	if want := (entity.Actor{Type: "application", ID: p.TokenID, Name: "admin"}); err != nil || p.Actor() != want {
		t.Errorf("actor = %+v, %v", p.Actor(), err)
	}
}

// Who changes the chosen token means that the old one shall not work any more.
func TestAChangedTokenReplacesTheOld(t *testing.T) {
	t.Parallel()
	db, _ := open(t)
	first, err := auth.Bootstrap(t.Context(), db, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, chosen := range []string{"the-old-token", "the-new-token"} {
		if _, err := auth.Bootstrap(t.Context(), db, chosen); err != nil {
			t.Fatal(err)
		}
	}
	a := auth.New(auth.NewAccounts(db))
	for token, valid := range map[string]bool{first: true, "the-old-token": false, "the-new-token": true} {
		if _, err := a.Token(t.Context(), "192.0.2.1:1", token); (err == nil) != valid {
			t.Errorf("%s: %v", token, err)
		}
	}
}

func TestTokensAreDated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		made, chosen := &memory{}, &memory{}
		token, err := auth.Bootstrap(t.Context(), made, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := auth.Bootstrap(t.Context(), chosen, right); err != nil {
			t.Fatal(err)
		}
		for _, stored := range []auth.Token{made.byID[auth.Digest(token)], chosen.byID[auth.Digest(right)]} {
			if want := time.Now().UTC(); stored.CreatedAt != want {
				t.Errorf("token %q is of %v, want %v", stored.Name, stored.CreatedAt, want)
			}
		}
	})
}

// Cores that start at the same time on one database agree.
func TestStartsAtTheSameTime(t *testing.T) {
	t.Parallel()
	db, _ := open(t)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, errs[i] = auth.Bootstrap(t.Context(), db, "the-same-token") })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil || tokens(t, db) != 1 {
		t.Errorf("%v, %d tokens", err, tokens(t, db))
	}
}

func TestOnlyTheDigestIsStored(t *testing.T) {
	t.Parallel()
	db, dir := open(t)
	token, err := auth.Bootstrap(t.Context(), db, "")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		found = found || bytes.Contains(content, []byte(auth.Digest(token)))
		if bytes.Contains(content, []byte(token)) {
			t.Errorf("%s has the token", filepath.Base(name))
		}
	}
	if !found {
		t.Error("no file has the digest, so the test looks in the wrong place")
	}
}

func TestTokensDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		seen[auth.NewToken()] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d different tokens of 1000", len(seen))
	}
}

// memory is tokens and sessions without a database, for tests in a bubble of time.
type memory struct {
	auth.Store

	mu       sync.Mutex
	byID     map[string]auth.Token // by digest
	sessions map[string]auth.Session
	away     error
}

func (m *memory) TokenByDigest(_ context.Context, digest string) (auth.Token, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.byID[digest]
	if !ok && m.away == nil {
		return t, fault.New(fault.NotFound, "there is no such token")
	}
	return t, m.away
}

func (m *memory) Token(ctx context.Context, id string) (auth.Token, error) {
	m.mu.Lock()
	digest := ""
	for _, t := range m.byID {
		if t.ID == id {
			digest = t.Digest
		}
	}
	m.mu.Unlock()
	return m.TokenByDigest(ctx, digest)
}

func (m *memory) NoteTokenUse(context.Context, string, time.Time) error { return nil }
func (m *memory) Users(context.Context) ([]auth.Account, error)         { return nil, nil }

func (m *memory) UserByName(context.Context, string) (auth.Account, error) {
	return auth.Account{}, fault.New(fault.NotFound, "there is no such user")
}

func (m *memory) SessionByDigest(_ context.Context, digest string) (auth.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sessions[digest]
	if !ok && m.away == nil {
		return s, fault.New(fault.NotFound, "there is no such session")
	}
	return s, m.away
}

func (m *memory) DeleteSession(_ context.Context, digest string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sessions, digest)
	return nil
}

func (m *memory) InTx(_ context.Context, fn func(entity.Tx) error) error {
	return fn(memoryTx{memory: m})
}

// memoryTx is what opening a session needs of a transaction.
type memoryTx struct {
	auth.Tx
	*memory
}

func (tx memoryTx) InsertSession(_ context.Context, s auth.Session, _ int) error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.sessions == nil {
		tx.sessions = map[string]auth.Session{}
	}
	tx.sessions[s.Digest] = s
	return nil
}

func (m *memory) InsertToken(_ context.Context, t auth.Token) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byID == nil {
		m.byID = map[string]auth.Token{}
	}
	m.byID[t.Digest] = t
	return nil
}

func (m *memory) ReplaceToken(ctx context.Context, t auth.Token) error {
	m.mu.Lock()
	maps.DeleteFunc(m.byID, func(_ string, other auth.Token) bool { return other.Name == t.Name })
	m.mu.Unlock()
	return m.InsertToken(ctx, t)
}

func (m *memory) CountTokens(context.Context) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.byID), nil
}

// revoke takes the token away, as another core may.
func (m *memory) revoke(token string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byID, auth.Digest(token))
}

// fail makes the database away, or back with nil.
func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = err
}

const right = "a-right-token"

func holding(t *testing.T) (*auth.Authenticator, *memory) {
	t.Helper()
	m := &memory{}
	if _, err := auth.Bootstrap(t.Context(), m, right); err != nil {
		t.Fatal(err)
	}
	return auth.New(auth.NewAccounts(m)), m
}
