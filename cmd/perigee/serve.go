package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/perigee-monitoring/perigee/internal/blob"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/secret"
	"github.com/perigee-monitoring/perigee/internal/server"
	"github.com/perigee-monitoring/perigee/internal/stray"
)

// maxDrainSpan leaves room for the rest of a stop; see stopWithin.
const maxDrainSpan = 6 * time.Second

// maxGrace bounds --disconnect-grace: who is away for longer is lost, and that is told.
const maxGrace = 5 * time.Minute

// ServeCmd runs a core. What is secretive may have a password in it (see settings).
type ServeCmd struct {
	Listen           string        `default:"127.0.0.1:8420" env:"PERIGEE_LISTEN" placeholder:"ADDR" help:"Address of API, page and satellites (${default})."`
	Database         string        `env:"PERIGEE_DATABASE" secretive:"" placeholder:"URL" help:"postgres://… or a SQLite file; perigee.db in the data directory when left out."`
	Bus              string        `env:"PERIGEE_BUS" secretive:"" placeholder:"BUS" help:"How several cores tell each other to look: postgres, postgres://… to reach its notifications another way (past a pooler), nats://…, or local for one core; by the database when left out."`
	KeepTransitions  time.Duration `default:"2160h" env:"PERIGEE_KEEP_TRANSITIONS" placeholder:"DURATION" help:"How long it is known what happened to satellites and systems (${default}, which is 90 days)."`
	KeepRuns         time.Duration `default:"168h" env:"PERIGEE_KEEP_RUNS" placeholder:"DURATION" help:"How long single results and skips are kept (${default}, which is 7 days)."`
	KeepDetails      time.Duration `default:"24h" env:"PERIGEE_KEEP_DETAILS" placeholder:"DURATION" help:"How long the evidence of healthy results is kept that followed healthy ones; all others keep theirs (${default})."`
	KeepMinutes      time.Duration `default:"48h" env:"PERIGEE_KEEP_MINUTES" placeholder:"DURATION" help:"How long history is kept by the minute (${default})."`
	KeepHours        time.Duration `default:"2160h" env:"PERIGEE_KEEP_HOURS" placeholder:"DURATION" help:"How long history is kept by the hour, longer than by the minute (${default}, which is 90 days)."`
	KeepDays         time.Duration `default:"9600h" env:"PERIGEE_KEEP_DAYS" placeholder:"DURATION" help:"How long history is kept by the day, longer than anything else of it (${default}, which is 400 days)."`
	KeepAudit        time.Duration `default:"9600h" env:"PERIGEE_KEEP_AUDIT" placeholder:"DURATION" help:"How long it is known who changed what (${default}, which is 400 days)."`
	NpmRegistry      string        `env:"PERIGEE_NPM_REGISTRY" secretive:"" placeholder:"URL" help:"Where script packages are fetched from; npm's public registry when left out. PERIGEE_NPM_TOKEN is shown to it."`
	Blobs            string        `default:"db" env:"PERIGEE_BLOBS" secretive:"" placeholder:"PLACE" help:"Where their bytes are kept: db, dir:PATH, or s3://BUCKET?endpoint=https://HOST with PERIGEE_S3_ACCESS_KEY and PERIGEE_S3_SECRET_KEY (${default})."`
	SecretKeyFile    string        `env:"PERIGEE_SECRET_KEY_FILE" placeholder:"FILE" help:"Root key of secrets, 32 bytes in base64, the same for all cores of a database; secret.key in the data directory, made at the first start, when left out. PERIGEE_SECRET_KEY may hold the key itself."`
	SecretKeyOldFile string        `env:"PERIGEE_SECRET_KEY_OLD_FILE" placeholder:"FILE" help:"Root key before this one, until perigee secret rotate-key has sealed the secrets' keys by the new one."`
	VaultAddr        string        `env:"PERIGEE_VAULT_ADDR" secretive:"" placeholder:"URL" help:"HashiCorp Vault or OpenBao from which secrets are fetched that are kept there (KV version 2)."`
	VaultTokenFile   string        `env:"PERIGEE_VAULT_TOKEN_FILE" placeholder:"FILE" help:"File with the token for it, read anew for each request."`
	VaultMount       string        `default:"secret" env:"PERIGEE_VAULT_MOUNT" placeholder:"MOUNT" help:"Mount of its KV engine (${default})."`
	VaultNamespace   string        `env:"PERIGEE_VAULT_NAMESPACE" placeholder:"NS" help:"Its namespace, where it has some."`
	DataDir          string        `default:"/var/lib/perigee" env:"PERIGEE_DATA_DIR" placeholder:"DIR" help:"Where the core keeps its files (${default})."`
	AdminToken       string        `env:"PERIGEE_ADMIN_TOKEN" placeholder:"TOKEN" hidden:"" help:"First API token, better given by PERIGEE_ADMIN_TOKEN; without it the first start makes one and prints it once."`
	Local            bool          `default:"true" negatable:"" env:"PERIGEE_LOCAL" help:"Run the built-in satellite, which carries out assignments that include the core (on)."`
	LocalScripts     bool          `env:"PERIGEE_LOCAL_SCRIPTS" help:"Let the built-in satellite run shell scripts, as the user of this process; whoever may edit checks can then do here what this user can."`
	TrustForwarded   bool          `env:"PERIGEE_TRUST_FORWARDED" help:"Believe X-Forwarded-For; only behind a proxy that sets it."`
	PlacementHoldOff time.Duration `default:"1m" env:"PERIGEE_PLACEMENT_HOLD_OFF" placeholder:"DURATION" help:"How long a satellite may be lost before the seats of counted assignments that it has move, at least 5s (${default})."`
	DisconnectGrace  time.Duration `default:"0s" env:"PERIGEE_DISCONNECT_GRACE" placeholder:"DURATION" help:"How long a satellite may be away before satellite.disconnected is told, at most 5m; who comes back in time was never away (${default})."`
	MaxClockSkew     time.Duration `default:"5s" env:"PERIGEE_MAX_CLOCK_SKEW" placeholder:"DURATION" help:"How far a satellite's clock may be from the core's before satellite.clock_skew is told (${default})."`
	DrainSpan        time.Duration `default:"5s" env:"PERIGEE_DRAIN_SPAN" placeholder:"DURATION" help:"Over how long a stop lets satellites go to the other cores, at most 6s (${default})."`
	LogFormat        string        `enum:"text,json" default:"text" env:"PERIGEE_LOG_FORMAT" help:"How to log: text or json."`
	Debug            bool          `env:"PERIGEE_DEBUG" help:"Log what a developer wants to see."`
}

// Run serves until the context ends.
func (c *ServeCmd) Run(ctx context.Context, command *kong.Context) error {
	if c.PlacementHoldOff < 5*time.Second {
		return fmt.Errorf("--placement-hold-off must be at least 5s")
	}
	if c.DisconnectGrace < 0 || c.DisconnectGrace > maxGrace {
		return fmt.Errorf("--disconnect-grace must be from 0s to %s", maxGrace)
	}
	if c.DrainSpan < 0 || c.DrainSpan > maxDrainSpan {
		return fmt.Errorf("--drain-span must be from 0s to %s", maxDrainSpan)
	}
	if c.MaxClockSkew <= 0 {
		return errors.New("--max-clock-skew must be more than 0s")
	}
	log := newLog(os.Stderr, c.LogFormat, c.Debug)
	stray.To(log)
	vault, err := c.vault()
	if err != nil {
		return err
	}
	s, err := server.New(ctx, server.Config{
		Settings:        settings(command.Selected().Flags),
		KeepTransitions: c.KeepTransitions, KeepAudit: c.KeepAudit,
		Keep:     health.Retention{Runs: c.KeepRuns, Details: c.KeepDetails, Minutes: c.KeepMinutes, Hours: c.KeepHours, Days: c.KeepDays},
		Registry: c.NpmRegistry, RegistryToken: os.Getenv("PERIGEE_NPM_TOKEN"), Blobs: c.Blobs,
		BlobKeys:      blob.Keys{AccessKey: os.Getenv("PERIGEE_S3_ACCESS_KEY"), SecretKey: os.Getenv("PERIGEE_S3_SECRET_KEY"), SessionToken: os.Getenv("PERIGEE_S3_SESSION_TOKEN")},
		SecretKeyFile: c.SecretKeyFile, SecretKeyOldFile: c.SecretKeyOldFile, SecretKey: os.Getenv("PERIGEE_SECRET_KEY"), Vault: vault,
		Listen: c.Listen, Database: c.Database, Bus: c.Bus, DataDir: c.DataDir, AdminToken: c.AdminToken,
		Local: c.Local, LocalScripts: c.LocalScripts, TrustForwarded: c.TrustForwarded, Grace: c.DisconnectGrace, HoldOff: c.PlacementHoldOff, MaxClockSkew: c.MaxClockSkew, DrainSpan: c.DrainSpan, Version: versionText(), Log: log,
	})
	if err != nil {
		return err
	}
	if s.FirstToken != "" {
		fmt.Printf("API token, shown this once:\n\n  export PERIGEE_TOKEN=%s\n\n", s.FirstToken)
	}
	code, err := s.SetupCode(ctx)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	if code != "" {
		fmt.Printf("Nobody can sign in with a password yet. Create the administrator at\n\n  %s/#setup=%s\n\n", s.URL(), code)
	}
	return s.Run(ctx)
}

// vault is where secrets are fetched from that are not kept here; nil for nowhere.
func (c *ServeCmd) vault() (*secret.KV, error) {
	if c.VaultAddr == "" {
		return nil, nil
	}
	if c.VaultTokenFile == "" {
		return nil, usage("", "--vault-addr needs --vault-token-file")
	}
	return &secret.KV{
		Address: c.VaultAddr, Mount: c.VaultMount, Namespace: c.VaultNamespace, Client: &http.Client{Timeout: 10 * time.Second},
		Token: func() (string, error) {
			text, err := os.ReadFile(c.VaultTokenFile)
			return strings.TrimSpace(string(text)), err
		},
	}, nil
}

func newLog(w io.Writer, format string, debug bool) *slog.Logger {
	o := &slog.HandlerOptions{Level: slog.LevelInfo}
	if debug {
		o.Level = slog.LevelDebug
	}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
