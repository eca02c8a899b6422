package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// binaries are built once for all tests of the package.
type binaries struct{ core, satellite, recount string }

var built = sync.OnceValues(func() (binaries, error) {
	dir, err := os.MkdirTemp("", "perigee-e2e-")
	if err != nil {
		return binaries{}, err
	}
	buildDir = dir
	// As make build does it, so that what that compiled is used again.
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", dir, "../cmd/perigee", "../cmd/perigee-satellite", "./recount")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return binaries{}, fmt.Errorf("building: %w\n%s", err, out)
	}
	return binaries{core: filepath.Join(dir, "perigee"), satellite: filepath.Join(dir, "perigee-satellite"), recount: filepath.Join(dir, "recount")}, nil
})

var buildDir string

func TestMain(m *testing.M) {
	if ahead := os.Getenv(clockVariable); ahead != "" {
		os.Exit(satelliteWithClock(ahead))
	}
	code := m.Run()
	if buildDir != "" {
		_ = os.RemoveAll(buildDir)
	}
	os.Exit(code)
}

func build(t *testing.T) binaries {
	t.Helper()
	b, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// process is one of our programs, which may be killed and started again.
type process struct {
	t    *testing.T
	name string
	args []string
	env  []string
	log  string // file that every incarnation appends to

	cmd *exec.Cmd
}

func (p *process) start() {
	p.t.Helper()
	out, err := os.OpenFile(p.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer out.Close()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	// The programs must not outlive a test that is killed itself.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("starting %s: %v", p.name, err)
	}
}

// kill ends the process as a power cut would.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	_ = p.cmd.Wait()
	p.cmd = nil
}

// stop ends the process as an operator would, and fails the test when that does not end it
// cleanly. (Ten seconds are promised, and kept where nothing else runs.)
func (p *process) stop() {
	p.t.Helper()
	if p.cmd == nil {
		return
	}
	ended := make(chan error, 1)
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	go func(cmd *exec.Cmd) { ended <- cmd.Wait() }(p.cmd)
	select {
	case err := <-ended:
		if err != nil {
			p.t.Errorf("%s ended with %v\n%s", p.name, err, p.tail())
		}
	case <-time.After(patience):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT)
		<-ended
		p.t.Errorf("%s does not stop\n%s", p.name, p.tail())
	}
	p.cmd = nil
}

func (p *process) tail() string {
	b, _ := os.ReadFile(p.log)
	if len(b) > 6000 {
		b = b[len(b)-6000:]
	}
	return string(b)
}

// core is a running core and how to talk to it.
type core struct {
	*process
	url   string
	token string
}

const adminToken = "perigee_e2e-administrator-token-0123456789"

func newCore(t *testing.T, database string) *core {
	t.Helper()
	dir := t.TempDir()
	addr := freeAddress(t)
	c := &core{url: "http://" + addr, token: adminToken}
	c.process = &process{
		t: t, name: "core", log: filepath.Join(dir, "core.log"),
		args: []string{build(t).core, "serve", "--listen", addr, "--data-dir", dir, "--no-local"},
		env:  []string{"PERIGEE_ADMIN_TOKEN=" + adminToken},
	}
	if database != "" {
		c.args = append(c.args, "--database", database)
	}
	t.Cleanup(c.kill)
	return c
}

// ports counts on from where another process of tests hardly is.
var ports atomic.Uint32

// freeAddress is where a core may listen, again after each kill. The kernel gives ports from
// 32768 to whoever asks for any, and such a one would be another server's by the time that the
// core comes for it.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10_000+(uint32(os.Getpid())*127+ports.Add(1))%20_000)
		if ln, err := net.Listen("tcp", addr); err == nil {
			ln.Close()
			return addr
		}
	}
	t.Fatal("of a thousand ports below 32768 none is free")
	return ""
}

// ready waits until the core answers.
func (c *core) ready() {
	c.t.Helper()
	wait(c.t, "the core to be ready", func() error { return c.try(http.MethodGet, "/readyz", nil, nil) }, c.process)
}

// patience is how long is waited for what must come. It is no promise of ours: this machine
// may have much else to do.
const patience = 3 * time.Minute

// wait tries until what is waited for holds, and shows the log when it does not come.
func wait(t *testing.T, what string, try func() error, logs ...*process) {
	t.Helper()
	waitFor(t, patience, what, try, logs...)
}

func waitFor(t *testing.T, limit time.Duration, what string, try func() error, logs ...*process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			for _, p := range logs {
				t.Logf("log of %s:\n%s", p.name, p.tail())
			}
			t.Fatalf("waited %s for %s: %v", limit, what, err)
		case <-tick.C:
		}
	}
}

var client = &http.Client{Timeout: time.Minute}

// try makes one API call; out may be nil.
func (c *core) try(method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, c.url+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, strings.TrimSpace(string(answer)))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

func (c *core) call(method, path string, in, out any) {
	c.t.Helper()
	if err := c.try(method, path, in, out); err != nil {
		c.t.Fatalf("%v\n%s", err, c.tail())
	}
}

// all gathers every page of a list.
func all[T any](c *core, path string) []T {
	c.t.Helper()
	var items []T
	cursor := ""
	for {
		var page struct {
			Items      []T     `json:"items"`
			NextCursor *string `json:"nextCursor"`
		}
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		c.call(http.MethodGet, path+sep+"limit=1000&cursor="+url.QueryEscape(cursor), nil, &page)
		items = append(items, page.Items...)
		if page.NextCursor == nil || *page.NextCursor == "" {
			return items
		}
		cursor = *page.NextCursor
	}
}

// satellite is a running satellite with its record.
type satellite struct {
	*process
	id string
}

func newSatellite(c *core, name, region string) *satellite {
	c.t.Helper()
	var created struct {
		Satellite struct {
			ID string `json:"id"`
		} `json:"satellite"`
		Token string `json:"token"`
	}
	c.call(http.MethodPost, "/api/v1/satellites", map[string]any{"name": name, "region": region, "tags": map[string]string{}}, &created)
	dir := c.t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil { // scripts that run as somebody else pass
		c.t.Fatal(err)
	}
	s := &satellite{id: created.Satellite.ID}
	s.process = &process{
		t: c.t, name: name, log: filepath.Join(dir, "satellite.log"),
		args: []string{build(c.t).satellite, "--core", c.url, "--id", s.id, "--data-dir", dir},
		env:  []string{"PERIGEE_SATELLITE_TOKEN=" + created.Token},
	}
	c.t.Cleanup(s.kill)
	return s
}

// at gives the satellite another value of a flag that it has.
func (s *satellite) at(name, value string) { s.args[slices.Index(s.args, name)+1] = value }

// gauge reads one figure without labels from the core's metrics.
func (c *core) gauge(name string) (float64, error) {
	resp, err := client.Get(c.url + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("there is no figure %s", name)
}

// raw is an answer of the API as it came.
func (c *core) raw(path string) string {
	c.t.Helper()
	req, err := http.NewRequest(http.MethodGet, c.url+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		c.t.Fatalf("GET %s: %d, %v", path, resp.StatusCode, err)
	}
	return string(text)
}
