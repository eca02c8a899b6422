package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"

	"github.com/perigee-monitoring/perigee/internal/client"
)

// global is what can be said with every command that asks a core.
type global struct {
	URL       string         `group:"global" name:"url" env:"PERIGEE_URL" default:"http://127.0.0.1:8420" placeholder:"URL" help:"The core to ask (${default})."`
	Token     string         `group:"global" env:"PERIGEE_TOKEN" placeholder:"TOKEN" help:"API token. On the command line others on this machine can read it; prefer the environment or --token-file."`
	TokenFile string         `group:"global" env:"PERIGEE_TOKEN_FILE" placeholder:"FILE" help:"File that holds the API token; wins over --token."`
	Output    string         `group:"global" short:"o" enum:"table,json,yaml" default:"table" placeholder:"FORMAT" help:"How to print: table, json or yaml (${default})."`
	Timeout   *time.Duration `group:"global" env:"PERIGEE_TIMEOUT" placeholder:"D" help:"How long one request may take (30s; 2m for all definitions at once, as apply, diff, import and export do)."`
	CAFile    string         `group:"global" name:"ca-file" env:"PERIGEE_CA_FILE" placeholder:"FILE" help:"PEM certificates to trust besides the system's."`
}

// app is what commands that ask a core work with. It is made when a command wants
// it, so that those who do not are not bothered with tokens and URLs.
type app struct {
	client *client.Client
	out    io.Writer // what was asked for
	errw   io.Writer // everything else
	in     io.Reader
	format string // table, json or yaml
	// interactive: a person sits there, who sees errw and can answer.
	interactive bool
	// pictures: out is a terminal, which shows characters that draw.
	pictures bool
	now      func() time.Time
}

func newApp(g *global, in io.Reader, out, errw io.Writer) (*app, error) {
	var timeout time.Duration
	if g.Timeout != nil {
		timeout = *g.Timeout
	}
	if g.Timeout != nil && timeout <= 0 {
		return nil, usage("", "--timeout must be more than nothing, such as 30s")
	}
	token := g.Token
	if g.TokenFile != "" {
		text, err := os.ReadFile(g.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("reading the token: %w", err)
		}
		if token = strings.TrimSpace(string(text)); token == "" {
			return nil, fmt.Errorf("reading the token: %s is empty", g.TokenFile)
		}
	}
	c, err := client.New(client.Options{
		URL: g.URL, Token: token, CAFile: g.CAFile, Timeout: timeout, UserAgent: "perigee/" + versionText(),
	})
	if err != nil {
		return nil, &failure{code: exitUsage, err: err}
	}
	return &app{
		client: c, out: out, errw: errw, in: in, format: g.Output,
		interactive: terminal(in) && terminal(errw), pictures: terminal(out), now: time.Now,
	}, nil
}

func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// confirm asks before something is done that cannot be undone. yes is the answer
// given beforehand; without it, and with nobody to ask, nothing is done. again is
// the command that says yes.
func (a *app) confirm(yes bool, question, again string) error {
	if yes {
		return nil
	}
	if !a.interactive {
		return usage(again, "this cannot be undone, and there is nobody to ask")
	}
	fmt.Fprintf(a.errw, "%s [y/N] ", question)
	answer, _ := bufio.NewReader(a.in).ReadString('\n') // no answer is no
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return fmt.Errorf("nothing was done")
}

// list is a list as the API gives it.
type list[T any] struct {
	Items []T `json:"items"`
}

// fetch reads a list, page by page; limit zero is all of it. A person is told how
// it goes when it takes long.
func fetch[T any](ctx context.Context, a *app, path string, query url.Values, limit int) ([]T, error) {
	seen, done := a.progress()
	defer done()
	return client.All[T](ctx, a.client, path, query, limit, seen)
}

// progress tells a person that waits for longer than a second how many items were
// read. done wipes that away.
func (a *app) progress() (seen func(int), done func()) {
	if !a.interactive {
		return nil, func() {}
	}
	began, shown := a.now(), false
	seen = func(n int) {
		if a.now().Sub(began) > time.Second {
			fmt.Fprintf(a.errw, "\r%d read…", n)
			shown = true
		}
	}
	return seen, func() {
		if shown {
			fmt.Fprint(a.errw, "\r\x1b[K")
		}
	}
}

// at is the path of the thing that ref, an id or a name, names: at("/satellites", "eu-1").
func at(collection, ref string, more ...string) string {
	path := collection + "/" + url.PathEscape(ref)
	for _, m := range more {
		path += "/" + m
	}
	return path
}
