package satellite

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

// childEnv makes the test binary a satellite: "<core URL> <data directory>".
const childEnv = "PERIGEE_TEST_SATELLITE"

// killsEnv is how often TestKill9 kills; the default keeps it short.
const killsEnv = "PERIGEE_TEST_KILLS"

// child runs a real satellite process against the test's core.
func child() {
	core, dir, _ := strings.Cut(os.Getenv(childEnv), " ")
	url, err := link.URL(core)
	if err != nil {
		panic(err)
	}
	p := &prober{execute: func(context.Context, *protocol.Assignment, *check.Environment) check.Result {
		took := time.Duration(rand.IntN(60)) * time.Millisecond // now and then longer than the interval
		timer := time.NewTimer(took)
		<-timer.C
		return healthy(took)
	}}
	s, err := New(Config{
		ID: satelliteID, Token: "csat_secret", DataDir: dir,
	}, p, []Core{{core, func(ctx context.Context) (link.Conn, error) {
		return link.Dial(ctx, url, link.Options{})
	}}}, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		panic(err)
	}
	s.spool.segmentSize = 8 << 10
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := s.Run(ctx); err != nil {
		panic(err)
	}
}

// A real process, real files and a real WebSocket: killed with SIGKILL at random
// instants, every slot reaches the core in exactly one record.
func TestKill9(t *testing.T) {
	t.Parallel()
	const interval = 40 * time.Millisecond
	kills := 20
	if n, err := strconv.Atoi(os.Getenv(killsEnv)); err == nil {
		kills = n
	}
	c := &core{revision: 1}
	for i := range 5 {
		c.assignments = append(c.assignments, assignment(fmt.Sprint("check-", i), "shop", interval))
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := link.Accept(w, r, link.Options{})
		if err != nil {
			t.Error(err)
			return
		}
		c.serving.Go(func() { c.serve(conn) })
	}))
	defer c.serving.Wait()
	defer server.Close()
	dir := t.TempDir()
	start := func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+server.URL+" "+dir)
		cmd.Stderr = t.Output()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	for range kills {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(20+rand.IntN(400))*time.Millisecond)
		cmd := start(ctx)
		if err := cmd.Wait(); err == nil {
			t.Error("the satellite ended by itself")
		}
		cancel()
		c.set(func(c *core) { c.holdAcks = rand.IntN(3) == 0 })
	}
	c.set(func(c *core) { c.holdAcks = false })
	heard := c.slotAfter(time.Now()) // which those that were killed cannot have sent
	cmd := start(t.Context())
	<-heard
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("stopping: %v", err)
	}
	d, err := loadDesired(filepath.Join(dir, "desired.json"))
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, filepath.Join(dir, "spool"), DefaultSpoolBytes)
	defer s.Close()
	if n := s.Status().Records; n != 0 || len(d.Ledger) != 5 {
		t.Errorf("%d records wait after a clean stop, %d eras", n, len(d.Ledger))
	}
	ran := 0
	for _, e := range d.Ledger {
		last, _ := s.Accounted(e.key())
		results, _ := audit(t, c, e.key(), interval, time.UnixMilli(e.Since), time.UnixMilli(last))
		ran += len(results)
	}
	if ran == 0 {
		t.Error("nothing ran")
	}
	t.Logf("%d kills, %d results", kills, ran)
}
