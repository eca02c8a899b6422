package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/perigee-monitoring/perigee/check"
)

// sshSession is one connection; each command has a channel of its own.
type sshSession struct {
	plain
	run    run
	limit  time.Duration
	client *ssh.Client

	mu     sync.Mutex
	asking int  // for a channel, right now
	opened bool // a channel has been given
}

func init() { offers[check.SSH] = offer{connect: (*Prober).connectSSH} }

func (p *Prober) connectSSH(ctx context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.SSHConfig])
	if err != nil {
		return nil, err
	}
	client, err := sshConfig(config)
	if err != nil {
		return nil, err
	}
	s := &sshSession{run: r, limit: timeout(config.Timeout)}
	at := endpoint{host: config.Host, port: config.Port, limit: s.limit}
	_, s.plain, err = p.reach(ctx, at, func(_ context.Context, clock *phases, conn net.Conn) error {
		shaken, channels, requests, err := ssh.NewClientConn(conn, net.JoinHostPort(config.Host, "22"), client)
		if err != nil {
			return signInError(err)
		}
		s.client = ssh.NewClient(shaken, channels, requests)
		return conn.SetDeadline(time.Time{}) // commands have their own
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func sshConfig(c check.SSHConfig) (*ssh.ClientConfig, error) {
	config := &ssh.ClientConfig{User: c.Username, HostKeyCallback: hostKey(c.HostKey), ClientVersion: "SSH-2.0-Perigee"}
	if c.PrivateKey != "" {
		var signer ssh.Signer
		var err error
		if c.Passphrase != "" {
			signer, err = ssh.ParsePrivateKeyWithPassphrase([]byte(c.PrivateKey), []byte(c.Passphrase))
		} else {
			signer, err = ssh.ParsePrivateKey([]byte(c.PrivateKey))
		}
		if err != nil {
			return nil, fmt.Errorf("the config cannot be used: privateKey: %w", err)
		}
		config.Auth = append(config.Auth, ssh.PublicKeys(signer))
	}
	if c.Password != "" {
		config.Auth = append(config.Auth, ssh.Password(c.Password), ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
			answers := make([]string, len(questions))
			for i := range answers {
				answers[i] = c.Password
			}
			return answers, nil
		}))
	}
	return config, nil
}

// hostKey believes the machine with the key, any for "".
func hostKey(wanted string) ssh.HostKeyCallback {
	return func(_ string, _ net.Addr, key ssh.PublicKey) error {
		print := ssh.FingerprintSHA256(key)
		line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
		if wanted == "" || wanted == print || strings.HasPrefix(strings.TrimSpace(wanted)+" ", line+" ") {
			return nil
		}
		return fmt.Errorf("the machine has another key than the config's: %s", print)
	}
}

// signInError is why signing in failed, without the library's name.
func signInError(err error) error {
	text, ok := strings.CutPrefix(err.Error(), "ssh: handshake failed: ")
	if !ok {
		return err
	}
	if strings.HasPrefix(text, "ssh: unexpected message type 51") {
		text = "the server refused" // it offers a method that it then does not do
	}
	return told{"signing in: " + cut(strings.TrimPrefix(text, "ssh: "), 500), err}
}

func (s *sshSession) collect(ctx context.Context, id string, raw json.RawMessage) (any, error) {
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	switch id {
	case check.HardwareCPU:
		return s.cpu(ctx, raw)
	case check.HardwareMemory:
		return s.memory(ctx, raw)
	case check.HardwareDisk:
		return s.disk(ctx, raw)
	}
	config, err := configure(s.run, raw, check.Decode[check.SSHCommandConfig])
	if err != nil {
		return nil, err
	}
	return s.command(ctx, config.Command)
}

// command runs a command to its end, or to that of ctx, and keeps the beginning of
// what it prints.
func (s *sshSession) command(ctx context.Context, command string) (*check.SSHCommandResult, error) {
	channel, err := s.open(ctx)
	if err != nil {
		return nil, explain(ctx, err, "opening a channel")
	}
	// Closing the channel, and if the other side does not answer the connection, ends
	// the wait; nothing is left behind.
	stop := context.AfterFunc(ctx, func() {
		_ = channel.Close()
		s.client.Close()
	})
	defer stop()
	defer channel.Close()
	stdout, stderr := &beginning{limit: min(s.run.bodyCap, maxText)}, &beginning{limit: min(s.run.bodyCap, maxText)}
	channel.Stdout, channel.Stderr = stdout, stderr
	start := time.Now()
	err = channel.Run(command)
	result := &check.SSHCommandResult{
		Stdout: stdout.text(), Stderr: stderr.text(), ExecutionTimeMs: precise(time.Since(start)),
	}
	if exit, ok := errors.AsType[*ssh.ExitError](err); ok {
		result.ExitCode = exit.ExitStatus()
		if exit.Signal() != "" {
			result.ExitCode = -1
		}
		return result, nil
	}
	if err != nil {
		return nil, explain(ctx, err, "waiting for the command")
	}
	return result, nil
}

// Between asking again for a channel, from one pause to the other.
const (
	minPause = 5 * time.Millisecond
	maxPause = 100 * time.Millisecond
)

// open asks for a channel; a server that does not answer is left when ctx ends. One that has
// given as many as it does at once (MaxSessions of sshd) is asked again: others of this run
// will end.
func (s *sshSession) open(ctx context.Context) (*ssh.Session, error) {
	defer context.AfterFunc(ctx, func() { s.client.Close() })()
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		channel, full, err := s.ask()
		if !full {
			return channel, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause):
		}
	}
}

// ask asks for a channel once. full is that the server refuses, but not all.
func (s *sshSession) ask() (channel *ssh.Session, full bool, err error) {
	s.mu.Lock()
	s.asking++
	s.mu.Unlock()
	channel, err = s.client.NewSession()
	_, refused := errors.AsType[*ssh.OpenChannelError](err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asking--
	s.opened = s.opened || err == nil
	return channel, refused && (s.opened || s.asking > 0), err
}

func (s *sshSession) close() {
	s.client.Close()
	_ = s.client.Wait() // its goroutines
}

// beginning keeps what is written to it up to a limit, and takes the rest.
type beginning struct {
	limit int
	kept  []byte
	more  bool
}

func (b *beginning) Write(text []byte) (int, error) {
	if room := b.limit - len(b.kept); room < len(text) {
		b.kept, b.more = append(b.kept, text[:max(room, 0)]...), true
		return len(text), nil
	}
	b.kept = append(b.kept, text...)
	return len(text), nil
}

func (b *beginning) text() string {
	text := strings.ToValidUTF8(string(b.kept), "�")
	if b.more {
		text += "…"
	}
	return text
}
