// Package pgtest gives tests and measuring programs a PostgreSQL of their own: a
// throw-away cluster made with the server binaries that are installed, reached
// over a Unix socket in its own directory.
//
// A cluster never outlives the process that started it. A watchdog process holds
// one end of a pipe; when this process ends, however it ends, the pipe closes and
// the watchdog stops the server and removes its files.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	superuser = "perigee"
	// startTimeout bounds how long a server may take to answer, crash recovery included.
	startTimeout = 60 * time.Second
)

// settings suit a cluster whose files nobody will miss: nothing is synced to
// disk, which the death of processes (not of the machine) survives all the same.
var settings = []string{
	"listen_addresses=", "fsync=off", "full_page_writes=off", "wal_level=minimal", "max_wal_senders=0",
	"shared_buffers=128MB", "max_connections=300", "unix_socket_permissions=0777",
	// Several clusters may run at once, and the disk may be small.
	"max_wal_size=256MB", "min_wal_size=32MB",
}

// Cluster is one running (or stopped) server. Its methods are for one goroutine.
type Cluster struct {
	dir      string // data, socket, log
	bin      string
	settings []string
	cred     *syscall.Credential
	server   *exec.Cmd
	watchdog *exec.Cmd
	lifeline io.Closer // closing it is the watchdog's signal
}

// PID is the process of the running server, the parent of those that serve connections.
func (c *Cluster) PID() int { return c.server.Process.Pid }

// Start makes a cluster in dir, or in a temporary directory when dir is "", and
// starts it. The directory is the cluster's own and goes with it. Settings ("fsync=on") override the throw-away ones. When this process
// is root the server runs as postgres or nobody, who must be able to reach dir.
// End it with Stop.
func Start(dir string, overrides ...string) (*Cluster, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	cred, err := lowered()
	if err != nil {
		return nil, err
	}
	// The path of a Unix socket is bounded at about 100 bytes, hence the short name.
	c := &Cluster{bin: bin, cred: cred, settings: slices.Concat(settings, overrides)}
	if c.dir, err = makeDir(dir, cred); err != nil {
		return nil, err
	}
	if err := c.watch(); err != nil {
		os.RemoveAll(c.dir)
		return nil, err
	}
	if err := c.initdb(); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	if err := c.Restart(); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// URL of the cluster's own database.
func (c *Cluster) URL() string { return c.DatabaseURL("postgres") }

// DatabaseURL is the URL of a database in the cluster.
func (c *Cluster) DatabaseURL(name string) string {
	u := url.URL{
		Scheme: "postgres", User: url.User(superuser), Path: "/" + name,
		RawQuery: url.Values{"host": {c.dir}}.Encode(),
	}
	return u.String()
}

// Create makes a database, empty or as a template is ("" for none), and returns its URL.
func (c *Cluster) Create(ctx context.Context, name, template string) (string, error) {
	sql := "CREATE DATABASE " + pgx.Identifier{name}.Sanitize()
	if template != "" {
		sql += " TEMPLATE " + pgx.Identifier{template}.Sanitize()
	}
	return c.DatabaseURL(name), c.run(ctx, sql)
}

// Drop removes a database and whoever is connected to it.
func (c *Cluster) Drop(ctx context.Context, name string) error {
	return c.run(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
}

func (c *Cluster) run(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, c.URL())
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

// Kill ends the server at once, as a crash would: connections break, nothing is
// checkpointed, and the next start recovers from the log.
func (c *Cluster) Kill() error { return c.end(syscall.SIGQUIT) }

// Shutdown ends the server in order and keeps its files; Restart brings it back.
func (c *Cluster) Shutdown() error { return c.end(syscall.SIGINT) }

// Stop ends the server and removes its files. The cluster cannot be used any more.
func (c *Cluster) Stop() error {
	err := c.end(syscall.SIGINT)
	err = errors.Join(err, os.RemoveAll(c.dir))
	c.lifeline.Close()
	return errors.Join(err, c.watchdog.Wait())
}

func (c *Cluster) end(sig syscall.Signal) error {
	if c.server == nil {
		return nil
	}
	server := c.server
	c.server = nil
	if err := server.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("ending postgres: %w", err)
	}
	// A server that was told to quit leaves with a code that is not zero.
	if err := server.Wait(); err != nil {
		if _, exited := errors.AsType[*exec.ExitError](err); !exited {
			return fmt.Errorf("waiting for postgres to end: %w", err)
		}
	}
	return nil
}

// Restart starts the server, after ending it if it runs, and returns when it
// answers.
func (c *Cluster) Restart() error {
	if err := c.Shutdown(); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(c.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"-D", c.data(), "-k", c.dir}
	for _, s := range c.settings {
		args = append(args, "-c", s)
	}
	cmd := c.command("postgres", args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting postgres: %w", err)
	}
	c.server = cmd
	return c.ready()
}

// ready waits until the server answers.
func (c *Cluster) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := c.run(ctx, "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(c.dir, "log"))
			return fmt.Errorf("postgres does not answer: %w\n%s", err, log)
		}
	}
}

func (c *Cluster) initdb() error {
	out, err := c.command("initdb", "-D", c.data(), "-U", superuser, "-A", "trust",
		"-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions").CombinedOutput()
	if err != nil {
		return fmt.Errorf("running initdb: %w\n%s", err, out)
	}
	return nil
}

// command runs a server program as the lowered user in a session of its own, so
// that Ctrl-C reaches this process only, which then ends the server.
func (c *Cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: c.cred}
	return cmd
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

// watchdogScript waits for the end of its input, then ends whatever server the
// data directory names and removes the directory. It gives up waiting after ten
// seconds, for in a container nobody may reap the server.
const watchdogScript = `
cat >/dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
	kill -QUIT "$pid" 2>/dev/null
	n=0
	while [ -e "$1/data/postmaster.pid" ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done
fi
rm -rf "$1"
`

func (c *Cluster) watch() error {
	cmd := exec.Command("sh", "-c", watchdogScript, "watchdog", c.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the watchdog: %w", err)
	}
	c.watchdog, c.lifeline = cmd, pipe
	return nil
}

// makeDir makes the cluster's directory, which the lowered user owns and anybody
// may enter, for the socket is in it.
func makeDir(dir string, cred *syscall.Credential) (string, error) {
	var err error
	if dir == "" {
		dir, err = os.MkdirTemp("", "perigee-pg-*")
	} else {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err == nil && cred != nil {
		err = os.Chown(dir, int(cred.Uid), int(cred.Gid))
	}
	return dir, err
}

// lowered is who runs the server, which refuses to be root; nil for ourselves.
func lowered() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("postgres refuses to run as root, and there is neither a user postgres nor nobody")
}

// ErrMissing says that PostgreSQL's server programs are not installed.
var ErrMissing = errors.New("PostgreSQL's server programs are missing: install Debian's package `postgresql` (make test does)")

// binaries finds the folder of initdb and postgres: Debian's, newest version
// first, else the one that PATH leads to.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			found = append(found, path)
		}
	}
	for _, initdb := range found {
		bin := filepath.Dir(initdb)
		if _, err := os.Stat(filepath.Join(bin, "postgres")); err == nil {
			return bin, nil
		}
	}
	return "", ErrMissing
}

func version(initdb string) int {
	n, err := strconv.Atoi(strings.Split(initdb, "/")[4])
	if err != nil { // no version: last
		return 0
	}
	return n
}
