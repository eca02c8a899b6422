package probe

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// A run that gives a request up over HTTP/2 lets go of its connection, too.
func TestHTTP2ConnectionsEndWithTheirRun(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]func(url string) *protocol.Assignment{
		check.HTTP: get,
		check.Prometheus: func(url string) *protocol.Assignment {
			return assignment(check.Prometheus, `{"baseUrl":"`+url+`"}`, check.PrometheusQuery, `{"query":"up"}`)
		},
		check.ScriptInline: func(url string) *protocol.Assignment {
			return assignment(check.Script, `{}`, check.ScriptInline, `{"script":"await fetch('`+url+`')"}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reached := make(chan struct{})
			var open sync.WaitGroup
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor != 2 {
					t.Errorf("asked over %s", r.Proto)
				}
				reached <- struct{}{}
				<-r.Context().Done()
			}))
			server.EnableHTTP2 = true
			server.Config.ErrorLog = quiet
			server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				switch state {
				case http.StateNew:
					open.Add(1)
				case http.StateClosed:
					open.Done()
				}
			}
			server.StartTLS()
			t.Cleanup(server.Close)
			roots := x509.NewCertPool()
			roots.AddCert(server.Certificate())
			p := New(Options{Roots: roots})
			for range 20 {
				ctx, cancel := context.WithCancel(t.Context())
				go func() { <-reached; cancel() }()
				if r := p.Execute(ctx, a(server.URL), nil, nil); r.Status != check.Unhealthy {
					t.Errorf("%s, %q", r.Status, r.Message)
				}
			}
			closed := make(chan struct{})
			go func() { open.Wait(); close(closed) }()
			select {
			case <-closed:
			case <-time.After(time.Minute):
				t.Error("connections outlive their runs")
			}
		})
	}
}
