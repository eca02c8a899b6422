package probe

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// maxName bounds a name in a certificate.
const maxName = 512

// tlsSession is what a handshake showed. The connection itself is closed again:
// nothing is asked of it.
type tlsSession struct {
	certificate check.TLSCertificateResult
	dated       bool // today is within the time of the certificate
	minDays     int
	phases      *phases
}

func init() { offers[check.TLS] = offer{connect: (*Prober).connectTLS} }

func (p *Prober) connectTLS(ctx context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.TLSConfig])
	if err != nil {
		return nil, err
	}
	limit := timeout(config.Timeout)
	ctx, cancel := within(ctx, limit)
	defer cancel()
	clock := &phases{}
	conn, err := p.dial(ctx, clock, "tcp", config.Host, config.Port, limit)
	if err != nil {
		return nil, err
	}
	defer conn.Close()

	// The chain is verified below, so that a certificate that fails can be shown.
	name := cmp.Or(config.ServerName, config.Host)
	client := tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: true}) //nolint:gosec // see above
	clock.begin(&clock.tls, "shaking hands")
	if err := client.HandshakeContext(ctx); err != nil {
		return nil, explain(ctx, fmt.Errorf("shaking hands: %w", err), clock.doing())
	}
	clock.end(&clock.tls)

	chain := client.ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return nil, errors.New("the server presented no certificate")
	}
	unverified := verify(chain, name, p.options.Roots)
	if config.RejectUnauthorized && unverified != nil {
		return nil, unverified
	}
	now := time.Now()
	return &tlsSession{
		certificate: describeCertificate(chain[0], unverified == nil, now),
		dated:       !now.Before(chain[0].NotBefore) && !now.After(chain[0].NotAfter),
		minDays:     config.MinDaysUntilExpiry,
		phases:      clock,
	}, nil
}

func verify(chain []*x509.Certificate, name string, roots *x509.CertPool) error {
	options := x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: x509.NewCertPool()}
	for _, intermediate := range chain[1:] {
		options.Intermediates.AddCert(intermediate)
	}
	_, err := chain[0].Verify(options)
	return err
}

func describeCertificate(c *x509.Certificate, valid bool, now time.Time) check.TLSCertificateResult {
	subject := cmp.Or(c.Subject.CommonName, names(c)[0])
	issuer := c.Issuer.CommonName
	if len(c.Issuer.Organization) > 0 {
		issuer = cmp.Or(c.Issuer.Organization[0], issuer)
	}
	return check.TLSCertificateResult{
		Subject:       cut(subject, maxName),
		Issuer:        cut(cmp.Or(issuer, "unknown"), maxName),
		ValidFrom:     stamp(c.NotBefore),
		ValidTo:       stamp(c.NotAfter),
		DaysRemaining: int(math.Floor(c.NotAfter.Sub(now).Hours() / 24)),
		Valid:         valid,
	}
}

func (s *tlsSession) collect(context.Context, string, json.RawMessage) (any, error) {
	return &s.certificate, nil
}

// verdict: an ended certificate is a failure even where it need not be verified;
// one that ends in fewer days than the config wants is a warning (spec M79).
func (s *tlsSession) verdict() (check.Status, string) {
	days := s.certificate.DaysRemaining
	switch {
	case days < 0:
		return check.Unhealthy, "Check failed: the certificate expired on " + s.certificate.ValidTo
	case days < s.minDays:
		return check.Degraded, fmt.Sprintf("Check degraded: the certificate expires in %s, fewer than the %d that are required", dayCount(days), s.minDays)
	default:
		return check.Healthy, ""
	}
}

func dayCount(n int) string {
	if n == 1 {
		return "1 day"
	}
	return fmt.Sprintf("%d days", n)
}

// blame: whether a certificate is within its time is judged by this satellite's clock.
func (s *tlsSession) blame() check.Blame {
	if !s.dated || s.certificate.DaysRemaining < s.minDays {
		return check.BlameClock
	}
	return 0
}

func (s *tlsSession) timings() *check.Timings { return s.phases.result() }
func (s *tlsSession) close()                  {}
