package probe

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
)

// servers are what the strategies were tried against, for the table of CI.
var servers struct {
	sync.Mutex
	rows []string
}

// against notes that a strategy was tried against a server, and of which kind: the
// program of a package, the library of a module, or a stand-in of ours.
func against(strategy, kind, server string) {
	servers.Lock()
	defer servers.Unlock()
	servers.rows = append(servers.rows, strategy+"\t"+kind+"\t"+server)
}

// suite tells, after the tests, which servers were used.
type suite struct{ *testing.M }

func (s suite) Run() int {
	code := s.M.Run()
	if name := os.Getenv("PERIGEE_TEST_SERVERS"); name != "" && len(servers.rows) > 0 {
		var table bytes.Buffer
		w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "STRATEGY\tKIND\tTRIED AGAINST")
		slices.Sort(servers.rows)
		for _, row := range slices.Compact(servers.rows) {
			fmt.Fprintln(w, row)
		}
		w.Flush()
		if err := os.WriteFile(name, table.Bytes(), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// program finds a server's program, in sbin too, which is not on everybody's path, and
// where .ci/need puts what it builds. Without it the test fails.
func program(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		for _, candidate := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name, "/usr/lib/openssh/" + name, "../../.ci/" + name + "/" + name} {
			if path, err := exec.LookPath(candidate); err == nil {
				return path
			}
		}
	}
	t.Fatalf("%s is not installed; on Debian, .ci/need servers installs it, or .ci/need with its name", names[0])
	return ""
}

// versionOf is the first line that a program prints about itself.
func versionOf(t testing.TB, path string, args ...string) string {
	t.Helper()
	text, _ := exec.Command(path, args...).CombinedOutput() // some answer with an exit code
	for line := range strings.Lines(string(text)) {
		// A wrapper may complain first, of the machine.
		if line = strings.TrimSpace(line); line != "" && !strings.Contains(line, "unexpected operator") {
			return cut(line, 90)
		}
	}
	return filepath.Base(path)
}

// child starts a server's program, which listens on a free port of loopback, and waits
// until it does. It ends with the test, or with this process, however that ends: the
// shell around it holds a pipe of which we hold the other end.
func child(t testing.TB, command func(port int) []string) target {
	t.Helper()
	return childOn(t, "tcp", func(s target) bool {
		conn, err := net.Dial("tcp", s.address())
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, command)
}

// childOn is child for other networks than TCP; ready says whether it answers.
func childOn(t testing.TB, network string, ready func(target) bool, command func(port int) []string) target {
	t.Helper()
	var log bytes.Buffer
	for range 3 { // somebody else may take the port that was free
		port := freePort(t, network)
		log.Reset()
		if s, ok := startChild(t, target{"127.0.0.1", port}, ready, command(port), &log); ok {
			return s
		}
	}
	t.Fatalf("the server did not start:\n%s", cut(log.String(), 4000))
	return target{}
}

const keeper = `"$@" 3<&- & server=$!; { read _ <&3; kill $server; } & wait $server`

func startChild(t testing.TB, s target, ready func(target) bool, args []string, log *bytes.Buffer) (target, bool) {
	t.Helper()
	held, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("/bin/sh", append([]string{"-c", keeper, "sh"}, args...)...)
	shell.ExtraFiles = []*os.File{held}
	shell.Stdout, shell.Stderr = log, log
	shell.WaitDelay = 5 * time.Second
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	held.Close()
	gone := make(chan struct{})
	go func() { defer close(gone); _ = shell.Wait() }() // a server that is killed leaves with a signal
	end := func() { ours.Close(); <-gone }
	patience := time.After(time.Minute)
	for {
		select {
		case <-gone:
			ours.Close()
			return s, false
		case <-patience:
			end()
			return s, false
		case <-time.After(20 * time.Millisecond):
			if ready(s) {
				t.Cleanup(end)
				return s, true
			}
		}
	}
}

func freePort(t testing.TB, network string) int {
	t.Helper()
	if network == "udp" {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.LocalAddr().(*net.UDPAddr).Port
	}
	return closedPort(t).port
}

// write puts a file into a directory of the test and gives its path.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// trial is one run against a server, and what it must find.
type trial struct {
	name string
	// more is added to the strategy's config beside host and port.
	more              string
	collector, config string
	// message is that of an unhealthy run; "" wants a healthy one. A text that ends in
	// an ellipsis is a beginning.
	message string
	// want are the fields of the entry, but for those that an error adds; nil wants none.
	want map[string]any
}

// some stands for whatever value is there and not empty.
const some = "(some)"

// try carries out the trials, all at once.
func try(t *testing.T, s target, strategy string, trials []trial) {
	t.Helper()
	p := New(Options{})
	for _, c := range trials {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := p.Execute(t.Context(), s.assignment(strategy, c.more, c.collector, c.config), nil, nil)
			wantFound(t, r, c)
		})
	}
}

func wantFound(t *testing.T, r check.Result, c trial) {
	t.Helper()
	if c.message == "" {
		wantHealthy(t, r)
	} else if start, open := strings.CutSuffix(c.message, "…"); r.Status != check.Unhealthy || r.Message != c.message && !(open && strings.HasPrefix(r.Message, start)) {
		t.Errorf("%s, %q\nwant unhealthy, %q", r.Status, r.Message, c.message)
	}
	if r.Metadata.Collectors["e"] == nil {
		if c.want != nil {
			t.Error("there is no entry")
		}
		return
	}
	got := object(t, r, "e")
	for _, name := range []string{"_collectorId", "_collectorError", "error", "executionTimeMs"} {
		delete(got, name)
	}
	want := map[string]any{}
	for name, value := range c.want {
		if value == some && got[name] != nil && got[name] != "" && got[name] != 0.0 {
			value = got[name]
		}
		want[name] = value
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entry (-want +got):\n%s", diff)
	}
}

// answering is a stand-in of a server that speaks in datagrams: reply gets each question
// and gives the answer, nil for none. It may alter the question.
func answering(t *testing.T, reply func(question []byte) []byte) target {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		buffer := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			if answer := reply(buffer[:n]); answer != nil {
				conn.WriteTo(answer, from)
			}
		}
	}()
	return target{"127.0.0.1", conn.LocalAddr().(*net.UDPAddr).Port}
}
