//go:build !lean

package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/perigee-monitoring/perigee/check"
)

// browserSession starts a browser for each page.
type browserSession struct {
	plain
	prober    *Prober
	run       run
	limit     time.Duration
	unsandbox bool // for tests in containers
}

func init() {
	offers[check.Browser] = offer{connect: (*Prober).connectBrowser, missing: browserMissing}
}

// chromium finds the program, "" for none.
func chromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "headless-shell"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// browserMissing: a browser shows what strangers wrote, and as root it would have to do
// so without its own sandbox.
func browserMissing() string {
	switch {
	case chromium() == "":
		return "there is no Chromium on its machine"
	case os.Getuid() == 0:
		return "it runs as root, where a browser has no sandbox of its own"
	}
	return ""
}

func (p *Prober) connectBrowser(_ context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.BrowserConfig])
	if err != nil {
		return nil, err
	}
	return &browserSession{prober: p, run: r, limit: timeout(config.Timeout)}, nil
}

func (s *browserSession) collect(ctx context.Context, _ string, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.BrowserPageConfig])
	if err != nil {
		return nil, err
	}
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	way, err := s.wayOut(ctx)
	if err != nil {
		return nil, err
	}
	defer way.close()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium()), chromedp.ProxyServer("http://"+way.address), chromedp.Flag("proxy-bypass-list", "<-loopback>"),
		chromedp.Flag("disable-quic", true), chromedp.WSURLReadTimeout(s.limit))
	if s.unsandbox {
		options = append(options, chromedp.NoSandbox)
	}
	// The browser is told to end before the context does it.
	starting, stop := chromedp.NewExecAllocator(context.WithoutCancel(ctx), options...)
	nothing := func(string, ...any) {}
	tab, leave := chromedp.NewContext(starting, chromedp.WithErrorf(nothing), chromedp.WithLogf(nothing))
	ended := context.AfterFunc(ctx, leave)
	defer func() {
		ended()
		leave()
		stop()
		if c := chromedp.FromContext(tab); c != nil && c.Allocator != nil {
			c.Allocator.Wait()
		}
	}()
	if err := chromedp.Do(tab); err != nil {
		if ctx.Err() == nil {
			return nil, unsupported{"this satellite's browser does not start: " + cut(err.Error(), 300)}
		}
		return nil, explain(ctx, err, "starting the browser")
	}
	return s.visit(ctx, tab, way, config)
}

// visit opens the page and takes the steps.
func (s *browserSession) visit(ctx, tab context.Context, way *wayOut, c check.BrowserPageConfig) (*check.BrowserPageResult, error) {
	result, start := &check.BrowserPageResult{StepCount: len(c.Steps)}, time.Now()
	err := chromedp.Do(tab, chromedp.Navigate(c.URL))
	result.LoadTimeMs = precise(time.Since(start))
	if err != nil {
		return result, explain(ctx, way.reason(err, c.URL), "loading the page")
	}
	for i, step := range c.Steps {
		if err := take(ctx, tab, step); err != nil {
			what := fmt.Sprintf("step %d (%s %s)", i+1, step.Action, cut(step.Selector, 100))
			result.ResponseTimeMs = precise(time.Since(start))
			if ctx.Err() != nil {
				return result, explain(ctx, err, "waiting for "+what)
			}
			return result, fmt.Errorf("%s: %w", what, err)
		}
		result.StepsPassed++
	}
	if result.Title, err = chromedp.Run(tab, chromedp.Title()); err == nil {
		result.URL, err = chromedp.Run(tab, chromedp.Location())
	}
	if err != nil {
		return result, explain(ctx, err, "reading the title")
	}
	result.Title, result.URL = cut(result.Title, 500), cut(result.URL, 2000)
	result.ResponseTimeMs, result.Success = precise(time.Since(start)), true
	return result, nil
}

// pollPause is how long a page that is being replaced is left alone.
const pollPause = 50 * time.Millisecond

func take(ctx, tab context.Context, step check.BrowserStep) error {
	element := chromedp.CSS(step.Selector)
	switch step.Action {
	case "click":
		return chromedp.Do(tab, chromedp.Click(element, chromedp.NodeVisible))
	case "type":
		return chromedp.Do(tab, chromedp.SendKeys(element, step.Value+step.Secret, chromedp.NodeVisible))
	case "wait":
		return chromedp.Do(tab, chromedp.WaitVisible(element))
	}
	selector, _ := json.Marshal(step.Selector) // texts become texts
	value, _ := json.Marshal(step.Value)
	holds := fmt.Sprintf("(document.querySelector(%s)?.textContent ?? '').includes(%s)", selector, value)
	for {
		err := chromedp.Do(tab, chromedp.Poll[chromedp.Void](holds, chromedp.WithPollingTimeout(0)))
		if err == nil || ctx.Err() != nil {
			return err
		}
		select { // it does not outlive the page on which it began
		case <-ctx.Done():
			return err
		case <-time.After(pollPause):
		}
	}
}

// wayOut is a proxy on loopback through which the browser goes to the network, so that
// it goes where the satellite goes, by our dialer.
type wayOut struct {
	address string
	server  *http.Server
	dialer  *outlet
	out     *http.Transport
	serving sync.WaitGroup

	mu     sync.Mutex
	failed map[string]error // by host, of the last connection that failed
}

func (s *browserSession) wayOut(ctx context.Context) (*wayOut, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, unsupported{"this satellite cannot listen on loopback: " + err.Error()}
	}
	w := &wayOut{address: listener.Addr().String(), dialer: s.prober.dialer(nil), failed: map[string]error{}}
	w.out = &http.Transport{DialContext: w.dial, DisableCompression: true, MaxResponseHeaderBytes: maxHeader}
	nowhere := log.New(io.Discard, "", 0)
	forward := &httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}, Transport: w.out, ErrorLog: nowhere}
	w.server = &http.Server{ReadHeaderTimeout: s.limit, ErrorLog: nowhere, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			w.tunnel(ctx, rw, r)
			return
		}
		forward.ServeHTTP(rw, r)
	})}
	w.serving.Go(func() { _ = w.server.Serve(listener) }) // until it is closed
	return w, nil
}

func (w *wayOut) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := w.dialer.DialContext(ctx, network, address)
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		host, _, _ := net.SplitHostPort(address)
		w.failed[host] = err
	}
	return conn, err
}

// reason is why the connection to a page failed, where the browser only says that its proxy
// did. The browser makes connections of its own, which have reasons of their own.
func (w *wayOut) reason(err error, page string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if why := w.failed[hostOf(page)]; why != nil && (strings.Contains(err.Error(), "ERR_TUNNEL") || strings.Contains(err.Error(), "ERR_HTTP_RESPONSE_CODE_FAILURE")) {
		return why
	}
	return err
}

func hostOf(page string) string {
	u, err := url.Parse(page)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// tunnel joins two connections until one of them ends, or the run does.
func (w *wayOut) tunnel(ctx context.Context, rw http.ResponseWriter, r *http.Request) {
	there, err := w.dial(ctx, "tcp", r.Host)
	if err != nil {
		http.Error(rw, "", http.StatusBadGateway)
		return
	}
	defer there.Close()
	here, buffered, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	if _, err := io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { here.Close(); there.Close() })()
	w.serving.Go(func() {
		defer here.Close()
		_, _ = io.Copy(here, there) // ends when one side does
	})
	_, _ = io.Copy(there, buffered)
}

func (w *wayOut) close() {
	_ = w.server.Close()
	w.out.CloseIdleConnections()
	w.serving.Wait()
}

func (s *browserSession) close() {}
