// Package targets is a handful of things to watch, on loopback: what `perigee
// dev` checks so that a newcomer sees every colour, and what tests measure
// against. They speak the real protocols.
package targets

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// SlowBy is how long the slow page takes.
const SlowBy = 1500 * time.Millisecond

// CertificateEnds is how long the TLS target's certificate is still valid.
const CertificateEnds = 9 * 24 * time.Hour

// Targets are listening once Listen has returned and answer while Run runs.
type Targets struct {
	// Good, Slow and Failing are pages ("http://127.0.0.1:8431/").
	Good, Slow, Failing string
	// TLS is a TLS server whose certificate ends soon ("127.0.0.1:8434").
	TLS string
	// DNS is a name server that knows Name ("127.0.0.1:8435").
	DNS string
	// Banner is a TCP server that greets ("127.0.0.1:8436").
	Banner string

	pages  map[net.Listener]http.Handler
	secure net.Listener
	banner net.Listener
	names  net.PacketConn
}

// Name is the host name that the DNS target knows.
const Name = "shop.perigee.test"

// Listen opens the targets on 127.0.0.1 from basePort on, so that they stay
// where they are from one start to the next. A port that is taken is replaced by
// a free one; basePort 0 takes free ones throughout.
func Listen(basePort int) (*Targets, error) {
	t := &Targets{pages: map[net.Listener]http.Handler{}}
	port := func(i int) int {
		if basePort == 0 {
			return 0
		}
		return basePort + i
	}
	for i, page := range []struct {
		url     *string
		handler http.HandlerFunc
	}{
		{&t.Good, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "<h1>The shop is open</h1>") }},
		{&t.Slow, func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(SlowBy):
			case <-r.Context().Done():
			}
			fmt.Fprintln(w, "<h1>The report is ready</h1>")
		}},
		{&t.Failing, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"error":"out of paper"}`, http.StatusServiceUnavailable)
		}},
	} {
		ln, err := listen(port(i))
		if err != nil {
			return nil, errors.Join(err, t.Close())
		}
		t.pages[ln] = page.handler
		*page.url = "http://" + ln.Addr().String() + "/"
	}
	if err := t.listenRest(port(3), port(4), port(5)); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func (t *Targets) listenRest(tlsPort, dnsPort, bannerPort int) error {
	certificate, err := selfSigned(CertificateEnds)
	if err != nil {
		return err
	}
	plain, err := listen(tlsPort)
	if err != nil {
		return err
	}
	t.secure = tls.NewListener(plain, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	t.TLS = plain.Addr().String()

	if t.names, err = net.ListenPacket("udp", loopback(dnsPort)); err != nil {
		if t.names, err = net.ListenPacket("udp", loopback(0)); err != nil {
			return fmt.Errorf("opening a target: %w", err)
		}
	}
	t.DNS = t.names.LocalAddr().String()

	if t.banner, err = listen(bannerPort); err != nil {
		return err
	}
	t.Banner = t.banner.Addr().String()
	return nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func listen(port int) (net.Listener, error) {
	ln, err := net.Listen("tcp", loopback(port))
	if err != nil && port != 0 {
		ln, err = net.Listen("tcp", loopback(0))
	}
	if err != nil {
		return nil, fmt.Errorf("opening a target: %w", err)
	}
	return ln, nil
}

// Close ends targets that were never run.
func (t *Targets) Close() error {
	var errs []error
	for ln := range t.pages {
		errs = append(errs, ln.Close())
	}
	for _, c := range []interface{ Close() error }{t.secure, t.banner, t.names} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// Run answers until ctx ends.
func (t *Targets) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for ln, handler := range t.pages {
		server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
		group.Go(func() error { return ignoreClosed(server.Serve(ln)) })
		group.Go(func() error { <-ctx.Done(); return server.Close() })
	}
	group.Go(func() error { return t.serveGreetings(ctx, t.secure, "") })
	group.Go(func() error { return t.serveGreetings(ctx, t.banner, "220 mail.perigee.test ready\r\n") })

	names := &dns.Server{PacketConn: t.names, Handler: dns.HandlerFunc(answer)}
	group.Go(func() error { return ignoreClosed(names.ActivateAndServe()) })
	group.Go(func() error { <-ctx.Done(); return ignoreClosed(t.names.Close()) })
	return group.Wait()
}

// serveGreetings accepts, greets, and closes. A TLS listener shakes hands first.
func (t *Targets) serveGreetings(ctx context.Context, ln net.Listener, greeting string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { <-ctx.Done(); return ignoreClosed(ln.Close()) })
	group.Go(func() error {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return ignoreClosed(err)
			}
			group.Go(func() error {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
				if secure, ok := conn.(*tls.Conn); ok {
					_ = secure.HandshakeContext(ctx) // a visitor that fails is no failure of the target
				}
				_, _ = conn.Write([]byte(greeting))
				return nil
			})
		}
	})
	return group.Wait()
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// answer knows Name's address and no other.
func answer(w dns.ResponseWriter, question *dns.Msg) {
	reply := new(dns.Msg).SetReply(question)
	reply.Authoritative = true
	for _, q := range question.Question {
		if q.Qtype == dns.TypeA && dns.CanonicalName(q.Name) == dns.CanonicalName(Name) {
			reply.Answer = append(reply.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(127, 0, 0, 1),
			})
		}
	}
	if len(reply.Answer) == 0 {
		reply.Rcode = dns.RcodeNameError
	}
	_ = w.WriteMsg(reply) // over UDP there is nobody to tell
}

func selfSigned(valid time.Duration) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: Name},
		DNSNames:     []string{Name},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(valid),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
