package pgtest_test

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/perigee-monitoring/perigee/internal/pgtest"
)

const asChild = "PGTEST_CHILD"

// TestMain can also be the child of TestClusterDiesWithItsProcess: it starts a
// cluster, says where, and waits to be killed.
func TestMain(m *testing.M) {
	if os.Getenv(asChild) == "" {
		goleak.VerifyTestMain(m)
		return
	}
	c, err := pgtest.Start(os.Getenv(asChild))
	if err != nil {
		panic(err)
	}
	os.Stdout.WriteString(c.URL() + "\n")
	select {}
}

func answers(t *testing.T, url string) error {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		return err
	}
	return errors.Join(conn.Ping(t.Context()), conn.Close(context.WithoutCancel(t.Context())))
}

func TestEachTestHasItsOwnDatabase(t *testing.T) {
	t.Parallel()
	a, b := pgtest.URL(t), pgtest.URL(t)
	if a == b {
		t.Fatalf("both are %s", a)
	}
	for _, url := range []string{a, b} {
		if err := answers(t, url); err != nil {
			t.Error(err)
		}
	}
}

func TestKillAndRestart(t *testing.T) {
	t.Parallel()
	c := pgtest.New(t)
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := answers(t, c.URL()); err == nil {
		t.Error("a killed server answers")
	}
	if err := c.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := answers(t, c.URL()); err != nil {
		t.Error(err)
	}
}

func TestClusterDiesWithItsProcess(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "pgtest-child-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), asChild+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the child did not start a cluster")
	}
	url := lines.Text()
	if err := answers(t, url); err != nil {
		t.Error(err)
	}

	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // killed

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			break
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			t.Fatalf("%s is still there", dir)
		}
	}
	if err := answers(t, url); err == nil {
		t.Error("the server outlived the process that started it")
	}
}
