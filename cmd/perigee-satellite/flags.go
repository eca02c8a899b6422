package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/perigee-monitoring/perigee/internal/fence"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/internal/probe"
	"github.com/perigee-monitoring/perigee/internal/satellite"
)

const description = `Runs checks close to what they watch and ships the results to a Perigee core.

It keeps checking while the core cannot be reached; results wait on disk, in the data directory.

Exit codes: 0 stopped by a signal, 1 failure, 2 wrong command line, 3 refused by the core for good, 4 superseded by another process with the same identity. After 3 and 4 a restart does not help.`

type flags struct {
	Core      []string `name:"core" env:"PERIGEE_CORE_URL,CHECKSTACK_CORE_URL" required:"" placeholder:"URL" help:"Core to connect to, such as https://core.example.org. Several cores of one Perigee may be given, by commas or by repeating the flag: when one fails or stops, the satellite goes to the next."`
	ID        string   `name:"id" env:"PERIGEE_SATELLITE_ID,CHECKSTACK_SATELLITE_CLIENT_ID" required:"" placeholder:"UUID" help:"The satellite's id, as the core gave it."`
	Token     string   `env:"PERIGEE_SATELLITE_TOKEN,CHECKSTACK_SATELLITE_TOKEN" placeholder:"TOKEN" help:"The satellite's token. On the command line others on this machine can read it; prefer the environment or --token-file."`
	TokenFile string   `env:"PERIGEE_SATELLITE_TOKEN_FILE" placeholder:"FILE" help:"File that holds the token."`

	DataDir           string        `env:"PERIGEE_DATA_DIR,CHECKSTACK_DATA_DIR" placeholder:"DIR" help:"Where results wait for the core and the last known assignments are kept. One process each. Default: a directory of the satellite's own under the user's state directory."`
	SpoolBytes        int64         `env:"PERIGEE_SPOOL_BYTES" default:"${spool_bytes}" placeholder:"N" help:"Most bytes of results to keep while the core is away; beyond, the oldest are dropped and counted (default ${default})."`
	PackageCacheBytes int64         `env:"PERIGEE_PACKAGE_CACHE_BYTES" default:"${package_cache_bytes}" placeholder:"N" help:"Most bytes of unpacked script packages to keep (default ${default})."`
	Concurrency       int           `env:"PERIGEE_CONCURRENCY" default:"${concurrency}" placeholder:"N" help:"Most runs that go on at once (default ${default})."`
	RunTimeout        time.Duration `env:"PERIGEE_RUN_TIMEOUT" default:"${run_timeout}" placeholder:"D" help:"End a run that takes longer than this and its interval (default ${default})."`
	AllowScripts      bool          `env:"PERIGEE_ALLOW_SCRIPTS" help:"Run shell scripts that the core assigns, within the policy for scripts. Scripts of the built-in runtime need no permission: they have no files and no programs."`
	ScriptPolicy      string        `env:"PERIGEE_SCRIPT_POLICY" placeholder:"FILE" help:"File with what scripts may do here at most, as JSON (perigee sandbox get -o json shows one); the core's policy cannot widen it. Its member checks says whom checks may reach."`

	Nameserver []string `env:"PERIGEE_NAMESERVER" placeholder:"HOST:PORT" help:"Ask this nameserver for the names in checks, instead of the system's; may be repeated, or a list with commas."`

	ObserverName   []string      `env:"PERIGEE_OBSERVER_NAME" placeholder:"NAME" help:"A name that can always be resolved, to tell whether the resolver works; may be repeated, or a list with commas; one of them is enough. The core's name when left out."`
	Reference      []string      `env:"PERIGEE_REFERENCE" placeholder:"URL" help:"A target that is always up, tcp://host:port or https://host/path, to tell whether the network works; may be repeated, or a list with commas. None when left out: nobody is asked that you did not name."`
	ReferenceShare float64       `env:"PERIGEE_REFERENCE_SHARE" default:"${reference_share}" placeholder:"SHARE" help:"How many of the references must answer, from 0 to 1 (default ${default})."`
	WatchGateway   bool          `env:"PERIGEE_WATCH_GATEWAY" default:"true" negatable:"" help:"Tell by the gateway of the default route whether the network works (on, Linux only)."`
	MaxLag         time.Duration `env:"PERIGEE_MAX_LAG" default:"${max_lag}" placeholder:"D" help:"How late runs may begin before this satellite counts as starved (default ${default})."`
	MaxClockOffset time.Duration `env:"PERIGEE_MAX_CLOCK_OFFSET" default:"${max_clock_offset}" placeholder:"D" help:"How far the clock may be from the core's before this satellite counts as ill (default ${default})."`

	StatusListen string `env:"PERIGEE_STATUS_LISTEN" placeholder:"ADDR" help:"Serve a status page here, such as 127.0.0.1:8421 (default: nowhere)."`
	LogFormat    string `env:"PERIGEE_LOG_FORMAT" enum:"text,json" default:"text" help:"Log as text or json (default ${default})."`
	Debug        bool   `env:"PERIGEE_DEBUG" help:"Log what a developer wants to know. Any DEBUG in the environment does the same."`

	Version kong.VersionFlag `help:"Print the version."`
}

// settings is what the flags come to.
type settings struct {
	config   satellite.Config
	cores    []string // their URLs for people
	urls     []string // likewise, of their WebSockets
	scripts  bool
	names    []string // of nameservers
	egress   *fence.Egress
	closed   []string // to scripts, wherever they lie
	debug    bool
	warnings []string
}

func (f *flags) settle() (settings, error) {
	var s settings
	var err error
	if err := s.addCores(f.Core); err != nil {
		return s, err
	}
	token, err := f.token()
	if err != nil {
		return s, err
	}
	if f.StatusListen != "" && !loopback(f.StatusListen) {
		s.warnings = append(s.warnings, "the status page can be reached from other machines and asks nobody who they are")
	}
	dir := f.DataDir
	if dir == "" {
		dir = defaultDataDir(f.ID)
	}
	if s.scripts = f.AllowScripts; s.scripts {
		s.warnings = append(s.warnings, "scripts are allowed: whoever may edit checks at the core can run commands here, as the user of this process")
	}
	policy, egress, err := localPolicy(f.ScriptPolicy)
	if err != nil {
		return s, err
	}
	if s.names, err = nameservers(f.Nameserver); err != nil {
		return s, err
	}
	observer, err := f.observer(s.names, s.urls)
	if err != nil {
		return s, err
	}
	s.egress = egress
	s.closed = []string{dir}
	if f.TokenFile != "" {
		s.closed = append(s.closed, f.TokenFile)
	}
	s.debug = f.Debug || os.Getenv("DEBUG") != ""
	s.config = satellite.Config{
		ID: f.ID, Token: token, DataDir: dir, Version: buildVersion(),
		SpoolBytes: f.SpoolBytes, PackageCacheBytes: f.PackageCacheBytes, Concurrency: f.Concurrency, RunTimeout: f.RunTimeout, StatusListen: f.StatusListen,
		Observer: observer, ScriptPolicy: policy,
	}
	return s, nil
}

// localPolicy reads the operator's own policies, for scripts and for checks; nil where the
// file says nothing of them, or none is named.
func localPolicy(name string) (*fence.Policy, *fence.Egress, error) {
	if name == "" {
		return nil, nil, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the policy for scripts: %w", err)
	}
	policy, egress, err := fence.ReadLocal(text)
	if err != nil {
		return nil, nil, fmt.Errorf("the policy for scripts in %s: %w", name, err)
	}
	return policy, egress, nil
}

// observer is what the satellite watches of itself.
func (f *flags) observer(nameservers, cores []string) (satellite.ObserverConfig, error) {
	o := satellite.ObserverConfig{
		Names: f.ObserverName, Gateway: f.WatchGateway, References: f.Reference, ReferenceShare: f.ReferenceShare,
		MaxLag: f.MaxLag, MaxClockOffset: f.MaxClockOffset,
	}
	switch {
	case len(o.Names) > satellite.MaxReferences:
		return o, fmt.Errorf("--observer-name: at most %d", satellite.MaxReferences)
	case len(o.References) > satellite.MaxReferences:
		return o, fmt.Errorf("--reference: at most %d", satellite.MaxReferences)
	case f.ReferenceShare < 0 || f.ReferenceShare > 1:
		return o, errors.New("--reference-share must be from 0 to 1")
	case f.MaxLag < 0:
		return o, errors.New("--max-lag must not be negative")
	case f.MaxClockOffset < 0:
		return o, errors.New("--max-clock-offset must not be negative")
	}
	for _, reference := range o.References {
		if _, err := satellite.ParseReference(reference); err != nil {
			return o, fmt.Errorf("--reference: %w", err)
		}
	}
	if len(nameservers) > 0 || len(o.Names) > 0 || satellite.HasNameserver() {
		o.Resolver = probe.Resolver(nameservers)
	}
	if len(o.Names) == 0 {
		o.Names = namesIn(cores)
	}
	return o, nil
}

// namesIn are the hosts of URLs that have to be resolved.
func namesIn(urls []string) []string {
	var names []string
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil || loopback(u.Host) || slices.Contains(names, u.Hostname()) {
			continue
		}
		if _, err := netip.ParseAddr(u.Hostname()); err != nil {
			names = append(names, u.Hostname())
		}
	}
	return names
}

// nameservers are addresses with a port, 53 where none is given.
func nameservers(given []string) ([]string, error) {
	var all []string
	for _, text := range given {
		addr, err := netip.ParseAddrPort(text)
		if err != nil {
			var ip netip.Addr
			if ip, err = netip.ParseAddr(strings.Trim(text, "[]")); err != nil {
				return nil, fmt.Errorf("--nameserver: %q is not an address; write it as 192.0.2.53 or 192.0.2.53:5353", text)
			}
			addr = netip.AddrPortFrom(ip, 53)
		}
		all = append(all, addr.String())
	}
	return all, nil
}

// addCores takes in the cores, each once.
func (s *settings) addCores(cores []string) error {
	insecure := false
	for _, core := range cores {
		core = strings.TrimSuffix(strings.TrimSpace(core), "/")
		if core == "" || slices.Contains(s.cores, core) {
			continue
		}
		socket, err := link.URL(core)
		if err != nil {
			return fmt.Errorf("--core: %w", err)
		}
		s.cores, s.urls = append(s.cores, core), append(s.urls, socket)
		insecure = insecure || plain(core)
	}
	switch {
	case len(s.cores) == 0:
		return errors.New("--core: no core is given")
	case insecure:
		s.warnings = append(s.warnings, "the core is reached over plain http: whoever is on the way can read the token and the results; use https")
	}
	return nil
}

func (f *flags) token() (string, error) {
	switch {
	case f.Token != "" && f.TokenFile != "":
		return "", errors.New("--token and --token-file are both given; give one")
	case f.Token != "":
		return f.Token, nil
	case f.TokenFile == "":
		return "", errors.New("no token; give --token-file FILE or PERIGEE_SATELLITE_TOKEN")
	}
	b, err := os.ReadFile(f.TokenFile)
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", fmt.Errorf("the token file %s is empty", f.TokenFile)
	}
	return token, nil
}

// defaultDataDir is a directory of the satellite's own: two satellites of one
// user do not meet in it.
func defaultDataDir(id string) string {
	base := os.Getenv("XDG_STATE_HOME")
	if home, err := os.UserHomeDir(); base == "" && err == nil {
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "perigee-satellite", url.PathEscape(id))
}

// plain: the core is on another machine, and the way there is not encrypted (spec M38).
func plain(core string) bool {
	u, err := url.Parse(core)
	return err == nil && (u.Scheme == "http" || u.Scheme == "ws") && !loopback(u.Host)
}

// loopback: the host, with or without a port, is this machine.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
