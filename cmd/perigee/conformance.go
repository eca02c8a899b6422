package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/perigee-monitoring/perigee/conformance"
	"github.com/perigee-monitoring/perigee/internal/administrator"
)

// ConformanceCmd holds one end of the protocol to its specification.
type ConformanceCmd struct {
	Core  ConformanceCoreCmd  `cmd:"" default:"withargs" help:"Drive a core as an original agent would. This is what happens when no other is named."`
	Agent ConformanceAgentCmd `cmd:"" help:"Drive an agent as an original core would."`
}

// ConformanceCoreCmd drives a core as an original agent would.
type ConformanceCoreCmd struct {
	ID             string `name:"id" placeholder:"UUID" help:"A satellite of the core that nobody else uses. Without it what is needed is made through Perigee's API, and deleted afterwards."`
	SatelliteToken string `env:"PERIGEE_SATELLITE_TOKEN" placeholder:"TOKEN" help:"Its token, better given by PERIGEE_SATELLITE_TOKEN."`
	Only           string `placeholder:"PREFIX" help:"Run only the cases whose names begin so, such as L3."`
}

// conformed is what a run of the suite comes to.
type conformed struct {
	URL     string   `json:"url,omitempty"`     // of the core
	Command []string `json:"command,omitempty"` // that starts the agent
	Passed  int      `json:"passed"`
	// NotChecked are cases about what the core does not have, or nobody administers.
	NotChecked int                   `json:"notChecked"`
	Failed     int                   `json:"failed"`
	Cases      []conformance.Outcome `json:"cases"`
}

// Run drives it.
func (c *ConformanceCoreCmd) Run(ctx context.Context, a *app) error {
	target := conformance.Target{URL: a.client.URL(), ID: c.ID, Token: c.SatelliteToken}
	switch {
	case (c.ID == "") != (c.SatelliteToken == ""):
		return usage("PERIGEE_SATELLITE_TOKEN=… perigee conformance --url URL --id UUID", "--id and the satellite's token go together")
	case c.ID == "":
		admin := administrator.New(a.client)
		defer func() {
			if err := admin.Close(context.WithoutCancel(ctx)); err != nil {
				fmt.Fprintf(a.errw, "perigee: what was made for this could not be deleted: %v\n", err)
			}
		}()
		made, err := admin.Enrol(ctx)
		if err != nil {
			return err
		}
		target.ID, target.Token, target.Administrator = made.ID, made.Token, admin
	}
	done := conformed{URL: target.URL}
	target.Only = func(name string) bool { return strings.HasPrefix(name, c.Only) }
	done.Cases = conformance.Core(ctx, target, done.seen(a))
	if len(done.Cases) == 0 {
		return usage("", "no case has a name that begins with %s", c.Only)
	}
	return done.report(a)
}

// ConformanceAgentCmd drives an agent as an original core would.
type ConformanceAgentCmd struct {
	Command []string `arg:"" passthrough:"" placeholder:"COMMAND" help:"What starts the agent, behind --."`
	Only    string   `placeholder:"PREFIX" help:"Run only the cases whose names begin so, such as G6."`
}

// Help says what the command finds in its environment.
func (c *ConformanceAgentCmd) Help() string {
	return `For each case the command is started, and is told by its environment where the core is and who it is:

  CHECKSTACK_CORE_URL, CHECKSTACK_SATELLITE_CLIENT_ID, CHECKSTACK_SATELLITE_TOKEN, CHECKSTACK_DATA_DIR
  PERIGEE_CORE_URL, PERIGEE_SATELLITE_ID, PERIGEE_SATELLITE_TOKEN, PERIGEE_DATA_DIR

The data directory is a new one each time. A case ends the agent with SIGTERM. Two cases need an agent that runs scripts:

  perigee conformance agent -- perigee-satellite --allow-scripts`
}

// Run drives it.
func (c *ConformanceAgentCmd) Run(ctx context.Context, a *app) error {
	command := c.Command
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	const hint = "perigee conformance agent -- COMMAND [ARGUMENT…]"
	if len(command) == 0 {
		return usage(hint, "the command that starts the agent is missing")
	}
	program, err := exec.LookPath(command[0])
	if err != nil {
		return usage(hint, "%w", err)
	}
	dir, err := os.MkdirTemp("", "perigee-conformance-")
	if err != nil {
		return err
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintf(a.errw, "perigee: what the agent left could not be removed: %v\n", err)
		}
	}()
	done := conformed{Command: command}
	subject := conformance.Subject{Start: starter(program, command, dir), Only: func(name string) bool { return strings.HasPrefix(name, c.Only) }}
	done.Cases = conformance.Agent(ctx, subject, done.seen(a))
	if len(done.Cases) == 0 {
		return usage("", "no case has a name that begins with %s", c.Only)
	}
	return done.report(a)
}

// stopAgentWithin is how long an agent may take to end; then it is killed.
const stopAgentWithin = 15 * time.Second

// starter starts the agent's command, each with a data directory of its own below dir.
// What it says is not shown.
func starter(program string, command []string, dir string) func(context.Context, string, string, string) (func(), error) {
	return func(_ context.Context, url, id, token string) (func(), error) {
		home, err := os.MkdirTemp(dir, "")
		if err != nil {
			return nil, err
		}
		cmd := exec.Command(program, command[1:]...) // ended by its own stop, which is part of what is looked at
		cmd.Args[0] = command[0]
		cmd.Env = append(withoutOurs(os.Environ()),
			"CHECKSTACK_CORE_URL="+url, "CHECKSTACK_SATELLITE_CLIENT_ID="+id, "CHECKSTACK_SATELLITE_TOKEN="+token, "CHECKSTACK_DATA_DIR="+home,
			"PERIGEE_CORE_URL="+url, "PERIGEE_SATELLITE_ID="+id, "PERIGEE_SATELLITE_TOKEN="+token, "PERIGEE_DATA_DIR="+home)
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = cmd.Wait() // how it ends is not looked at: one that was refused fails, and rightly
		}()
		return func() {
			if cmd.Process.Signal(syscall.SIGTERM) != nil {
				_ = cmd.Process.Kill() // there are systems without that signal
			}
			select {
			case <-ended:
			case <-time.After(stopAgentWithin):
				_ = cmd.Process.Kill()
				<-ended
			}
		}, nil
	}
}

// withoutOurs keeps what a person has set for a satellite of theirs from the agent.
func withoutOurs(environment []string) []string {
	return slices.DeleteFunc(environment, func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		switch name {
		case "PERIGEE_TOKEN", "PERIGEE_TOKEN_FILE", "PERIGEE_SATELLITE_TOKEN_FILE", "PERIGEE_STATUS_LISTEN":
			return true
		}
		return false
	})
}

// seen counts, and shows a person who waits how it goes.
func (d *conformed) seen(a *app) func(conformance.Outcome) {
	return func(o conformance.Outcome) {
		switch {
		case o.NotChecked:
			d.NotChecked++
		case o.Pass:
			d.Passed++
		default:
			d.Failed++
		}
		if a.interactive {
			fmt.Fprintf(a.errw, "%s %s\n", result(o), o.Name)
		}
	}
}

func (d *conformed) report(a *app) error {
	err := a.print(d, func(w *tabwriter.Writer) {
		row(w, "CASE", "", "WHAT", "WHY NOT")
		for _, o := range d.Cases {
			row(w, o.Name, result(o), o.What, dash(o.Detail))
		}
		_ = w.Flush()
		fmt.Fprintf(w, "\n%d passed, %d failed", d.Passed, d.Failed)
		if d.NotChecked > 0 {
			fmt.Fprintf(w, ", %d not checked", d.NotChecked)
		}
		fmt.Fprintln(w)
	})
	if err == nil && d.Failed > 0 {
		return &failure{code: exitFailed, err: fmt.Errorf("%d of %d cases failed", d.Failed, len(d.Cases))}
	}
	return err
}

func result(o conformance.Outcome) string {
	switch {
	case o.NotChecked:
		return "-"
	case o.Pass:
		return "pass"
	}
	return "FAIL"
}
