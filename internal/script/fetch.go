package script

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/perigee-monitoring/perigee/internal/fence"
)

// fetches are the requests of one run. Each gets exactly one answer.
type fetches struct {
	client *http.Client
	tell   func(any) error
	places chan struct{}
	all    sync.WaitGroup
	ctx    context.Context // of the run, which they end with
	cancel context.CancelFunc

	mu   sync.Mutex
	open map[int64]context.CancelFunc
	// refused is a connection that the policy did not allow.
	refused error
}

func newFetches(ctx context.Context, transport Fetcher, tell func(any) error) *fetches {
	f := &fetches{tell: tell, places: make(chan struct{}, fetchesOpen), open: map[int64]context.CancelFunc{}}
	f.ctx, f.cancel = context.WithCancel(ctx)
	if transport != nil {
		f.client = &http.Client{Transport: roundTripper{transport}}
	}
	return f
}

type roundTripper struct{ Fetcher }

// begin carries a request out. There are at most maxFetches in a run.
func (f *fetches) begin(t *fetchTask) {
	ctx, cancel := context.WithCancel(f.ctx)
	f.mu.Lock()
	f.open[t.ID] = cancel
	f.mu.Unlock()
	f.all.Go(func() {
		defer cancel()
		select {
		case f.places <- struct{}{}:
			defer func() { <-f.places }()
		case <-ctx.Done():
		}
		answer, err := f.do(ctx, t)
		if err != nil {
			answer = &fetched{Error: fetchWords(err)}
		}
		answer.ID = t.ID
		f.mu.Lock()
		delete(f.open, t.ID)
		if denied, ok := errors.AsType[*fence.Denied](err); ok {
			f.refused = denied
		}
		f.mu.Unlock()
		_ = f.tell(answer) // who is gone needs no answer
	})
}

func (f *fetches) abort(id int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if cancel := f.open[id]; cancel != nil {
		cancel()
	}
}

// end ends all, and waits for them.
func (f *fetches) end() {
	f.cancel()
	f.all.Wait()
}

// blame adds to a script's error that a connection was refused.
func (f *fetches) blame(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e, ok := errors.AsType[*Error](err); ok {
		e.Refused = f.refused
	}
	return err
}

var errManual = errors.New("a redirect that is not followed")

func (f *fetches) do(ctx context.Context, t *fetchTask) (*fetched, error) {
	if f.client == nil {
		return nil, errors.New("this script may not use the network")
	}
	u, err := url.Parse(t.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("only http and https are known")
	}
	request, err := http.NewRequestWithContext(ctx, t.Method, t.URL, bytes.NewReader(t.Body))
	if err != nil {
		return nil, err
	}
	for _, h := range t.Headers {
		if strings.EqualFold(h[0], "host") {
			request.Host = h[1]
		} else {
			request.Header.Add(h[0], h[1])
		}
	}
	if request.Header.Get("User-Agent") == "" {
		request.Header.Set("User-Agent", "perigee-script")
	}
	client := *f.client
	client.CheckRedirect = func(_ *http.Request, via []*http.Request) error {
		switch {
		case t.Redirect == "manual":
			return http.ErrUseLastResponse
		case t.Redirect == "error":
			return errManual
		case len(via) >= 20:
			return errors.New("more than 20 redirects")
		}
		return nil
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxBody)
	}
	answer := &fetched{Status: response.StatusCode, StatusText: strings.TrimSpace(strings.TrimPrefix(response.Status, fmt.Sprint(response.StatusCode))), URL: response.Request.URL.String(), Body: body}
	answer.Redirected = answer.URL != t.URL
	for name, values := range response.Header {
		for _, v := range values {
			answer.Headers = append(answer.Headers, [2]string{name, v})
		}
	}
	slices.SortStableFunc(answer.Headers, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return answer, nil
}

// fetchWords leaves the address out: the script knows it, and it may hold a secret.
func fetchWords(err error) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "the time of the run is up"
	case errors.Is(err, context.Canceled):
		return "it was aborted"
	}
	return err.Error()
}
