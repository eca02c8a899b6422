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
	readErrors, errors := io.Pipe()
	said := make(chan string, 100)
	go func() {
		for lines := bufio.NewScanner(readErrors); lines.Scan(); {
			said <- lines.Text()
		}
		close(said)
	}()
	nextError := func(want string) {
		t.Helper()
		for line := range said {
			if strings.Contains(line, want) {
				return
			}
		}
		t.Fatalf("it ended without %q", want)
	}
	ended := make(chan error, 1)
	go func() {
		c := &CheckTestCmd{File: file, System: "s", Runtime: "builtin", Within: time.Minute, Watch: true}
		err := c.Run(ctx, &app{out: out, errw: errors, format: "table"})
		out.Close()
		errors.Close()
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
	write(`return = "wrong"`)
	next(`Unexpected "="`)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	write(`return "third"`)
	next("third")
	write("") // as editors do that cut it short first
	nextError("script is missing")
	if err := os.WriteFile(file, []byte(`return "fourth"`), 0o600); err != nil {
		t.Fatal(err)
	}
	next("fourth")
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	write(`return "the fifth"`) // with the time of the one before, as some tools leave it
	if err := os.Chtimes(file, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	next("the fifth")
	stop()
	for lines.Scan() { // what else it says
		_ = lines.Text()
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
