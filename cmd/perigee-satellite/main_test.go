package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const id = "3f0c9a52-6f0e-4d0b-9b57-0d9c2a7f1e11"

// core answers one authenticate in the given way and keeps the credentials.
type core struct {
	*httptest.Server
	answer  func(link.Conn)
	serving sync.WaitGroup
	mu      sync.Mutex
	heard   []protocol.Authenticate
}

func newCore(t *testing.T, answer func(link.Conn)) *core {
	t.Helper()
	c := &core{answer: answer}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := link.Accept(w, r, link.Options{})
		if err != nil {
			t.Error(err)
			return
		}
		c.serving.Go(func() { c.serve(conn) })
	}))
	t.Cleanup(func() {
		c.Close()
		c.serving.Wait()
	})
	return c
}

func (c *core) serve(conn link.Conn) {
	for {
		frame, err := conn.Read()
		if err != nil {
			return
		}
		m, err := protocol.DecodeFromAgent(frame)
		if err != nil {
			panic(err)
		}
		if hello, ok := m.(*protocol.Authenticate); ok {
			c.mu.Lock()
			c.heard = append(c.heard, *hello)
			c.mu.Unlock()
			c.answer(conn)
		}
	}
}

func write(conn link.Conn, m protocol.FromCore) {
	frame, err := protocol.Encode(m)
	if err != nil {
		panic(err)
	}
	conn.Write(frame)
}

func satelliteCommand(ctx context.Context, args ...string) (code int, stderr string) {
	var out, errs bytes.Buffer
	code = run(ctx, args, &out, &errs)
	return code, errs.String()
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	refuse := func(code int) func(link.Conn) {
		return func(conn link.Conn) { conn.Close(code, "token was replaced") }
	}
	for name, c := range map[string]struct {
		answer func(link.Conn)
		code   int
		says   string
	}{
		"refused": {func(conn link.Conn) {
			write(conn, &protocol.AuthFailed{Reason: protocol.ReasonInvalid})
			conn.Close(protocol.CloseRefused, "refused")
		}, exitRefused, "Invalid client ID or token; check --id and the token"},
		"rotated":    {refuse(protocol.CloseRotated), exitRefused, "token was replaced"},
		"removed":    {refuse(protocol.CloseRemoved), exitRefused, "deleted at the core (code 4503): token was replaced; perigee satellite create makes a new one"},
		"superseded": {refuse(protocol.CloseSuperseded), exitSuperseded, "run one process for each satellite"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newCore(t, c.answer)
			code, stderr := satelliteCommand(t.Context(), "--core", server.URL, "--id", id, "--token", "csat_x", "--data-dir", t.TempDir())
			if code != c.code || !strings.Contains(stderr, c.says) {
				t.Errorf("exit code %d, want %d:\n%s", code, c.code, stderr)
			}
			if strings.Contains(stderr, "csat_x") {
				t.Errorf("the token is in the log:\n%s", stderr)
			}
		})
	}
}

func TestAStopIsClean(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	server := newCore(t, func(conn link.Conn) {
		write(conn, &protocol.Authenticated{SatelliteID: id})
		stop()
	})
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("csat_from_file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stderr := satelliteCommand(ctx, "--core", server.URL+"/", "--id", id, "--token-file", token, "--data-dir", t.TempDir(), "--log-format", "json")
	if code != exitOK || !strings.Contains(stderr, `"msg":"satellite stopped"`) {
		t.Errorf("exit code %d:\n%s", code, stderr)
	}
	if got := server.heard[0]; got.ClientID != id || got.Token != "csat_from_file" {
		t.Errorf("credentials %+v", got)
	}
}

// Cores are given by commas or by repeating the flag; one that is not there is passed over.
func TestSeveralCores(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, given := range [][]string{{"--core", gone.URL + ",%s"}, {"--core", gone.URL, "--core", "%s"}, {"--core", "%s, " + gone.URL + "/," + gone.URL}} {
		ctx, stop := context.WithCancel(t.Context())
		server := newCore(t, func(conn link.Conn) {
			write(conn, &protocol.Authenticated{SatelliteID: id})
			stop()
		})
		args := []string{"--id", id, "--token", "csat_x", "--data-dir", t.TempDir()}
		for _, arg := range given {
			args = append(args, strings.ReplaceAll(arg, "%s", server.URL))
		}
		code, stderr := satelliteCommand(ctx, args...)
		if code != exitOK || strings.Contains(stderr, "trying again") && strings.Contains(stderr, "in=1") {
			t.Errorf("%q: exit code %d:\n%s", given, code, stderr)
		}
		stop()
	}
}

func TestWrongCommandLines(t *testing.T) {
	t.Parallel()
	for says, args := range map[string][]string{
		"missing flags: --core=URL,..., --id=UUID": {},
		"no token; give --token-file":              {"--core", "http://localhost", "--id", id},
		"give one":                                 {"--core", "http://localhost", "--id", id, "--token", "x", "--token-file", "y"},
		"reading the token":                        {"--core", "http://localhost", "--id", id, "--token-file", "/nonexistent/token"},
		"no core is given":                         {"--core", " ,", "--id", id, "--token", "x"},
		"must begin with http":                     {"--core", "ftp://localhost", "--id", id, "--token", "x"},
		"unknown flag --tocken":                    {"--core", "http://localhost", "--id", id, "--tocken", "x"},
	} {
		code, stderr := satelliteCommand(t.Context(), args...)
		if code != exitUsage || !strings.Contains(stderr, says) {
			t.Errorf("%q: exit code %d:\n%s", args, code, stderr)
		}
	}
}

// The names of the original agent's environment work (K.1). Not parallel: the
// environment belongs to the process.
func TestK1_TheOriginalsEnvironmentWorks(t *testing.T) {
	for _, names := range [][4]string{
		{"CHECKSTACK_CORE_URL", "CHECKSTACK_SATELLITE_CLIENT_ID", "CHECKSTACK_SATELLITE_TOKEN", "CHECKSTACK_DATA_DIR"},
		{"PERIGEE_CORE_URL", "PERIGEE_SATELLITE_ID", "PERIGEE_SATELLITE_TOKEN", "PERIGEE_DATA_DIR"},
	} {
		t.Run(names[0], func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			server := newCore(t, func(conn link.Conn) {
				write(conn, &protocol.Authenticated{SatelliteID: id})
				stop()
			})
			dir := t.TempDir()
			for i, value := range []string{server.URL, id, "csat_env", dir} {
				t.Setenv(names[i], value)
			}
			t.Setenv("DEBUG", "yes please")
			if code, stderr := satelliteCommand(ctx); code != exitOK {
				t.Fatalf("exit code %d:\n%s", code, stderr)
			}
			if got := server.heard[0]; got.ClientID != id || got.Token != "csat_env" {
				t.Errorf("credentials %+v", got)
			}
			if _, err := os.Stat(filepath.Join(dir, "spool")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestM38_PlainHTTPIsWarnedOf(t *testing.T) {
	t.Parallel()
	for core, want := range map[string]bool{
		"http://core.example.org":  true,
		"http://10.1.2.3:8420":     true,
		"https://core.example.org": false,
		"http://localhost:8420":    false,
		"http://127.0.0.1":         false,
		"http://[::1]:8420":        false,
	} {
		s, err := (&flags{Core: []string{core}, ID: id, Token: "x"}).settle()
		if err != nil {
			t.Fatal(err)
		}
		if got := len(s.warnings) > 0; got != want {
			t.Errorf("%s: warnings %q", core, s.warnings)
		}
	}
}

func TestNameserversAreAddresses(t *testing.T) {
	t.Parallel()
	got, err := nameservers([]string{"192.0.2.53", "[2001:db8::53]", "127.0.0.1:5353"})
	if want := []string{"192.0.2.53:53", "[2001:db8::53]:53", "127.0.0.1:5353"}; err != nil || !slices.Equal(want, got) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := nameservers([]string{"ns.example"}); err == nil || !strings.Contains(err.Error(), "write it as 192.0.2.53") {
		t.Errorf("a name: %v", err)
	}
}
