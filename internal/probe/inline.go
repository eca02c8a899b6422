package probe

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/script"
)

// inline runs one module with the secrets in its process.env.
func (s *scriptSession) inline(ctx context.Context, raw json.RawMessage, secrets map[string]string) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.ScriptInlineConfig])
	if err != nil {
		return nil, err
	}
	if err := leased(config.SecretEnv, secrets); err != nil {
		return nil, err
	}
	if s.prober.lacksRuntime(config.Runtime) != "" {
		return nil, s.prober.noRuntime(config.Runtime)
	}
	root, done, err := s.prober.options.ScriptDir(ctx)
	if err != nil {
		return nil, unsupported{"this satellite has no directory with the packages: " + err.Error()}
	}
	defer done()
	knows, err := s.run.context(config)
	if err != nil {
		return nil, err
	}
	limited, cancel := within(ctx, timeout(config.Timeout))
	defer cancel()
	in := script.Input{Source: config.Script, Name: "check.ts", Root: root, Context: knows, Env: s.run.told(config.SecretEnv, secrets)}
	mask := newMasker(config.SecretEnv, secrets, min(maxOutput, s.run.bodyCap/2))
	start := time.Now()
	var outcome script.Outcome
	held := builtinFence
	if config.Runtime == check.RuntimeBuiltin {
		transport := s.prober.fetcher()
		defer transport.close()
		outcome, err = s.prober.scripts.Run(limited, in, script.Limits{Output: mask.most + mask.longest}, transport)
	} else {
		in.Runtime = config.Runtime
		outcome, held, err = s.hosted(limited, config, in, root, secrets, mask)
	}
	result, err := inlineResult(outcome, err, mask, time.Since(start))
	if errors.Is(err, script.ErrTimeout) {
		if err = explain(limited, limited.Err(), "running the script"); err == nil { // a moment before its limit
			err = fmt.Errorf("%w while running the script", timedOut{timeout(config.Timeout)})
		}
	}
	if result == nil {
		return nil, err
	}
	return fenced{result, held}, err
}

// builtinFence is what holds scripts of the built-in runtime, whatever the policy.
const builtinFence = "no files, no programs, no network but fetch, which goes where the policy allows"

// inlineResult is what is told of an outcome. Nothing leaves it unmasked.
func inlineResult(o script.Outcome, err error, mask masker, took time.Duration) (any, error) {
	masked := func(text string, most int) string { return cut(mask.redactor.String(text), most) }
	result := &check.ScriptInlineResult{
		Success: o.Success && err == nil, Message: masked(o.Message, maxMessage), Value: o.Value,
		ExecutionTimeMs: precise(took), TimedOut: errors.Is(err, script.ErrTimeout), Output: mask.cut(o.Output, o.Cut),
	}
	if _, ill := errors.AsType[*script.Unconfined](err); ill {
		return nil, unsupported{err.Error()}
	}
	if _, ill := errors.AsType[unsupported](err); ill {
		return nil, err
	}
	fault, ok := errors.AsType[*script.Error](err)
	switch {
	case ok && fault.Refused != nil: // what it wanted was refused here, so nothing was found out
		return result, unsupported{masked(fault.Error(), maxMessage)}
	case ok:
		for _, at := range fault.Stack {
			result.Stack = append(result.Stack, masked(at, 200))
		}
		return result, opaque{errors.New(masked(fault.Error(), maxMessage))}
	case result.TimedOut:
		return result, err
	case err != nil:
		return result, opaque{errors.New(masked(err.Error(), maxMessage))}
	case !o.Success && result.Message != "":
		return result, opaque{errors.New("the script says: " + result.Message)}
	case !o.Success:
		return result, opaque{errors.New("the script returned false")}
	}
	return result, nil
}

// context is globalThis.context of an inline script (spec G.7). Secrets are no part of it.
func (r run) context(config check.ScriptInlineConfig) (json.RawMessage, error) {
	all := map[string]any{"config": map[string]any{"timeout": config.Timeout, "runtime": config.Runtime}}
	for name, value := range r.values() {
		all[name] = value
	}
	knows, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("what the run knows of itself cannot be written: %w", err)
	}
	return knows, nil
}

// fetcher carries the requests of one script out, within the rules for scripts.
func (p *Prober) fetcher() *shortLived {
	rules := p.rules()
	return newShortLived(&http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return rules.Dial(ctx, &net.Dialer{KeepAlive: -1, Resolver: Resolver(p.options.Nameservers)}, network, address)
		},
		TLSClientConfig:        &tls.Config{RootCAs: p.options.Roots},
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: maxHeader,
	})
}
