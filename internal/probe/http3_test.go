//go:build !lean

package probe

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/perigee-monitoring/perigee/check"
)

func TestHTTP3(t *testing.T) {
	t.Parallel()
	against(check.HTTP3, "module", "github.com/quic-go/quic-go/http3")
	ca := newAuthority(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %s", r.Proto, r.Header.Get("X-Word")) })
	mux.HandleFunc("/gone", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusGone) })
	mux.HandleFunc("/mine", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer right" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	mux.HandleFunc("/much", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, strings.Repeat("x", 2<<20)) })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http3.Server{Handler: mux, TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{ca.leaf(-time.Hour, day, "127.0.0.1")}})}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(conn) }()
	t.Cleanup(func() { server.Close(); conn.Close(); <-done })
	nonsense := answering(t, func(question []byte) []byte { return bytes.Repeat([]byte{0xff}, len(question)) })
	p := New(Options{Roots: ca.pool})
	at := "https://" + conn.LocalAddr().String()
	for _, c := range []trial{
		{"an answer", ``, check.HTTP3Request, `{"url":"` + at + `/","headers":[{"name":"X-Word","value":"yes"}]}`, "", map[string]any{
			"statusCode": 200.0, "body": "HTTP/3.0 yes", "bodyLength": 12.0, "success": true,
		}},
		{"gone", ``, check.HTTP3Request, `{"url":"` + at + `/gone"}`, "", map[string]any{"statusCode": 410.0, "body": "", "bodyLength": 0.0, "success": false}},
		{"much", ``, check.HTTP3Request, `{"url":"` + at + `/much"}`, "", map[string]any{"statusCode": 200.0, "body": strings.Repeat("x", maxBody), "bodyLength": 2097152.0, "success": true}},
		{"slow", `"timeout":700`, check.HTTP3Request, `{"url":"` + at + `/slow"}`, "Check failed: timed out after 700 ms while waiting for the answer", nil},
		{"nobody", `"timeout":400`, check.HTTP3Request, `{"url":"https://127.0.0.1:` + fmt.Sprint(freePort(t, "udp")) + `/"}`, "Check failed: …", nil},
		{"nonsense", `"timeout":400`, check.HTTP3Request, `{"url":"https://` + nonsense.address() + `/"}`, "Check failed: …", nil},
		{"wrong token", `"token":"wrong"`, check.HTTP3Request, `{"url":"` + at + `/mine"}`, "", map[string]any{"statusCode": 401.0, "body": "", "bodyLength": 0.0, "success": false}},
		{"plain", ``, check.HTTP3Request, `{"url":"http://127.0.0.1/"}`, `Check failed: the config cannot be used: "http://127.0.0.1/" is not a URL with https`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			wantFound(t, p.Execute(t.Context(), assignment(check.HTTP3, "{"+c.more+"}", c.collector, c.config), nil, nil), c)
		})
	}
	t.Run("unknown authority", func(t *testing.T) {
		t.Parallel()
		r := New(Options{}).Execute(t.Context(), assignment(check.HTTP3, `{}`, check.HTTP3Request, `{"url":"`+at+`/"}`), nil, nil)
		wantFound(t, r, trial{message: "Check failed: the certificate is signed by an unknown authority"})
	})
}
