package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

// asProgram tells this program to be the satellite, with the arguments that it has.
const asProgram = "PERIGEE_TEST_PROGRAM"

func init() {
	if os.Getenv(asProgram) != "" {
		os.Unsetenv(asProgram) //nolint:errcheck // a name that the environment has
		main()
	}
}

// What a hostile server sends unasked is not on a program's stderr, and is in its log at debug.
func TestWhatLibrariesPrint(t *testing.T) {
	t.Parallel()
	for level, debug := range map[string]bool{"as usual": false, "at debug": true} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			quoted, _ := json.Marshal(map[string]any{"script": "await fetch('http://" + listener.Addr().String() + "/'); await new Promise(r => setTimeout(r, 1e9))", "timeout": 60_000})
			server := newCore(t, func(conn link.Conn) {
				write(conn, &protocol.Authenticated{SatelliteID: id, SandboxPolicy: json.RawMessage(`{"network":{"mode":"unrestricted"}}`), Assignments: []protocol.Assignment{{
					ConfigID: "check", ConfigName: "check", SystemID: "system", SystemName: "system", StrategyID: check.Script, IntervalSeconds: 1, Config: json.RawMessage(`{}`),
					Collectors: []protocol.Collector{{ID: "script", CollectorID: check.ScriptInline, Config: quoted}},
				}}})
			})
			args := []string{"--core", server.URL, "--id", id, "--token", "csat_x", "--data-dir", t.TempDir()}
			if debug {
				args = append(args, "--debug")
			}
			satellite := exec.Command("/proc/self/exe", args...)
			satellite.Env = append(os.Environ(), asProgram+"=1")
			var stderr bytes.Buffer
			satellite.Stderr = &stderr
			if err := satellite.Start(); err != nil {
				t.Fatal(err)
			}
			unasked(t, listener)
			if err := satellite.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = satellite.Wait() // killed, as it says
			if got := strings.Contains(stderr.String(), "surprise"); got != debug {
				t.Errorf("what came unasked is there: %v, want %v:\n%s", got, debug, stderr.String())
			}
			for line := range strings.Lines(stderr.String()) {
				if strings.Contains(line, "surprise") && !strings.Contains(line, "level=DEBUG") {
					t.Errorf("it is no line of the log's: %s", line)
				}
			}
		})
	}
}

// unasked answers one request, and then says more, until it is not listened to any more.
func unasked(t *testing.T, listener net.Listener) {
	t.Helper()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lines := bufio.NewReader(conn)
	for line := ""; line != "\r\n"; {
		if line, err = lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	_, _ = conn.Write([]byte("HTTP/1.1 200 surprise\r\n\r\n"))
	_, _ = lines.ReadByte() // until it has closed
}
