package satellite

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
	"github.com/perigee-monitoring/perigee/protocol"
)

// packages keeps the script packages of this satellite as the core wants them
// (spec G.5). One goroutine, Run, does one reconcile at a time; the sessions tell it
// what is wanted and lend it their connection while they last. What was fetched
// is on disk, so a reconcile that a lost connection ended goes on at the next.
type packages struct {
	store *scriptpkg.Store
	log   *slog.Logger
	bell  chan struct{} // holds one token: look at what is wanted

	mu      sync.Mutex
	told    bool    // the core has said what it wants
	wanted  *string // nil: no packages
	peer    *packagePeer
	settled bool    // ready is what was reconciled to
	ready   *string // nil counts as a value
	job     *packageJob
	unsent  *protocol.ScriptPackageSyncState // the last report, if it could not be sent
	status  PackageStatus
}

// packageJob is one reconcile.
type packageJob struct {
	wanted *string
	peer   *packagePeer
	cancel context.CancelFunc
}

// PackageStatus is how far the script packages are.
type PackageStatus struct {
	// State is pending until the core has said what it wants.
	State protocol.SyncState `json:"state"`
	// Wanted and Active are lockfile hashes; none for no packages.
	Wanted string `json:"wanted,omitempty"`
	Active string `json:"active,omitempty"`
	// Fetched of Missing packages, and their bytes, in the present or last reconcile.
	Missing int   `json:"missing"`
	Fetched int   `json:"fetched"`
	Bytes   int64 `json:"bytes"`
	// Error of the last reconcile, and when the next begins.
	Error   string     `json:"error,omitempty"`
	RetryAt *time.Time `json:"retryAt"`
}

const (
	// manifestTimeout and blobTimeout are how long the core may take to answer; a blob
	// in pieces begins anew with each.
	manifestTimeout = 30 * time.Second
	blobTimeout     = 60 * time.Second
	// blobsAtOnce are fetched in parallel, with piecesAtOnce on their way together: so
	// many bytes at most stand before a heartbeat's answer or a change of assignments
	// (spec M85).
	blobsAtOnce  = 4
	piecesAtOnce = 4
	// packageRetryFirst and packageRetryMost bound the wait before a reconcile that
	// failed is tried again (spec M87).
	packageRetryFirst = 5 * time.Second
	packageRetryMost  = 5 * time.Minute
	// packageSweep is how often old trees and packages are looked for.
	packageSweep = 10 * time.Minute
)

func newPackages(store *scriptpkg.Store, log *slog.Logger) *packages {
	return &packages{store: store, log: log, bell: make(chan struct{}, 1), status: PackageStatus{State: protocol.SyncPending}}
}

// want notes what the core wants. A reconcile to something else is given up.
func (p *packages) want(hash *string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told, p.wanted = true, hash
	if p.job != nil && !sameHash(p.job.wanted, hash) {
		p.job.cancel()
	}
	ring(p.bell)
}

// attach lends a connection; detach takes it back, and whoever waits for a reply over
// it is told at once (spec M22).
func (p *packages) attach(peer *packagePeer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.peer = peer
	ring(p.bell)
}

func (p *packages) detach(peer *packagePeer) {
	close(peer.gone)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.peer == peer {
		p.peer = nil
	}
}

func sameHash(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// Run reconciles whenever there is something to do, until the context ends.
func (p *packages) Run(ctx context.Context) error {
	sweep := time.NewTicker(packageSweep)
	defer sweep.Stop()
	p.sweep()
	failures := 0
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sweep.C:
			p.sweep()
			continue
		case <-p.bell:
		case <-retry:
		}
		retry = nil
		wait := p.once(ctx, &failures)
		if wait > 0 {
			retry = time.After(wait)
		}
	}
}

// once does one reconcile if one is due, and gives the time until it should be tried
// again, 0 for not before something changes.
func (p *packages) once(ctx context.Context, failures *int) time.Duration {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	job := p.take(cancel)
	if job == nil {
		p.repeat()
		return 0
	}
	err := p.reconcile(ctx, job)
	p.mu.Lock()
	p.job = nil
	p.mu.Unlock()
	switch {
	case err == nil:
		*failures = 0
		p.sweep()
		return 0
	case ctx.Err() != nil: // stopping, or something else is wanted: the bell has rung
		*failures = 0
		return 0
	case errors.Is(err, errDisconnected):
		p.log.Info("the script packages wait for the core", "lockfile_hash", *job.wanted, "error", err)
		return 0
	}
	*failures++
	wait := jitter(min(packageRetryFirst<<min(*failures-1, 10), packageRetryMost))
	p.failed(job, err, wait)
	return wait
}

// take is the job that is due, nil for none.
func (p *packages) take(cancel context.CancelFunc) *packageJob {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.peer == nil || !p.told || p.settled && sameHash(p.ready, p.wanted) {
		return nil
	}
	p.job = &packageJob{wanted: p.wanted, peer: p.peer, cancel: cancel}
	p.status.Wanted = ""
	if p.wanted != nil {
		p.status.Wanted = *p.wanted
	}
	p.status.Missing, p.status.Fetched, p.status.Bytes, p.status.RetryAt = 0, 0, 0, nil
	return p.job
}

// repeat sends a report that an earlier session could not, if it still holds.
func (p *packages) repeat() {
	p.mu.Lock()
	peer, m := p.peer, p.unsent
	holds := peer != nil && m != nil && p.settled && sameHash(p.ready, p.wanted)
	p.mu.Unlock()
	if holds {
		p.report(peer, m)
	}
}

// report tells the core how far it is (spec G.6).
func (p *packages) report(peer *packagePeer, m *protocol.ScriptPackageSyncState) {
	err := peer.send(m)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unsent = nil
	if err != nil {
		p.unsent = m
	}
	p.status.State, p.status.Error = m.Status, m.ErrorMessage
	p.status.Active = p.store.Current()
}

func (p *packages) failed(job *packageJob, err error, wait time.Duration) {
	p.log.Warn("the script packages are not as the core wants them", "lockfile_hash", *job.wanted, "error", err, "again_in", wait)
	p.report(job.peer, &protocol.ScriptPackageSyncState{
		LockfileHash: job.wanted, Status: protocol.SyncError, ErrorMessage: check.Truncate(err.Error(), protocol.MaxText),
	})
	at := time.Now().Add(wait)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.RetryAt = &at
}

// reconcile makes the wanted tree current (spec G.4). After an error the one before
// stays.
func (p *packages) reconcile(ctx context.Context, job *packageJob) error {
	if job.wanted == nil {
		if err := p.store.Clear(); err != nil {
			p.log.Warn("the script packages could not be left", "error", err)
		}
		p.done(job)
		return nil
	}
	p.report(job.peer, &protocol.ScriptPackageSyncState{LockfileHash: job.wanted, Status: protocol.SyncSyncing})
	if p.store.Current() != *job.wanted {
		if err := p.build(ctx, job); err != nil {
			return err
		}
	}
	p.done(job)
	return nil
}

func (p *packages) done(job *packageJob) {
	p.mu.Lock()
	p.settled, p.ready = true, job.wanted
	p.mu.Unlock()
	p.report(job.peer, &protocol.ScriptPackageSyncState{LockfileHash: job.wanted, Status: protocol.SyncReady})
}

func (p *packages) build(ctx context.Context, job *packageJob) error {
	entries, err := job.peer.manifest(ctx, *job.wanted)
	if err != nil {
		return err
	}
	missing, err := p.store.Missing(entries)
	if err != nil {
		return err
	}
	p.progress(len(missing), 0, 0)
	if err := p.fetch(ctx, job.peer, missing); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return p.store.Activate(*job.wanted, entries)
}

// progress adds to what the status shows.
func (p *packages) progress(missing, fetched int, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Missing += missing
	p.status.Fetched += fetched
	p.status.Bytes += bytes
}

// fetch puts packages into the cache. Blobs of an original core come whole, so one at
// a time is enough of them.
func (p *packages) fetch(ctx context.Context, peer *packagePeer, missing []scriptpkg.Entry) error {
	g, ctx := errgroup.WithContext(ctx)
	get, atOnce := p.whole, 1
	if peer.chunked {
		get, atOnce = p.inPieces, blobsAtOnce
	}
	g.SetLimit(atOnce)
	for _, e := range missing {
		g.Go(func() error {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if err := get(ctx, peer, e); err != nil {
				return err
			}
			p.progress(0, 1, 0)
			return nil
		})
	}
	return g.Wait()
}

func (p *packages) whole(ctx context.Context, peer *packagePeer, e scriptpkg.Entry) error {
	blob, err := peer.blob(ctx, e)
	if err != nil {
		return err
	}
	p.progress(0, 0, int64(len(blob)))
	return p.store.Add(e, bytes.NewReader(blob))
}

func (p *packages) inPieces(ctx context.Context, peer *packagePeer, e scriptpkg.Entry) error {
	partial, err := p.store.Partial(e)
	if err != nil {
		return err
	}
	d := download{peer: peer, entry: e, partial: partial, total: -1, progress: func(n int) { p.progress(0, 0, int64(n)) }}
	if err := d.run(ctx); err != nil {
		if errors.Is(err, errOtherBlob) {
			return errors.Join(err, partial.Discard())
		}
		return errors.Join(err, partial.Close())
	}
	blob, err := partial.Blob()
	if err != nil {
		return errors.Join(err, partial.Close())
	}
	// Good or bad, it has served: what does not unpack now never will.
	return errors.Join(p.store.Add(e, blob), partial.Discard())
}

func (p *packages) sweep() {
	if err := p.store.Sweep(); err != nil {
		p.log.Warn("old script packages could not be removed", "error", err)
	}
}

func (p *packages) get() PackageStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	status := p.status
	status.Active = p.store.Current()
	return status
}

// ResolutionRoot is the directory whose node_modules holds the packages that scripts
// may import; "" while there is none, or not the one that is wanted (spec L252).
func (s *Satellite) ResolutionRoot() string {
	s.packages.mu.Lock()
	wanted := s.packages.wanted
	if !s.packages.told { // cut off since the start: the last one goes on
		if current := s.packages.store.Current(); current != "" {
			wanted = &current
		}
	}
	s.packages.mu.Unlock()
	dir, _ := s.packages.store.ResolutionRoot(wanted)
	return dir
}

// ScriptDir is a scratch directory for one run of a script, in which imports find the
// current packages, if there are any, until done (probe.Options.ScriptDir).
func (s *Satellite) ScriptDir(context.Context) (dir string, done func(), err error) {
	run, err := s.packages.store.RunDir()
	if errors.Is(err, scriptpkg.ErrNoTree) {
		dir, err := os.MkdirTemp("", "perigee-script-")
		if err != nil {
			return "", nil, err
		}
		return dir, func() { s.tidied(os.RemoveAll(dir)) }, nil
	}
	if err != nil {
		return "", nil, err
	}
	return run.Path, func() { s.tidied(run.Close()) }, nil
}

func (s *Satellite) tidied(err error) {
	if err != nil {
		s.log.Warn("what a script left behind could not be removed", "error", err)
	}
}

// packagePeer is what a session is to packages: a way to ask and to report, for as
// long as it lasts.
type packagePeer struct {
	send    func(protocol.FromAgent) error
	chunked bool          // feature chunk
	gone    chan struct{} // closed when the session has ended
	pieces  chan struct{} // a place for each piece on its way

	manifests waiters[*protocol.ScriptPackageManifest]
	blobs     waiters[*protocol.ScriptPackageBlob]
	chunks    waiters[*protocol.BlobChunk]
}

func newPackagePeer(send func(protocol.FromAgent) error, chunked bool) *packagePeer {
	return &packagePeer{send: send, chunked: chunked, gone: make(chan struct{}), pieces: make(chan struct{}, piecesAtOnce)}
}

// Ways in which asking the core fails.
var (
	errDisconnected = errors.New("the connection to the core was lost")
	errNoReply      = errors.New("the core did not answer in time")
	errOtherBlob    = errors.New("the core gives pieces that do not belong together")
)

// answered hands a reply to whoever waits for it. It never blocks.
func (p *packagePeer) answered(m protocol.FromCore) {
	switch m := m.(type) {
	case *protocol.ScriptPackageManifest:
		p.manifests.answer(m.LockfileHash, m)
	case *protocol.ScriptPackageBlob:
		p.blobs.answer(m.Integrity, m)
	case *protocol.BlobChunk:
		p.chunks.answer(m.RequestID, m)
	}
}

// ask sends a request and waits for the reply with the key.
func ask[M any](ctx context.Context, p *packagePeer, w *waiters[M], key string, request protocol.FromAgent, patience time.Duration) (M, error) {
	var none M
	reply := w.add(key)
	defer w.drop(key, reply)
	if err := p.send(request); err != nil {
		return none, fmt.Errorf("%w: %w", errDisconnected, err)
	}
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	select {
	case m := <-reply:
		return m, nil
	case <-p.gone:
		return none, errDisconnected
	case <-deadline.C:
		return none, errNoReply
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// waiters wait for replies. Two requests for the same thing look the same on the wire,
// so a reply is for all who wait for its key (spec M23).
type waiters[M any] struct {
	mu      sync.Mutex
	waiting map[string][]chan M // guarded by mu; each holds one reply
}

func (w *waiters[M]) add(key string) chan M {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting == nil {
		w.waiting = make(map[string][]chan M)
	}
	reply := make(chan M, 1)
	w.waiting[key] = append(w.waiting[key], reply)
	return reply
}

func (w *waiters[M]) drop(key string, reply chan M) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var left []chan M
	for _, other := range w.waiting[key] {
		if other != reply {
			left = append(left, other)
		}
	}
	if w.waiting[key] = left; left == nil {
		delete(w.waiting, key)
	}
}

func (w *waiters[M]) answer(key string, m M) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, reply := range w.waiting[key] {
		reply <- m
	}
	delete(w.waiting, key)
}

// manifest asks what a hash holds, and believes no more than it must.
func (p *packagePeer) manifest(ctx context.Context, hash string) ([]scriptpkg.Entry, error) {
	reply, err := ask(ctx, p, &p.manifests, hash, &protocol.RequestScriptPackageManifest{LockfileHash: hash}, manifestTimeout)
	if err != nil {
		return nil, fmt.Errorf("asking for the manifest of %s: %w", hash, err)
	}
	if reply.Error != "" {
		return nil, fmt.Errorf("the core does not give the manifest of %s: %s", hash, reply.Error)
	}
	entries := make([]scriptpkg.Entry, 0, len(reply.Entries))
	for _, e := range reply.Entries {
		entries = append(entries, scriptpkg.Entry{
			Name: e.Name, Version: e.Version, Integrity: e.Integrity, BlobSha256: e.BlobSha256, Paths: e.Paths,
		})
	}
	// An original core gives an empty list for a hash that it does not know (spec M82).
	if len(entries) == 0 && hash != scriptpkg.LockfileHash(nil) {
		return nil, fmt.Errorf("the core knows no packages of %s", hash)
	}
	if !p.chunked { // its hash is opaque (spec G.2)
		return entries, nil
	}
	for _, e := range entries {
		if err := e.Validate(); err != nil {
			return nil, err
		}
		if e.BlobSha256 == "" {
			return nil, fmt.Errorf("the core does not say what the blob of %s@%s must be", e.Name, e.Version)
		}
	}
	if got := scriptpkg.LockfileHash(entries); got != hash {
		return nil, fmt.Errorf("the manifest is that of %s, not of %s", got, hash)
	}
	return entries, nil
}

// blob asks for a whole blob (spec N.2).
func (p *packagePeer) blob(ctx context.Context, e scriptpkg.Entry) ([]byte, error) {
	reply, err := ask(ctx, p, &p.blobs, e.Integrity, &protocol.RequestScriptPackageBlob{Integrity: e.Integrity}, blobTimeout)
	if err != nil {
		return nil, fmt.Errorf("asking for %s@%s: %w", e.Name, e.Version, err)
	}
	if reply.Data == nil {
		return nil, noBlob(e)
	}
	blob, err := base64.StdEncoding.DecodeString(*reply.Data)
	if err != nil {
		return nil, fmt.Errorf("reading the blob of %s@%s: %w", e.Name, e.Version, err)
	}
	return blob, nil
}

// missingBlob is that the core did not give a blob, in the original's words (spec G.6).
type missingBlob struct{ integrity string }

func (e missingBlob) Error() string {
	return "Core did not return blob " + e.integrity + "; cannot reconcile."
}

func noBlob(e scriptpkg.Entry) error { return missingBlob{e.Integrity} }
