// Package probe carries checks out: it connects as the strategy says, lets every
// collector measure over the connection, and reports what was found in the form
// of spec F.1.
//
// It promises a result for every run, whatever the target, the config or its own
// mistakes do: a panic becomes a failed run. Everything that a target sends is
// bounded (spec M37), every wait has an end, and nothing outlives the run: no
// connection, no goroutine. It does not evaluate assertions.
//
// A run is unhealthy when the target or the config is at fault, and degraded when
// the run says nothing against the target: nothing was measured (M77), this
// satellite is not able to measure (no permission for ICMP), or a threshold of the
// config is passed (a certificate that ends soon, M79).
package probe

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fence"
	"github.com/perigee-monitoring/perigee/internal/script"
	"github.com/perigee-monitoring/perigee/protocol"
)

// Options of a Prober; the zero value works.
type Options struct {
	// Log gets what is wrong with the prober itself; nil for nowhere.
	Log *slog.Logger
	// Version goes into the User-Agent of HTTP requests.
	Version string
	// Roots are the certificate authorities to trust; nil for the system's.
	Roots *x509.CertPool
	// Nameservers, each with its port, are asked for names instead of the system's; none
	// leaves it to the system.
	Nameservers []string
	// ResolvConf names the file with the system's nameservers; "" for /etc/resolv.conf.
	ResolvConf string
	// AllowScripts lets shell scripts run, and others that need a program of this machine.
	// Off, they do not exist here; scripts of the built-in runtime always do.
	AllowScripts bool
	// HowToAllow says for people how AllowScripts is set here; "" for the flag of a satellite.
	HowToAllow string
	// Fence gives what holds for scripts right now; nil for no fence but their own.
	Fence func() fence.Rules
	// Egress is whom checks may reach from here; nil for [fence.DefaultEgress].
	Egress *fence.Egress
	// ScriptDir gives the directory in which the scripts of a run start, and takes it
	// back; nil for an empty one.
	ScriptDir func(context.Context) (dir string, done func(), err error)
	// Closed are files and directories that no script finds where a policy closes files,
	// such as the satellite's token and what it keeps.
	Closed []string
}

// Lease gets the values of a collector entry's secretEnv, right before it is carried
// out (spec H.2). An error that Unable made is this satellite's or its core's trouble.
type Lease = func(ctx context.Context, entry string) (map[string]string, error)

// Unable is an error of ours and none of the target: a run in which nothing worse
// happened is degraded.
func Unable(reason string) error { return unsupported{reason} }

// Prober executes checks. Between runs it keeps nothing that a run could notice; it may
// be used from any number of goroutines.
type Prober struct {
	options    Options
	strategies map[string]connect
	// missing says of strategies and collectors of this build why they cannot be used here.
	missing map[string]string
	scripts script.Runner
	egress  fence.Egress // whom checks may reach from here
	configs configs
	// runtimes are the programs for inline scripts that this machine has, with their paths.
	runtimes map[string]string
}

// offer is a strategy that this build has.
type offer struct {
	connect func(p *Prober, ctx context.Context, r run, config json.RawMessage) (session, error)
	// missing says what this machine lacks for it, "" for nothing; nil asks for nothing.
	missing func() string
}

// offers are the strategies that do not depend on options. Each file of a strategy
// adds its own in its init, so that a build tag on the file is all that leaves it out.
var offers = map[string]offer{}

// connect makes a strategy's client. The error says what is wrong with the
// target or the config.
type connect func(ctx context.Context, r run, config json.RawMessage) (session, error)

// session is a connected client of one strategy, for one run.
type session interface {
	// collect carries out one collector of the strategy; several may run at once.
	// A result beside an error is kept: it is what was measured of the failure.
	collect(ctx context.Context, collectorID string, config json.RawMessage) (any, error)
	// verdict may lower the status of a run in which nothing failed.
	verdict() (check.Status, string)
	// timings are the phases of the run; nil if there are none to tell apart.
	timings() *check.Timings
	close()
}

// secretTaker is a session whose collectors take secrets.
type secretTaker interface {
	collectWith(ctx context.Context, collectorID string, config json.RawMessage, secrets map[string]string) (any, error)
}

// dater is a session whose results, and what is asserted of them, depend on the date.
type dater interface {
	// blame is what besides the target may be to blame if they are found wrong.
	blame() check.Blame
}

// measurer is a session that can measure its target without a collector, although
// its strategy connects lazily.
type measurer interface {
	measure(ctx context.Context) (measured bool, err error)
}

// New makes a Prober with every strategy of this build.
func New(options Options) *Prober {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.ResolvConf == "" {
		options.ResolvConf = "/etc/resolv.conf"
	}
	if options.ScriptDir == nil {
		options.ScriptDir = scratch
	}
	p := &Prober{options: options, strategies: map[string]connect{}, missing: map[string]string{}, egress: fence.DefaultEgress()}
	if options.Egress != nil {
		p.egress = *options.Egress
	}
	for id, o := range offers {
		if o.missing != nil {
			if why := o.missing(); why != "" {
				p.missing[id] = why
				continue
			}
		}
		p.strategies[id] = func(ctx context.Context, r run, config json.RawMessage) (session, error) {
			return o.connect(p, ctx, r, config)
		}
	}
	p.offerScripts()
	return p
}

// plain is what sessions have in common that do nothing of their own about it: they
// judge nothing, and their phases are those of connecting.
type plain struct{ phases *phases }

func (p plain) verdict() (check.Status, string) { return check.Healthy, "" }
func (p plain) timings() *check.Timings {
	if p.phases == nil {
		return nil
	}
	return p.phases.result()
}

// Inventory names what can be run here, and why the rest cannot.
func (p *Prober) Inventory() protocol.Inventory {
	in := protocol.Inventory{Missing: maps.Clone(p.missing)}
	for _, id := range check.Strategies() {
		if p.strategies[id] != nil {
			in.Strategies = append(in.Strategies, id)
			in.Collectors = append(in.Collectors, slices.DeleteFunc(check.Collectors(id), func(c string) bool { return p.missing[c] != "" })...)
		}
	}
	if slices.Contains(in.Collectors, check.ScriptInline) {
		for _, name := range []string{check.RuntimeBuiltin, check.RuntimeNode, check.RuntimeBun} {
			if why := p.lacksRuntime(name); why != "" {
				in.Missing[name] = why
				continue
			}
			in.Runtimes = append(in.Runtimes, name)
		}
	}
	return in
}

// Check reports why an assignment cannot be run here: unknown strategy or
// collector, or a config that cannot be used.
func (p *Prober) Check(a *protocol.Assignment) error {
	strategy, ok := check.Strategy(a.StrategyID)
	switch {
	case !ok:
		return notFound("Strategy", a.StrategyID)
	case p.missing[a.StrategyID] != "":
		return fmt.Errorf("this satellite cannot run %s: %s", a.StrategyID, p.missing[a.StrategyID])
	case p.strategies[a.StrategyID] == nil:
		return notFound("Strategy", a.StrategyID)
	}
	var problems []error
	if _, err := strategy.Decode(a.Config); err != nil {
		problems = append(problems, fmt.Errorf("%s: %w", a.StrategyID, err))
	}
	for _, c := range a.Collectors {
		if !slices.Contains(check.Collectors(a.StrategyID), c.CollectorID) {
			problems = append(problems, fmt.Errorf("%s: %w", c.ID, notFound("Collector", c.CollectorID)))
			continue
		}
		if why := p.missing[c.CollectorID]; why != "" {
			problems = append(problems, fmt.Errorf("this satellite runs no %s: %s", c.CollectorID, why))
			continue
		}
		kind, _ := check.CollectorKind(c.CollectorID)
		config, err := kind.Decode(c.Config)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", c.ID, err))
			continue
		}
		if inline, ok := config.(check.ScriptInlineConfig); ok && p.lacksRuntime(inline.Runtime) != "" {
			problems = append(problems, fmt.Errorf("%s: %w", c.ID, p.noRuntime(inline.Runtime)))
		}
	}
	return errors.Join(problems...)
}

func notFound(what, id string) error {
	return fmt.Errorf("%s %s not found in satellite", what, cut(id, 200))
}

// Execute runs a check once, in env if there is one, and always returns a result.
// When ctx ends early the result says so; a caller that ended it because it is
// stopping has no use for it. lease is asked for the secrets of scripts; nil has none.
func (p *Prober) Execute(ctx context.Context, a *protocol.Assignment, env *check.Environment, lease Lease) (result check.Result) {
	start := time.Now()
	defer func() {
		if cause := recover(); cause != nil {
			p.options.Log.Error("run panicked", "strategy", a.StrategyID, "cause", cause, "stack", string(debug.Stack()))
			result = failed(time.Since(start), internalError(cause))
		}
	}()
	open, ok := p.strategies[a.StrategyID]
	if !ok {
		return failed(0, notFound("Strategy", a.StrategyID))
	}
	r := newRun(a, env)
	r.known = &p.configs
	client, err := open(ctx, r, a.Config)
	connecting := time.Since(start)
	if err != nil {
		return failed(time.Since(start), err)
	}
	defer client.close()

	findings := p.collect(ctx, client, a, lease)
	result = check.Result{Metadata: check.Metadata{
		Connected:        true,
		ConnectionTimeMs: milliseconds(connecting),
		Collectors:       make(map[string]json.RawMessage, len(findings)),
		Timings:          client.timings(),
	}, TookMs: make(map[string]float64, len(findings))}
	for _, f := range findings {
		result.Metadata.Collectors[f.entry] = f.encode()
		result.TookMs[f.entry] = precise(f.took)
		if f.fence != "" {
			if result.Fences == nil {
				result.Fences = map[string]string{}
			}
			result.Fences[f.entry] = f.fence
		}
	}
	status, message, blamed := judge(ctx, client, a, findings)
	elapsed := rounded(time.Since(start))
	if message == "" {
		message = "Completed in " + strconv.FormatFloat(elapsed, 'f', 0, 64) + "ms"
	}
	result.Status, result.Message, result.LatencyMs, result.Blame = status, cut(message, maxMessage), elapsed, blamed
	return result
}

// judge gives the status of a run that got as far as its collectors, and why; ""
// when all is well. For a failure it says what besides the target may be to blame.
func judge(ctx context.Context, client session, a *protocol.Assignment, findings []finding) (check.Status, string, check.Blame) {
	var unable error
	var why []string
	for _, f := range findings {
		if f.err == nil {
			continue
		}
		words := f.err.Error()
		if len(findings) > 1 {
			words = f.entry + ": " + words
		}
		if !errors.As(f.err, new(unsupported)) {
			return check.Unhealthy, "Check failed: " + words, blameAll(findings)
		}
		unable, why = errors.Join(unable, f.err), append(why, words)
	}
	if unable != nil {
		return check.Degraded, notCarriedOut + strings.Join(why, "; "), policyOf(unable)
	}
	if strategy, _ := check.Strategy(a.StrategyID); strategy.Lazy && len(findings) == 0 {
		measured := false
		if m, ok := client.(measurer); ok {
			var err error
			if measured, err = m.measure(ctx); err != nil {
				if err = describe(err); errors.As(err, new(unsupported)) {
					return check.Degraded, notCarriedOut + err.Error(), policyOf(err)
				}
				return check.Unhealthy, "Check failed: " + err.Error(), blame(err)
			}
		}
		if !measured {
			return check.Degraded, "Check degraded: nothing was measured, because the check has no collectors", 0
		}
	}
	status, message := client.verdict()
	if dated, ok := client.(dater); ok {
		return status, message, dated.blame()
	}
	return status, message, 0
}

// finding is what one collector entry found.
type finding struct {
	entry, collectorID string
	result             any
	fence              string // what held a script
	err                error
	took               time.Duration
}

// collect carries out all collectors at once and waits for them: the last one here, because
// most checks have one.
func (p *Prober) collect(ctx context.Context, client session, a *protocol.Assignment, lease Lease) []finding {
	findings := make([]finding, len(a.Collectors))
	var others sync.WaitGroup
	defer others.Wait()
	for i, c := range a.Collectors {
		f := &findings[i]
		f.entry, f.collectorID = c.ID, c.CollectorID
		if kind, ok := check.CollectorKind(c.CollectorID); !ok || kind.Strategy != a.StrategyID {
			f.err = notFound("Collector", c.CollectorID)
			continue
		}
		if why := p.missing[c.CollectorID]; why != "" {
			f.err = unsupported{"this satellite runs no " + c.CollectorID + ": " + why}
			continue
		}
		collect := func() {
			began := time.Now()
			defer func() {
				f.took = time.Since(began)
				if cause := recover(); cause != nil {
					p.options.Log.Error("collector panicked", "collector", c.CollectorID, "cause", cause, "stack", string(debug.Stack()))
					f.result, f.err = nil, internalError(cause)
				}
			}()
			f.result, f.err = collectOne(ctx, client, c, lease)
			if script, ok := f.result.(fenced); ok {
				f.result, f.fence = script.result, script.fence
			}
			if f.err != nil {
				f.err = describe(f.err)
			}
		}
		if i == len(a.Collectors)-1 {
			collect()
		} else {
			others.Go(collect)
		}
	}
	return findings
}

// collectOne carries out one entry, with its secrets if it wants any.
func collectOne(ctx context.Context, client session, c protocol.Collector, lease Lease) (any, error) {
	taker, ok := client.(secretTaker)
	if !ok || lease == nil || !WantsSecrets(c.Config) {
		return client.collect(ctx, c.CollectorID, c.Config)
	}
	secrets, err := lease(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	return taker.collectWith(ctx, c.CollectorID, c.Config, secrets)
}

// WantsSecrets reports whether a collector's config names secrets for its
// environment: its secretEnv is an object that is not empty (spec H.2).
func WantsSecrets(config json.RawMessage) bool {
	var named struct {
		SecretEnv map[string]json.RawMessage `json:"secretEnv"`
	}
	return json.Unmarshal(config, &named) == nil && len(named.SecretEnv) > 0
}

// encode is the finding as the wire has it: the collector's own fields beside
// _collectorId, and the error under both of its names (spec F.1, L.127).
func (f finding) encode() json.RawMessage {
	text := []byte(`{"_collectorId":"` + f.collectorID + `"}`)
	if f.err != nil { // perhaps that there is no such collector, whatever it is called
		head := struct {
			CollectorID    string `json:"_collectorId"`
			Error          string `json:"error,omitempty"`
			CollectorError string `json:"_collectorError,omitempty"`
		}{CollectorID: f.collectorID, Error: cut(f.err.Error(), maxError)}
		head.CollectorError = head.Error
		text, _ = json.Marshal(head) // three strings
	}
	if f.result == nil {
		return text
	}
	fields, err := json.Marshal(f.result)
	if err != nil || len(fields) <= len("{}") || fields[0] != '{' { // a nil pointer is null
		return text
	}
	return slices.Concat(text[:len(text)-1], []byte{','}, fields[1:])
}

const notCarriedOut = "Check not carried out: "

// policyOf marks what the satellite's operator forbids.
func policyOf(err error) check.Blame {
	if errors.As(err, new(barred)) {
		return check.BlamePolicy
	}
	return 0
}

// internalError is a mistake of ours that a run came upon. It says nothing of the target.
func internalError(cause any) error {
	return unsupported{fmt.Sprintf("internal error of the satellite: %v", cause)}
}

// failed is a run that did not get as far as its collectors.
func failed(elapsed time.Duration, err error) check.Result {
	err = describe(err)
	status, text, blamed := check.Unhealthy, err.Error(), blame(err)
	if errors.As(err, new(unsupported)) {
		status, text, blamed = check.Degraded, notCarriedOut+text, policyOf(err)
	}
	text = cut(text, maxMessage)
	return check.Result{
		Status:    status,
		LatencyMs: rounded(elapsed),
		Message:   text,
		Metadata:  check.Metadata{Error: text},
		Blame:     blamed,
	}
}

// rounded is a latency as the wire has it: whole milliseconds (a fraction makes
// the original core lose the result, spec M6).
func rounded(d time.Duration) float64 { return math.Round(float64(d) / float64(time.Millisecond)) }

// precise is a measurement in milliseconds, to the microsecond.
func precise(d time.Duration) float64 { return math.Round(float64(d)/1000) / 1000 }

func milliseconds(d time.Duration) *float64 {
	ms := precise(d)
	return &ms
}

// timeout is a config's milliseconds as a duration.
func timeout(ms float64) time.Duration {
	return time.Duration(min(ms, float64(24*time.Hour/time.Millisecond)) * float64(time.Millisecond))
}
