package satellite

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/internal/npmtest"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
	"github.com/perigee-monitoring/perigee/protocol"
)

// shelf is what a core has of packages.
type shelf struct {
	entries []protocol.ManifestEntry
	blobs   map[string][]byte
}

func (s *shelf) add(t *testing.T, name, version string, tarball []byte) {
	t.Helper()
	blob, err := scriptpkg.Pack(name, version, bytes.NewReader(tarball), scriptpkg.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	integrity := scriptpkg.IntegrityOf(tarball)
	if s.blobs == nil {
		s.blobs = map[string][]byte{}
	}
	s.blobs[integrity] = blob
	s.entries = append(s.entries, protocol.ManifestEntry{
		Name: name, Version: version, Integrity: integrity, BlobSha256: scriptpkg.Sha256(blob), Paths: []string{"node_modules/" + name},
	})
}

func (s *shelf) hash() string {
	var entries []scriptpkg.Entry
	for _, e := range s.entries {
		entries = append(entries, scriptpkg.Entry{Name: e.Name, Version: e.Version, Integrity: e.Integrity})
	}
	return scriptpkg.LockfileHash(entries)
}

func (s *shelf) answer(m protocol.FromAgent) protocol.FromCore {
	switch m := m.(type) {
	case *protocol.RequestScriptPackageManifest:
		return &protocol.ScriptPackageManifest{LockfileHash: m.LockfileHash, Entries: s.entries}
	case *protocol.RequestScriptPackageBlob:
		reply := &protocol.ScriptPackageBlob{Integrity: m.Integrity}
		if blob := s.blobs[m.Integrity]; blob != nil {
			data := base64.StdEncoding.EncodeToString(blob)
			reply.Data = &data
		}
		return reply
	case *protocol.BlobRequest:
		blob := s.blobs[m.Integrity]
		size := int64(len(blob))
		from := min(m.Offset, size)
		return &protocol.BlobChunk{
			RequestID: m.RequestID, Offset: m.Offset, Total: size, Sha256: scriptpkg.Sha256(blob),
			Data: base64.StdEncoding.EncodeToString(blob[from:min(from+m.Length, size)]),
		}
	}
	return nil
}

// big is a tarball that does not compress.
func big(t *testing.T, size int) []byte {
	t.Helper()
	noise := make([]byte, size)
	source := rand.NewChaCha8([32]byte{1})
	if _, err := source.Read(noise); err != nil {
		t.Fatal(err)
	}
	return npmtest.Pack(t, map[string]string{"package.json": `{"name":"big","version":"1.0.0"}`, "noise": string(noise)})
}

func states(c *core) []protocol.SyncState {
	var all []protocol.SyncState
	for _, m := range heardOf[*protocol.ScriptPackageSyncState](c) {
		all = append(all, m.Status)
	}
	return all
}

func TestL245_PackagesArriveFromBothKindsOfCores(t *testing.T) {
	t.Parallel()
	for _, original := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var s shelf
			s.add(t, "@sindresorhus/slugify", "1.1.2", npmtest.Tarball(t, "@sindresorhus/slugify@1.1.2"))
			s.add(t, "is-odd", "3.0.1", npmtest.Tarball(t, "is-odd@3.0.1"))
			if original {
				for i := range s.entries {
					s.entries[i].Paths = nil
				}
			}
			c := &core{original: original, hash: protocol.Of(s.hash()), answer: s.answer}
			r := newRig(t, c)
			r.start()
			sleep(time.Second)
			if got := r.satellite.Status().Packages; got.Active != s.hash() || got.Fetched != 2 || r.satellite.ResolutionRoot() == "" {
				t.Errorf("the status is %+v", got)
			}
			if diff := cmp.Diff([]protocol.SyncState{protocol.SyncSyncing, protocol.SyncReady}, states(c)); diff != "" {
				t.Errorf("reports (-want +got):\n%s", diff)
			}
			r.end()
		})
	}
}

// An original core has no pieces: a blob is one message, however large (spec A.1).
func TestA1_ALargePackageOfAnOriginalCoreArrives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s shelf
		s.add(t, "big", "1.0.0", big(t, 14<<20)) // 19 MiB as it travels
		s.entries[0].Paths = nil
		c := &core{original: true, hash: protocol.Of(s.hash()), answer: s.answer}
		r := newRig(t, c)
		r.start()
		sleep(time.Second)
		if got := r.satellite.Status().Packages; got.Active != s.hash() || len(c.conns) != 1 {
			t.Errorf("after %d connections the status is %+v", len(c.conns), got)
		}
		r.end()
	})
}

func TestM85_M22_ACutDownloadGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s shelf
		s.add(t, "big", "1.0.0", big(t, 3<<20))
		size, sent, cut := int64(len(s.blobs[s.entries[0].Integrity])), int64(0), false
		c := &core{hash: protocol.Of(s.hash())}
		c.answer = func(m protocol.FromAgent) protocol.FromCore {
			if request, ok := m.(*protocol.BlobRequest); ok {
				if !cut && request.Offset >= size/2 {
					cut = true
					conn := c.conns[len(c.conns)-1]
					go conn.Close(link.Lost, "")
					return nil
				}
				sent += min(request.Length, size-request.Offset)
			}
			return s.answer(m)
		}
		r := newRig(t, c)
		r.start()
		sleep(10 * time.Second)
		if got := r.satellite.Status().Packages; got.Active != s.hash() {
			t.Errorf("the status is %+v", got)
		}
		r.end()
		if over := sent - size; !cut || over > piecesAtOnce*protocol.MaxChunk {
			t.Errorf("cut %v; %d bytes more than the blob were sent", cut, over)
		}
	})
}

// What is wanted changes three times while the first manifest is on its way: one tree
// is made, and the last word is about the hash that is wanted last.
func TestL113_RequestsCoalesce(t *testing.T) {
	t.Parallel()
	for _, original := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var first, last shelf
			first.add(t, "is-odd", "3.0.1", npmtest.Tarball(t, "is-odd@3.0.1"))
			last.add(t, "is-number", "6.0.0", npmtest.Tarball(t, "is-number@6.0.0"))
			c := &core{original: original, hash: protocol.Of(first.hash())}
			c.answer = func(m protocol.FromAgent) protocol.FromCore {
				if asked, ok := m.(*protocol.RequestScriptPackageManifest); ok && asked.LockfileHash != last.hash() {
					return nil // late, and of no interest by then
				}
				return last.answer(m)
			}
			r := newRig(t, c)
			r.start()
			sleep(time.Second)
			for _, hash := range []string{"b", "c", last.hash()} {
				c.push(&protocol.RefreshScriptPackages{LockfileHash: hash})
			}
			sleep(time.Second)
			r.end()
			reports := heardOf[*protocol.ScriptPackageSyncState](c)
			if end := reports[len(reports)-1]; end.Status != protocol.SyncReady || end.LockfileHash == nil || *end.LockfileHash != last.hash() {
				t.Errorf("the last report is %+v", end)
			}
			ended := 0
			for _, m := range reports {
				if m.Status != protocol.SyncSyncing {
					ended++
				}
			}
			if ended != 1 {
				t.Errorf("%d trees came to an end, want that of the last hash alone", ended)
			}
		})
	}
}

func TestL112_M87_NoBlobIsAnErrorAndTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s shelf
		s.add(t, "is-odd", "3.0.1", npmtest.Tarball(t, "is-odd@3.0.1"))
		blobs := s.blobs
		s.blobs = nil
		c := &core{original: true, hash: protocol.Of(s.hash()), answer: s.answer}
		r := newRig(t, c)
		r.start()
		sleep(time.Second)
		reports := heardOf[*protocol.ScriptPackageSyncState](c)
		want := "Core did not return blob " + s.entries[0].Integrity + "; cannot reconcile."
		if last := reports[len(reports)-1]; last.Status != protocol.SyncError || last.ErrorMessage != want {
			t.Errorf("the last report is %+v", last)
		}
		c.set(func(*core) { s.blobs = blobs })
		sleep(time.Minute)
		if got := r.satellite.Status().Packages; got.State != protocol.SyncReady {
			t.Errorf("a minute later: %+v", got)
		}
		r.end()
	})
}

func TestL246_ForgedBlobIsRefusedAndTheTreeStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var good, forged shelf
		good.add(t, "is-odd", "3.0.1", npmtest.Tarball(t, "is-odd@3.0.1"))
		forged.add(t, "big", "1.0.0", big(t, 1000))
		forged.blobs[forged.entries[0].Integrity] = []byte("forged")
		c := &core{hash: protocol.Of(good.hash()), answer: good.answer}
		r := newRig(t, c)
		r.start()
		sleep(time.Second)
		c.set(func(c *core) { c.answer = forged.answer })
		c.push(&protocol.RefreshScriptPackages{LockfileHash: forged.hash()})
		sleep(time.Second)
		if got := r.satellite.Status().Packages; got.State != protocol.SyncError || got.Active != good.hash() {
			t.Errorf("the status is %+v", got)
		}
		r.end()
	})
}

// A shell script runs node, which imports what has arrived.
func TestL252_ScriptsFindThePackages(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("node"); err != nil {
		t.Fatal("this test needs node in PATH: ", err)
	}
	synctest.Test(t, func(t *testing.T) {
		var s shelf
		s.add(t, "is-odd", "3.0.1", npmtest.Tarball(t, "is-odd@3.0.1"))
		s.add(t, "is-number", "6.0.0", npmtest.Tarball(t, "is-number@6.0.0"))
		c := &core{hash: protocol.Of(s.hash()), answer: s.answer}
		r := newRig(t, c)
		r.start()
		sleep(time.Second)
		dir, done, err := r.satellite.ScriptDir(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		command := exec.CommandContext(t.Context(), "node", "-p", "require('is-odd')(3)")
		command.Dir = dir
		if out, err := command.CombinedOutput(); err != nil || string(out) != "true\n" {
			t.Errorf("node prints %q (%v)", out, err)
		}
		done()
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the directory is still there (%v)", err)
		}
		r.end()
	})
}

func TestM23_TwoIdenticalRequestsAreBothAnswered(t *testing.T) {
	t.Parallel()
	var w waiters[json.Number]
	one, two := w.add("k"), w.add("k")
	w.answer("k", "1")
	if a, b := <-one, <-two; a != "1" || b != "1" {
		t.Errorf("got %s and %s", a, b)
	}
	w.drop("k", one)
	w.drop("k", two)
	if len(w.waiting) != 0 {
		t.Errorf("%d keys are left", len(w.waiting))
	}
}
