package probe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
)

var quiet = log.New(io.Discard, "", 0)

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		Subject:   pkix.Name{Organization: []string{"Test Trust"}, CommonName: "Test Root"},
		NotBefore: time.Now().Add(-365 * 24 * time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
	}
	a := &authority{t: t, key: newKey(t), pool: x509.NewCertPool()}
	a.cert = a.sign(template, template, a.key, a.key)
	a.pool.AddCert(a.cert)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

// leaf is a certificate for names that lasts from now+from to now+to.
func (a *authority) leaf(from, to time.Duration, names ...string) tls.Certificate {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: names[0]}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to),
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	key := newKey(a.t)
	return tls.Certificate{Certificate: [][]byte{a.sign(template, a.cert, key, a.key).Raw}, PrivateKey: key}
}

// serve shakes hands with the certificate and waits for the other side to hang up.
func (a *authority) serve(cert tls.Certificate) target {
	return serve(a.t, func(conn net.Conn) {
		waitClosed(tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}}))
	})
}

const day = 24 * time.Hour

func TestTLSCertificate(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert := ca.leaf(-day, 60*day+time.Hour, "shop.example", "127.0.0.1")
	p := New(Options{Roots: ca.pool})
	r := p.Execute(t.Context(), ca.serve(cert).assignment(check.TLS, "", check.TLSCertificate, `{}`), nil, nil)
	wantHealthy(t, r)
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"_collectorId": check.TLSCertificate, "subject": "shop.example", "issuer": "Test Trust", "daysRemaining": 60.0, "valid": true,
		"validFrom": leaf.NotBefore.UTC().Format("2006-01-02T15:04:05.000Z"), "validTo": leaf.NotAfter.UTC().Format("2006-01-02T15:04:05.000Z"),
	}
	if diff := cmp.Diff(want, object(t, r, "e")); diff != "" {
		t.Errorf("certificate (-want +got):\n%s", diff)
	}
	if got := r.Metadata.Timings; got == nil || got.ConnectMs == nil || got.TLSMs == nil {
		t.Errorf("timings %+v", got)
	}
	// The name that is asked for is the name that must fit.
	r = p.Execute(t.Context(), ca.serve(cert).assignment(check.TLS, `"servername":"shop.example"`, "", ""), nil, nil)
	wantHealthy(t, r)
	r = p.Execute(t.Context(), ca.serve(cert).assignment(check.TLS, `"servername":"other.example"`, "", ""), nil, nil)
	wantUnconnected(t, r, "the certificate is not for other.example but for shop.example, 127.0.0.1")
}

func TestM79_CertificatesThatEndSoonAreDegraded(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	p := New(Options{Roots: ca.pool})
	soon := ca.serve(ca.leaf(-day, 10*day+time.Hour, "127.0.0.1"))
	for more, want := range map[string]string{
		"":                          "Check degraded: the certificate expires in 10 days, fewer than the 30 that are required",
		`"minDaysUntilExpiry":11`:   "Check degraded: the certificate expires in 10 days, fewer than the 11 that are required",
		`"minDaysUntilExpiry":10`:   "",
		`"minDaysUntilExpiry":0`:    "",
		`"rejectUnauthorized":true`: "Check degraded: the certificate expires in 10 days, fewer than the 30 that are required",
	} {
		for _, collector := range []string{check.TLSCertificate, ""} {
			r := p.Execute(t.Context(), soon.assignment(check.TLS, more, collector, `{}`), nil, nil)
			if want == "" {
				wantHealthy(t, r)
			} else if r.Status != check.Degraded || r.Message != want {
				t.Errorf("%s: %s, %q, want %q", more, r.Status, r.Message, want)
			}
			if collector != "" && object(t, r, "e")["valid"] != true {
				t.Errorf("%s: a certificate that ends soon is not valid", more)
			}
		}
	}
	tomorrow := ca.serve(ca.leaf(-day, day+time.Hour, "127.0.0.1"))
	r := p.Execute(t.Context(), tomorrow.assignment(check.TLS, "", "", ""), nil, nil)
	if want := "Check degraded: the certificate expires in 1 day, fewer than the 30 that are required"; r.Message != want {
		t.Errorf("%q, want %q", r.Message, want)
	}
}

func TestTLSCertificatesThatEnded(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	p := New(Options{Roots: ca.pool})
	cert := ca.leaf(-30*day, -2*day, "127.0.0.1")
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	ended := ca.serve(cert)
	text := "the certificate expired on " + stamp(leaf.NotAfter)
	wantUnconnected(t, p.Execute(t.Context(), ended.assignment(check.TLS, "", check.TLSCertificate, `{}`), nil, nil), text)
	// Not verified, it can be looked at, and it has ended all the same.
	r := p.Execute(t.Context(), ended.assignment(check.TLS, `"rejectUnauthorized":false,"minDaysUntilExpiry":0`, check.TLSCertificate, `{}`), nil, nil)
	if r.Status != check.Unhealthy || r.Message != "Check failed: "+text {
		t.Errorf("%s, %q", r.Status, r.Message)
	}
	if o := object(t, r, "e"); o["valid"] != false || o["daysRemaining"] != -2.0 && o["daysRemaining"] != -3.0 {
		t.Errorf("%v", o)
	}
	early := ca.serve(ca.leaf(2*day, 60*day, "127.0.0.1"))
	r = p.Execute(t.Context(), early.assignment(check.TLS, "", "", ""), nil, nil)
	if !strings.HasPrefix(r.Message, "the certificate is not valid before ") {
		t.Errorf("%q", r.Message)
	}
}

func TestTLSUntrusted(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	server := ca.serve(ca.leaf(-day, 60*day, "127.0.0.1"))
	p := New(Options{Roots: newAuthority(t).pool})
	wantUnconnected(t, p.Execute(t.Context(), server.assignment(check.TLS, "", "", ""), nil, nil), "the certificate is signed by an unknown authority")
	r := p.Execute(t.Context(), server.assignment(check.TLS, `"rejectUnauthorized":false`, check.TLSCertificate, `{}`), nil, nil)
	wantHealthy(t, r)
	if o := object(t, r, "e"); o["valid"] != false {
		t.Errorf("%v", o)
	}
}

func TestTLSFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handle func(net.Conn)
		want   string
	}{
		"no TLS":    {func(conn net.Conn) { fmt.Fprint(conn, "220 mail.example ESMTP\r\n"); waitClosed(conn) }, "shaking hands: tls: first record does not look like a TLS handshake"},
		"hangs up":  {func(conn net.Conn) { io.ReadFull(conn, make([]byte, 5)) }, "connection "},
		"no answer": {waitClosed, "timed out after 500 ms while shaking hands"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := New(Options{}).Execute(t.Context(), serve(t, c.handle).assignment(check.TLS, `"timeout":500`, check.TLSCertificate, `{}`), nil, nil)
			if r.Status != check.Unhealthy || !strings.HasPrefix(r.Message, c.want) || r.Metadata.Connected {
				t.Errorf("%+v, want %q", r, c.want)
			}
		})
	}
	closed := closedPort(t)
	r := New(Options{}).Execute(t.Context(), closed.assignment(check.TLS, "", "", ""), nil, nil)
	wantUnconnected(t, r, fmt.Sprintf("connection refused (127.0.0.1:%d)", closed.port))
}

func TestCertificatesWithoutNames(t *testing.T) {
	t.Parallel()
	now := time.Now()
	got := describeCertificate(&x509.Certificate{NotBefore: now, NotAfter: now.Add(36 * time.Hour)}, true, now)
	want := check.TLSCertificateResult{
		Subject: "nothing", Issuer: "unknown", ValidFrom: stamp(now), ValidTo: stamp(now.Add(36 * time.Hour)), DaysRemaining: 1, Valid: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("certificate (-want +got):\n%s", diff)
	}
	got = describeCertificate(&x509.Certificate{DNSNames: []string{"a.example"}, Subject: pkix.Name{CommonName: strings.Repeat("x", 2000)}}, false, now)
	if len(got.Subject) > maxName+10 {
		t.Errorf("a subject of %d bytes", len(got.Subject))
	}
}
