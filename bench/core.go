package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/perigee-monitoring/perigee/internal/pgtest"
	"github.com/perigee-monitoring/perigee/protocol"
)

const adminToken = "perigee_bench-administrator-token-0123456789"

// build makes both programs in a folder of their own; binary is the core's.
func build(ctx context.Context) (binary string, cleanup func(), err error) {
	dir, err := os.MkdirTemp("", "perigee-bench-")
	if err != nil {
		return "", nil, err
	}
	cleanup = func() { _ = os.RemoveAll(dir) }
	binary = filepath.Join(dir, "perigee")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", dir+"/", "./cmd/perigee", "./cmd/perigee-satellite").CombinedOutput(); err != nil {
		cleanup()
		return "", nil, fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	return binary, cleanup, nil
}

// core is a running core process with its database.
type core struct {
	url     string
	args    []string // with the program's name
	addr    string
	cmd     *exec.Cmd
	dir     string
	cluster *pgtest.Cluster // nil on SQLite
	ready   time.Duration   // from its start until it served
}

// startCoreOn starts a core on an empty database, or on one that prepare has filled.
func startCoreOn(ctx context.Context, binary, engine string, prepare func(database string) error) (*core, error) {
	dir, err := os.MkdirTemp("", "perigee-bench-core-")
	if err != nil {
		return nil, err
	}
	c := &core{dir: dir}
	database := filepath.Join(dir, "perigee.db")
	switch engine {
	case "sqlite":
	case "postgres":
		// Acknowledged must mean durable: what a throw-away cluster leaves out is put back.
		if c.cluster, err = pgtest.Start("", "fsync=on", "synchronous_commit=on", "full_page_writes=on", "shared_buffers=512MB", "max_wal_size=4GB"); err != nil {
			return nil, errors.Join(err, c.stop())
		}
		database = c.cluster.URL()
	default:
		return nil, errors.Join(fmt.Errorf("unknown engine %q: sqlite or postgres", engine), c.stop())
	}
	if prepare != nil {
		if err := prepare(database); err != nil {
			return nil, errors.Join(err, c.stop())
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, c.stop())
	}
	c.addr = ln.Addr().String()
	ln.Close()
	c.url = "http://" + c.addr
	c.args = []string{binary, "serve", "--data-dir", dir, "--no-local", "--database", database, "--listen", c.addr}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

// sibling starts another core on the same database.
func (c *core) sibling(ctx context.Context) (*core, error) {
	dir, err := os.MkdirTemp("", "perigee-bench-core-")
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &core{dir: dir, addr: ln.Addr().String()}
	ln.Close()
	s.url = "http://" + s.addr
	s.args = []string{c.args[0], "serve", "--data-dir", dir, "--no-local", "--database", c.cluster.URL(), "--listen", s.addr}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// socket is where satellites dial.
func (c *core) socket() string { return "ws://" + c.addr + protocol.Path }

// start starts the process and waits until it serves.
func (c *core) start(ctx context.Context) error {
	log, err := os.Create(filepath.Join(c.dir, "core.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	c.cmd = exec.Command(c.args[0], c.args[1:]...)
	c.cmd.Env = append(os.Environ(), "PERIGEE_ADMIN_TOKEN="+adminToken)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	began := time.Now()
	if err := c.cmd.Start(); err != nil {
		return err
	}
	for deadline := began.Add(30 * time.Second); ; {
		err := c.call(ctx, http.MethodGet, "/readyz", nil, nil)
		if err == nil {
			c.ready = time.Since(began)
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			said, _ := os.ReadFile(filepath.Join(c.dir, "core.log"))
			return fmt.Errorf("the core is not ready: %w\n%s", err, said)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// end ends the process, and leaves its database.
func (c *core) end() error {
	if c.cmd == nil || c.cmd.Process == nil {
		return nil
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	err := c.cmd.Wait()
	c.cmd = nil
	if err != nil {
		return fmt.Errorf("the core ended with %w", err)
	}
	return nil
}

// again ends the process and starts it anew on the same database.
func (c *core) again(ctx context.Context) error {
	if err := c.end(); err != nil {
		return err
	}
	return c.start(ctx)
}

// stop ends the process and removes everything.
func (c *core) stop() error {
	errs := []error{c.end()}
	if c.cluster != nil {
		errs = append(errs, c.cluster.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
}

// memory is what the core's heap and stacks hold, in bytes, by its own metrics:
// the resident set would count the database's page cache as satellites.
func (c *core) memory() (sum float64, err error) {
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
		for _, name := range []string{"go_memstats_heap_inuse_bytes ", "go_memstats_stack_inuse_bytes "} {
			if value, ok := strings.CutPrefix(line, name); ok {
				n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
				if err != nil {
					return 0, err
				}
				sum += n
			}
		}
	}
	return sum, nil
}

// cpu is the processor time that the core has used.
func (c *core) cpu() time.Duration { return processorTime(c.cmd.Process.Pid) }

// databaseCPU is the processor time that PostgreSQL's processes have used; on SQLite
// there are none.
func (c *core) databaseCPU() (sum time.Duration) {
	if c.cluster == nil {
		return 0
	}
	server := strconv.Itoa(c.cluster.PID())
	found, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0
	}
	for _, path := range found {
		if fields := processStat(path); len(fields) > 12 && fields[1] == server {
			sum += used(fields)
		}
	}
	return sum
}

// processorTime is what a process has used, user and system.
func processorTime(pid int) time.Duration {
	return used(processStat(fmt.Sprintf("/proc/%d/stat", pid)))
}

// processStat is what /proc says of a process, from its state on; nil when it is gone.
func processStat(path string) []string {
	stat, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}

func used(stat []string) time.Duration {
	if len(stat) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(stat[11], 10, 64)
	system, _ := strconv.ParseInt(stat[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

var client = &http.Client{Timeout: 30 * time.Second}

func (c *core) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
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
		return fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, answer)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}
