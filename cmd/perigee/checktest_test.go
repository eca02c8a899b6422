package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A watched script runs again whenever it changes, until it is told to stop.
func TestCheckTestWatches(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "check.ts")
	write := func(text string) {
		t.Helper()
		whole := file + ".new" // as editors do
		if err := os.WriteFile(whole, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(whole, file); err != nil {
			t.Fatal(err)
		}
	}
	write(`return "first"`)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	read, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		c := &CheckTestCmd{File: file, System: "s", Runtime: "builtin", Within: time.Minute, Watch: true}
		err := c.Run(ctx, &app{out: out, errw: io.Discard, format: "table"})
		out.Close()
		ended <- err
	}()
	lines := bufio.NewScanner(read)
	next := func(want string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("it ended without %q", want)
	}
	next("first")
	write(`throw new Error("second")`)
	next("check.ts:1:")
	write(`return "third"`)
	next("third")
	stop()
	for lines.Scan() { // what else it says
		_ = lines.Text()
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
