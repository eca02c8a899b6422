package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/alecthomas/kong"
	"golang.org/x/sync/errgroup"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/manifest"
	"github.com/perigee-monitoring/perigee/internal/server"
	"github.com/perigee-monitoring/perigee/internal/stray"
	"github.com/perigee-monitoring/perigee/internal/targets"
)

// devToken is the API token of a development core. It is no secret: such a core
// listens on loopback only.
const devToken = "perigee_development"

// devTargetPort is where the first sample target listens.
const devTargetPort = 8431

// DevCmd runs a core to try things with.
type DevCmd struct {
	Listen  string   `default:"127.0.0.1:8420" env:"PERIGEE_LISTEN" placeholder:"ADDR" help:"Address of API, page and satellites (${default}); loopback only."`
	DataDir string   `default:".perigee" env:"PERIGEE_DATA_DIR" placeholder:"DIR" help:"Where files are kept (${default}); remove it to start afresh."`
	Apply   []string `type:"path" placeholder:"FILE" help:"YAML documents to apply besides the samples; a directory means every file in it."`
	Samples bool     `default:"true" negatable:"" help:"Start sample targets and check them (on)."`
	Debug   bool     `env:"PERIGEE_DEBUG" help:"Log what a developer wants to see."`
}

// Run serves until the context ends.
func (c *DevCmd) Run(ctx context.Context, command *kong.Context) error {
	if err := onLoopback(c.Listen); err != nil {
		return err
	}
	level := slog.LevelWarn
	if c.Debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	stray.To(log)
	s, err := server.New(ctx, server.Config{
		Settings: settings(command.Selected().Flags),
		Listen:   c.Listen, DataDir: c.DataDir, AdminToken: devToken, Local: true, Version: versionText(), Log: log,
	})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	if err := c.prepare(ctx, s, group); err != nil {
		return errors.Join(err, s.Close())
	}
	group.Go(func() error { return s.Run(ctx) })
	c.welcome(s.URL())
	return group.Wait()
}

// prepare starts the sample targets and applies what is to be checked.
func (c *DevCmd) prepare(ctx context.Context, s *server.Server, group *errgroup.Group) error {
	var docs []manifest.Doc
	if c.Samples {
		watched, err := targets.Listen(devTargetPort)
		if err != nil {
			return err
		}
		group.Go(func() error { return watched.Run(ctx) })
		if docs, err = samples(watched); err != nil {
			return err
		}
	}
	react, err := defaultAutomations()
	if err != nil {
		return err
	}
	if err := s.InstallAutomations(ctx, react); err != nil {
		return err
	}
	extra, err := manifest.Load(c.Apply...)
	if err != nil {
		return err
	}
	if docs = append(docs, extra...); len(docs) == 0 {
		return nil
	}
	_, err = s.Catalog.Apply(ctx, entity.System, manifest.Documents(docs), false)
	return inFiles(err, docs)
}

//go:embed automations.yaml
var defaultAutomationText string

// defaultAutomations are what a core does by itself when nobody has said otherwise.
func defaultAutomations() ([]automation.Input, error) {
	docs, err := manifest.Parse("automations.yaml", strings.NewReader(defaultAutomationText))
	if err != nil {
		return nil, err
	}
	var all []automation.Input
	for _, d := range docs {
		all = append(all, automation.Input{Name: d.Metadata.Name, Labels: d.Metadata.Labels, Definition: d.Spec})
	}
	return all, nil
}

//go:embed samples.yaml
var sampleText string

// samples are the sample checks, pointed at the targets.
func samples(watched *targets.Targets) ([]manifest.Doc, error) {
	text, err := template.New("samples").Funcs(template.FuncMap{"host": host, "port": port}).Parse(sampleText)
	if err != nil {
		return nil, fmt.Errorf("reading the samples: %w", err)
	}
	var filled bytes.Buffer
	if err := text.Execute(&filled, watched); err != nil {
		return nil, fmt.Errorf("filling in the samples: %w", err)
	}
	return manifest.Parse("samples.yaml", &filled)
}

func host(address string) string {
	h, _, _ := net.SplitHostPort(address) // an address of ours
	return h
}

func port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}

func onLoopback(address string) error {
	h, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("--listen %s is not an address such as 127.0.0.1:8420", address)
	}
	if ip := net.ParseIP(h); h == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("a development core has a well-known token and listens on loopback only; for --listen %s use: perigee serve --listen %s", address, address)
}

func (c *DevCmd) welcome(url string) {
	dir, err := filepath.Abs(c.DataDir)
	if err != nil {
		dir = c.DataDir
	}
	fmt.Printf(`Perigee %s is running. Stop it with Ctrl-C.

  page     %s/#token=%s
  API      %s/api/v1/openapi.json
  files    %s

In another terminal:

  export PERIGEE_URL=%s PERIGEE_TOKEN=%s
  perigee status
  perigee satellite list
  perigee result list --limit 10
  perigee event watch

`, versionText(), url, devToken, url, dir, url, devToken)
}
