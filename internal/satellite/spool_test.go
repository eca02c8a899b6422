package satellite

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func open(t testing.TB, dir string, limit int64) *spool {
	t.Helper()
	s, err := openSpool(dir, limit, quiet)
	if err != nil {
		t.Fatal(err)
	}
	s.sync = func(*os.File) error { return nil } // a kill needs none
	return s
}

// result is a record of the key's slot with some bytes of evidence.
func result(key check.Key, slot int64, bytes int) protocol.Record {
	latency := 1.0
	return protocol.Record{Result: &protocol.Result{
		ConfigID: key.CheckID, SystemID: key.SystemID, Status: check.Healthy, LatencyMs: &latency,
		ExecutedAt: "2026-11-22T00:00:00.000Z", Slot: slot,
		Result: &check.Result{Status: check.Healthy, Message: strings.Repeat("x", bytes)},
	}}
}

func seqs(entries []entry) []int64 {
	all := []int64{}
	for _, e := range entries {
		all = append(all, e.Seq)
	}
	return all
}

func take(t testing.TB, s *spool, after int64) []entry {
	t.Helper()
	var all []entry
	for {
		got, err := s.Take(after, 8<<10, 100, true)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			return all
		}
		all = append(all, got...)
		after = got[len(got)-1].Seq
	}
}

func TestL100_L101_L102_L103_SpoolKeepsOrder(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), DefaultSpoolBytes)
	if n := s.Status().Records; n != 0 {
		t.Errorf("a new spool holds %d records", n)
	}
	if got := take(t, s, 0); len(got) != 0 {
		t.Errorf("a new spool gives %v", got)
	}
	for slot := range int64(5) {
		s.Append(result(front, slot+1, 10))
	}
	if n := s.Status().Records; n != 5 {
		t.Errorf("%d records after five", n)
	}
	if diff := cmp.Diff([]int64{1, 2, 3, 4, 5}, seqs(take(t, s, 0))); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	s.Ack(5)
	if got, n := take(t, s, s.Acked()), s.Status().Records; len(got) != 0 || n != 0 {
		t.Errorf("after the last ack: %v, %d records", got, n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(filepath.Join(s.dir, "*"+segmentSuffix)); len(files) != 0 {
		t.Errorf("acknowledged segments stay: %v", files)
	}
	s = open(t, s.dir, DefaultSpoolBytes)
	defer s.Close()
	if slot, ok := s.Accounted(front); !ok || slot != 5 {
		t.Errorf("the last slot accounted for is %d", slot)
	}
	s.Append(result(front, 6, 10))
	if diff := cmp.Diff([]int64{6}, seqs(take(t, s, 0))); diff != "" {
		t.Errorf("sequence after a restart (-want +got):\n%s", diff)
	}
}

// Over its bound the spool drops the oldest, counts them, and accounts for their
// slots; what may have reached the core stays.
func TestL104_L105_M3_FullSpoolDropsTheOldest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, 64<<10)
	const slots = 1000
	for slot := range int64(slots) {
		s.Append(result(front, slot+1, 1000))
		if slot == 9 {
			if got := take(t, s, 0); len(got) != 10 {
				t.Fatalf("took %d", len(got))
			}
		}
	}
	if got := s.Status(); got.Bytes > 64<<10+8<<10 || got.Dropped < 900 {
		t.Errorf("status %+v", got)
	}
	check := func(s *spool) {
		t.Helper()
		all := take(t, s, 0)
		accounted := int64(0)
		results := int64(0)
		for i, e := range all {
			_, from, to := span(&e.Record)
			if from != accounted+1 {
				t.Fatalf("record %d is about slots %d to %d, after %d", i, from, to, accounted)
			}
			if e.Skip != nil && (e.Skip.Reason != protocol.SkipOverflow || e.Skip.Count != to-from+1) {
				t.Errorf("skip %+v", e.Skip)
			}
			if e.Result != nil {
				results++
			}
			if i < 10 && e.Result == nil {
				t.Errorf("record %d had been sent and was dropped", i)
			}
			accounted = to
		}
		if accounted != slots {
			t.Errorf("%d slots accounted for, want %d", accounted, slots)
		}
		if dropped := s.Status().Dropped; results+dropped != slots {
			t.Errorf("%d results and %d dropped do not make %d", results, dropped, slots)
		}
	}
	s = crash(t, s)
	check(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, s.dir, 64<<10)
	defer s.Close()
	check(s)
}

// crash opens the spool anew as a process would that follows a killed one.
func crash(t testing.TB, s *spool) *spool {
	t.Helper()
	if s.active != nil {
		s.active.Close()
	}
	s.position.f.Close()
	return open(t, s.dir, s.limit)
}

// Crashes in the middle of replacing a segment by its summary: whatever files are
// left, no slot is accounted for twice.
func TestLeftoversOfACrashAreRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, 64<<10)
	for slot := range int64(100) {
		s.Append(result(front, slot+1, 1000))
	}
	// A summary that was superseded, and a file that was not written to its end.
	summary := s.segments[0]
	if !summary.summary {
		t.Fatalf("the first segment is %+v", summary)
	}
	b, err := os.ReadFile(summary.path)
	if err != nil {
		t.Fatal(err)
	}
	old := append(segmentHeader(summaryMagic, summary.covers), b[headerSize:]...)
	if err := os.WriteFile(segmentPath(dir, summary.covers), old, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, temporaryPrefix+"123"), old, 0o600); err != nil {
		t.Fatal(err)
	}
	s = crash(t, s)
	defer s.Close()
	accounted := int64(0)
	for _, e := range take(t, s, 0) {
		_, from, to := span(&e.Record)
		if from != accounted+1 {
			t.Fatalf("slots %d to %d follow %d", from, to, accounted)
		}
		accounted = to
	}
	if accounted != 100 {
		t.Errorf("%d slots accounted for", accounted)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, temporaryPrefix+"*")); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

// Whatever happens to it, the spool gives back what was appended and not
// acknowledged, in order, and sequence numbers only rise. A torn end costs the
// records that were torn, nothing before them.
func TestSpoolSurvives(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		s := open(t, dir, DefaultSpoolBytes)
		s.segmentSize = 4 << 10
		defer func() { s.Close() }()
		var model []int64 // sequence numbers that wait
		var last, acked, sent, slot int64
		slots := map[int64]int64{} // by sequence number
		expect := func() {
			all := take(t, s, acked)
			if diff := cmp.Diff(append([]int64{}, model...), seqs(all)); diff != "" {
				rt.Fatalf("records (-want +got):\n%s", diff)
			}
			for _, e := range all {
				if e.Result.Slot != slots[e.Seq] {
					rt.Fatalf("record %d is about slot %d, want %d", e.Seq, e.Result.Slot, slots[e.Seq])
				}
			}
			sent = last
			if got := s.Status().Records; got != int64(len(model)) {
				rt.Fatalf("the status counts %d records, %d wait", got, len(model))
			}
			if got, ok := s.Accounted(front); slot > 0 && (!ok || got != slot) {
				rt.Fatalf("accounted up to %d, want %d", got, slot)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				for range rapid.IntRange(1, 20).Draw(rt, "records") {
					slot++
					s.Append(result(front, slot, rapid.IntRange(0, 2000).Draw(rt, "bytes")))
					if s.next-1 <= last {
						rt.Fatalf("sequence number %d after %d", s.next-1, last)
					}
					last = s.next - 1
					model = append(model, last)
					slots[last] = slot
				}
			},
			"take": func(*rapid.T) { expect() },
			"ack": func(rt *rapid.T) {
				if sent <= acked {
					rt.Skip()
				}
				upTo := rapid.Int64Range(acked+1, sent).Draw(rt, "upTo")
				s.Ack(upTo)
				acked = upTo
				for len(model) > 0 && model[0] <= upTo {
					model = model[1:]
				}
			},
			"sync": func(*rapid.T) { s.flush() },
			"crash": func(*rapid.T) {
				s = crash(t, s)
				s.segmentSize = 4 << 10
				if s.Acked() != acked {
					rt.Fatalf("acknowledged up to %d, want %d", s.Acked(), acked)
				}
			},
			"torn": func(rt *rapid.T) {
				// Only the last segment can be torn, and only behind its last sync.
				if s.active == nil || len(model) == 0 {
					rt.Skip("nothing that could tear")
				}
				seg := s.segments[len(s.segments)-1]
				cut := rapid.Int64Range(0, min(100, seg.size-headerSize)).Draw(rt, "cut")
				if cut == 0 || cut > s.unsynced || seg.last != model[len(model)-1] {
					rt.Skip()
				}
				if err := s.active.Truncate(seg.size - cut); err != nil {
					rt.Fatal(err)
				}
				s = crash(t, s)
				s.segmentSize = 4 << 10
				// Frames are longer than what was cut: exactly one record is gone.
				gone := model[len(model)-1]
				model = model[:len(model)-1]
				slot = slots[gone] - 1
				last = max(gone-1, s.next-1)
			},
			"restart": func(rt *rapid.T) {
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				s = open(t, dir, DefaultSpoolBytes)
				s.segmentSize = 4 << 10
			},
			"": func(rt *rapid.T) {},
		})
		expect()
	})
}

// Records of many keys through a spool that is far too small, killed, cut off and
// acknowledged at random: at the core, every slot of every key is in exactly one
// record.
func TestOverflowAccountsForEverySlot(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		s := open(t, dir, 64<<10)
		defer func() { s.Close() }()
		keys := make([]check.Key, 5)
		for i := range keys {
			keys[i] = check.Key{CheckID: fmt.Sprint("check-", i), SystemID: "shop"}
		}
		due := map[check.Key]int64{}
		received := map[int64]protocol.Record{} // by sequence number
		next := int64(0)
		receive := func(most int) {
			for range most {
				got, err := s.Take(next, 4<<10, 20, true)
				if err != nil {
					rt.Fatal(err)
				}
				for _, e := range got {
					if old, ok := received[e.Seq]; ok {
						if diff := cmp.Diff(old, e.Record); diff != "" {
							rt.Fatalf("record %d changed after it was sent:\n%s", e.Seq, diff)
						}
					}
					received[e.Seq] = e.Record
					next = e.Seq
				}
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				for range rapid.IntRange(1, 100).Draw(rt, "records") {
					key := keys[rapid.IntRange(0, len(keys)-1).Draw(rt, "key")]
					due[key]++
					if rapid.IntRange(0, 9).Draw(rt, "kind") == 0 {
						n := rapid.Int64Range(0, 5).Draw(rt, "more")
						skip := newSkip(key, due[key], due[key]+n, n+1, protocol.SkipOverlap)
						due[key] += n
						s.Append(protocol.Record{Skip: skip})
						continue
					}
					s.Append(result(key, due[key], rapid.IntRange(0, 3000).Draw(rt, "bytes")))
				}
			},
			"send":      func(rt *rapid.T) { receive(rapid.IntRange(1, 5).Draw(rt, "batches")) },
			"ack":       func(*rapid.T) { s.Ack(next) },
			"reconnect": func(*rapid.T) { next = s.Acked() },
			"kill": func(*rapid.T) {
				s = crash(t, s)
				next = s.Acked()
			},
			"": func(rt *rapid.T) {
				if bytes := s.Status().Bytes; bytes > 64<<10+64<<10 {
					rt.Fatalf("%d bytes", bytes)
				}
			},
		})
		receive(1000)
		times := map[check.Key]map[int64]int{}
		for _, r := range received {
			key, from, to := span(&r)
			if times[key] == nil {
				times[key] = map[int64]int{}
			}
			for slot := from; slot <= to; slot++ {
				times[key][slot]++
			}
			if r.Skip != nil && r.Skip.Count != to-from+1 {
				rt.Fatalf("a skip from %d to %d counts %d", from, to, r.Skip.Count)
			}
		}
		for key, n := range due {
			for slot := int64(1); slot <= n; slot++ {
				if times[key][slot] != 1 {
					rt.Fatalf("%v slot %d is in %d records", key, slot, times[key][slot])
				}
			}
		}
	})
}

// A full disk: nothing crashes, the status says so, records go on from memory,
// and when there is room again they are on disk, in order.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), DefaultSpoolBytes)
	full := false
	s.write = func(f *os.File, b []byte) (int, error) {
		if full {
			n, _ := f.Write(b[:len(b)/2])
			return n, syscall.ENOSPC
		}
		return f.Write(b)
	}
	s.Append(result(front, 1, 100))
	full = true
	s.Append(result(front, 2, 100))
	s.Append(result(front, 3, 100))
	s.flush()
	if got := s.Status(); got.InRAM != 2 || !strings.Contains(got.Error, syscall.ENOSPC.Error()) {
		t.Errorf("status %+v", got)
	}
	if diff := cmp.Diff([]int64{1, 2, 3}, seqs(take(t, s, 0))); diff != "" {
		t.Errorf("while the disk is full (-want +got):\n%s", diff)
	}
	s.Ack(2)
	full = false
	s.Append(result(front, 4, 100)) // behind what waits in memory
	s.flush()
	if got := s.Status(); got.InRAM != 0 || got.Error != "" {
		t.Errorf("status %+v", got)
	}
	s = crash(t, s)
	defer s.Close()
	if diff := cmp.Diff([]int64{3, 4}, seqs(take(t, s, s.Acked()))); diff != "" {
		t.Errorf("after there was room again (-want +got):\n%s", diff)
	}
}

// A disk that stays full: memory is bounded too, and the account still adds up.
func TestDiskStaysFull(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), DefaultSpoolBytes)
	s.write = func(*os.File, []byte) (int, error) { return 0, syscall.ENOSPC }
	const slots = 3000
	for slot := range int64(slots) {
		s.Append(result(front, slot+1, 4000))
	}
	status := s.Status()
	if status.Bytes > 2*tailBytes {
		t.Errorf("%d bytes in memory", status.Bytes)
	}
	accounted, results := int64(0), int64(0)
	for _, e := range take(t, s, 0) {
		_, from, to := span(&e.Record)
		if from != accounted+1 {
			t.Fatalf("slots %d to %d follow %d", from, to, accounted)
		}
		if e.Result != nil {
			results++
		}
		accounted = to
	}
	if accounted != slots || results+status.Dropped != slots {
		t.Errorf("%d slots, %d results, %d dropped", accounted, results, status.Dropped)
	}
	if err := s.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("closing: %v", err)
	}
}

// The largest evidence fits into a frame, whatever is in it, and does not hide what
// comes after it.
func TestLargestEvidenceIsReadBack(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), DefaultSpoolBytes)
	large := result(front, 1, 0)
	large.Result.Result.Metadata.Collectors = map[string]json.RawMessage{
		"e1": json.RawMessage(`"` + strings.Repeat("<&>", protocol.MaxResult/3-1) + `"`),
	}
	s.Append(large)
	s.Append(result(front, 2, 10))
	s = crash(t, s)
	defer s.Close()
	got := take(t, s, 0)
	if diff := cmp.Diff([]int64{1, 2}, seqs(got)); diff != "" {
		t.Fatalf("records (-want +got):\n%s", diff)
	}
	want := large.Result.Result.Metadata.Collectors["e1"]
	if !bytes.Equal(want, got[0].Result.Result.Metadata.Collectors["e1"]) {
		t.Error("the evidence changed on its way through the spool")
	}
}

// Bytes that were changed on disk end a segment there; what is before them is good.
func TestSpoolNoticesDamage(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), DefaultSpoolBytes)
	for slot := range int64(10) {
		s.Append(result(front, slot+1, 100))
	}
	seg := s.segments[0]
	b, err := os.ReadFile(seg.path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-20] ^= 1
	if err := os.WriteFile(seg.path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s = crash(t, s)
	defer s.Close()
	if got := take(t, s, 0); len(got) != 9 {
		t.Errorf("%d records", len(got))
	}
	if slot, _ := s.Accounted(front); slot != 9 {
		t.Errorf("accounted up to %d: the damaged record's slot would be lost", slot)
	}
}

func TestPositionSurvivesATornWrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "position")
	p, _, err := openPosition(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(5) {
		if err := p.write(position{acked: i, sent: 2 * i, dropped: 3 * i, begun: 4 * i}); err != nil {
			t.Fatal(err)
		}
	}
	torn := int64(p.generation%2) * positionSlot
	if _, err := p.f.WriteAt([]byte{0xff}, torn+9); err != nil {
		t.Fatal(err)
	}
	p.f.Close()
	p, got, err := openPosition(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.f.Close()
	if want := (position{acked: 3, sent: 6, dropped: 9, begun: 12}); got != want {
		t.Errorf("got %+v, want the write before the torn one, %+v", got, want)
	}
}

// FuzzSegment: no file can crash the start, or make it read more than there is.
func FuzzSegment(f *testing.F) {
	good := segmentHeader(segmentMagic, 1)
	r := result(front, 1, 10)
	r.Seq = 1
	good, _ = appendFrame(good, &stored{Record: r})
	f.Add(good)
	f.Add(good[:len(good)-3])
	f.Add(segmentHeader(summaryMagic, 1))
	f.Add([]byte("perisp0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(segmentPath(dir, 1), b, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, DefaultSpoolBytes)
		defer s.Close()
		take(t, s, 0)
	})
}

func BenchmarkSpoolAppend(b *testing.B) {
	s := open(b, b.TempDir(), DefaultSpoolBytes)
	defer s.Close()
	records := make([]protocol.Record, 64)
	for i := range records {
		records[i] = result(front, int64(i+1), 400+rand.IntN(400))
	}
	payload, _ := json.Marshal(records[0])
	b.SetBytes(int64(len(payload)))
	for i := 0; b.Loop(); i++ {
		s.Append(records[i%len(records)])
	}
}

func BenchmarkSpoolAppendSync(b *testing.B) {
	s := open(b, b.TempDir(), DefaultSpoolBytes)
	s.sync = (*os.File).Sync
	defer s.Close()
	record := result(front, 1, 600)
	for b.Loop() {
		s.Append(record)
		s.flush()
	}
}

func BenchmarkSpoolTake(b *testing.B) {
	s := open(b, b.TempDir(), DefaultSpoolBytes)
	defer s.Close()
	for slot := range int64(10_000) {
		s.Append(result(front, slot+1, 600))
	}
	after, records := int64(0), 0
	for b.Loop() {
		got, err := s.Take(after, protocol.MaxBatchBytes, protocol.MaxBatchRecords, true)
		if err != nil {
			b.Fatal(err)
		}
		records += len(got)
		after += int64(len(got))
		if len(got) == 0 {
			after = 0
		}
	}
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
}
