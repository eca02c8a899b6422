package probe

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"regexp"
	"strings"
	"time"

	"github.com/theory/jsonpath"

	"github.com/perigee-monitoring/perigee/check"
)

// maxCarried bounds one value that is carried from step to step, in bytes.
const maxCarried = 16 << 10

// compositeSession makes journeys over what the HTTP strategy has: its authentication,
// its proxy, its denied networks.
type compositeSession struct{ *httpSession }

func init() { offers[check.Composite] = offer{connect: (*Prober).connectComposite} }

func (p *Prober) connectComposite(ctx context.Context, r run, raw json.RawMessage) (session, error) {
	s, err := p.connectHTTP(ctx, r, raw)
	if err != nil {
		return nil, err
	}
	return compositeSession{s.(*httpSession)}, nil
}

func (s compositeSession) collect(ctx context.Context, _ string, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.JourneyConfig])
	if err != nil {
		return nil, err
	}
	ctx, cancel := within(ctx, min(s.limit, timeout(config.Timeout)))
	defer cancel()
	jar, _ := cookiejar.New(nil) // never fails
	client := *s.client
	client.Jar = jar
	result := &check.JourneyResult{StepCount: len(config.Steps), Steps: []check.JourneyStepResult{}}
	carried, start := map[string]any{}, time.Now()
	for _, step := range config.Steps {
		clock, began := &phases{}, time.Now()
		answer, err := s.step(clock.in(ctx), &client, step, carried)
		err = explain(ctx, err, clock.doing())
		took := check.JourneyStepResult{Name: cut(step.Name, 200), ResponseTimeMs: precise(time.Since(began))}
		if answer != nil {
			took.StatusCode, result.StatusCode, result.Body = answer.status, answer.status, string(answer.body)
		}
		result.Steps = append(result.Steps, took)
		result.ResponseTimeMs = precise(time.Since(start))
		if err != nil {
			result.FailedStep = took.Name
			return result, fmt.Errorf("%s: %w", took.Name, describe(err))
		}
		result.StepsPassed++
	}
	result.Success = true
	return result, nil
}

// stepAnswer is what a step got.
type stepAnswer struct {
	status int
	header http.Header
	body   []byte
}

// step makes one request, holds its answer against what is wanted, and carries on what
// is to be carried on. The answer is there beside an error, if it came.
func (s compositeSession) step(ctx context.Context, client *http.Client, step check.JourneyStep, carried map[string]any) (*stepAnswer, error) {
	known := map[string]any{check.Carried: carried}
	err := check.Expand(&step, func(text string) (string, error) { return check.Fill(text, known) })
	if err != nil {
		return nil, err
	}
	request, _, err := s.request(ctx, check.HTTPRequestConfig{
		URL: step.URL, Method: cmp.Or(step.Method, http.MethodGet), Headers: step.Headers, Body: step.Body, EmitTraceparent: true,
	})
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	clock := phasesOf(ctx)
	clock.begin(&clock.receive, reading)
	body, err := io.ReadAll(io.LimitReader(response.Body, int64(s.run.bodyCap)))
	if err != nil {
		return nil, err
	}
	answer := &stepAnswer{response.StatusCode, response.Header, []byte(strings.ToValidUTF8(string(body), "�"))}
	switch wanted := step.ExpectStatus; {
	case wanted != 0 && answer.status != wanted:
		return answer, fmt.Errorf("the server answered %d, not %d", answer.status, wanted)
	case wanted == 0 && (answer.status < 200 || answer.status > 399):
		return answer, statusError{answer.status, ""}
	case !strings.Contains(string(answer.body), step.ExpectText):
		return answer, fmt.Errorf("the body does not contain %q", cut(step.ExpectText, 200))
	}
	for _, value := range step.Carry {
		text, err := answer.take(value)
		if err != nil {
			return answer, fmt.Errorf("%s: %w", value.Name, err)
		}
		if len(text) > maxCarried {
			return answer, fmt.Errorf("%s: the value has more than %d bytes", value.Name, maxCarried)
		}
		carried[value.Name] = text
	}
	return answer, nil
}

// take finds one value in the answer.
func (a *stepAnswer) take(v check.JourneyValue) (string, error) {
	switch {
	case v.Header != "":
		if text := a.header.Get(v.Header); text != "" {
			return text, nil
		}
		return "", fmt.Errorf("the answer has no header %s", cut(v.Header, 100))
	case v.Pattern != "":
		pattern, err := regexp.Compile(v.Pattern)
		if err != nil {
			return "", fmt.Errorf("the pattern cannot be used: %w", err)
		}
		found := pattern.FindSubmatch(a.body)
		if found == nil {
			return "", errors.New("the body does not match the pattern")
		}
		return string(found[min(1, len(found)-1)]), nil
	}
	path, err := jsonpath.Parse(v.JSONPath)
	if err != nil {
		return "", fmt.Errorf("the JSONPath cannot be used: %w", err)
	}
	var document any
	if json.Unmarshal(a.body, &document) != nil {
		return "", errors.New("the body is not JSON")
	}
	switch found := path.Select(document); {
	case len(found) == 0 || found[0] == nil:
		return "", fmt.Errorf("the body has nothing at %s", cut(v.JSONPath, 100))
	default:
		if text, ok := found[0].(string); ok {
			return text, nil
		}
		text, err := json.Marshal(found[0])
		return string(text), err
	}
}
