package probe

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"
)

// Bounds of texts, in bytes (spec M37).
const (
	maxMessage = 2048
	maxError   = 1024
)

// unsupported is an error of this satellite and none of the target: it is not
// able to measure.
type unsupported struct{ reason string }

func (u unsupported) Error() string { return u.reason }

// barred is a connection that the satellite's own operator does not allow: nothing was
// measured, and nothing is the target's fault.
type barred struct{ error }

func (b barred) Unwrap() error { return b.error }

// timedOut is the cause of a context that ended because a limit of the config
// was reached.
type timedOut struct{ limit time.Duration }

func (t timedOut) Error() string {
	return fmt.Sprintf("timed out after %.0f ms", float64(t.limit)/float64(time.Millisecond))
}

// denied is a connection that the config forbids.
type denied struct{ address string }

func (d denied) Error() string {
	return fmt.Sprintf("connections to %s are denied by egressDenyCidrs", d.address)
}

// within bounds ctx by a limit of the config.
func within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, timedOut{limit})
}

// explain replaces an error by the reason for which ctx ended, if it did, because
// the network's own words for it ("i/o timeout", "use of closed connection") do
// not say which limit was reached. doing says what was interrupted.
func explain(ctx context.Context, err error, doing string) error {
	if err == nil || !ended(ctx, err) {
		return err
	}
	if limit, ok := errors.AsType[timedOut](context.Cause(ctx)); ok {
		err = fmt.Errorf("%w while %s", limit, doing)
	} else if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("the run was stopped while %s", doing)
	} else {
		err = told{"the run reached its deadline while " + doing, context.DeadlineExceeded}
	}
	if doing == resolving {
		return unresolvedName{err}
	}
	return err
}

// resolving is what a run is at before it knows the address.
const resolving = "resolving the name"

// ended reports whether err came of the end of ctx. Sockets have the same deadline
// and may notice it a moment earlier.
func ended(ctx context.Context, err error) bool {
	deadline, limited := ctx.Deadline()
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() && limited && time.Until(deadline) < 100*time.Millisecond {
		<-ctx.Done()
	}
	return ctx.Err() != nil
}

// describe says in few words what went wrong on the network. What it does not
// know keeps its own words, without the request's URL, which may hold secrets.
func describe(err error) error {
	if _, ok := errors.AsType[told](err); ok {
		return err // has been described, and said more about since
	}
	if why, ok := errors.AsType[barred](err); ok {
		return why
	}
	if text := shortage(err); text != "" {
		return unsupported{text}
	}
	if text := words(err); text != "" {
		return told{text, err}
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return describe(wrapped.Err)
	}
	text := strings.ReplaceAll(err.Error(), "net/http: ", "")
	text = strings.TrimPrefix(text, "HTTP/1.x transport connection broken: ")
	if text != err.Error() {
		return told{text, err}
	}
	return err
}

// shortage is what this satellite lacks for a connection, "" for nothing.
func shortage(err error) string {
	is := func(number syscall.Errno) bool {
		dns, ok := errors.AsType[*net.DNSError](err)
		return errors.Is(err, number) || ok && strings.Contains(dns.Err, number.Error()) // which keeps the words only
	}
	switch {
	case is(syscall.EMFILE):
		return "this satellite may open no more files and connections (too many open files); raise its limit (ulimit -n)"
	case is(syscall.ENFILE):
		return "the machine of this satellite has no file descriptors left"
	case is(syscall.ENOBUFS), is(syscall.ENOMEM):
		return "the machine of this satellite has no memory left for connections"
	case is(syscall.EADDRNOTAVAIL):
		return "this satellite has no address or port left to connect from"
	case is(syscall.EAFNOSUPPORT):
		return "this satellite has no network for addresses of that kind"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" && op.Addr != nil {
		switch {
		case op.Net == "unix" && is(syscall.EACCES):
			return "the user of this satellite may not open " + cut(op.Addr.String(), 200)
		case is(syscall.EPERM):
			return "the machine of this satellite does not let it connect to " + op.Addr.String() + " (operation not permitted)"
		}
	}
	return ""
}

func words(err error) string {
	if d, ok := errors.AsType[denied](err); ok {
		return d.Error()
	}
	if _, ok := errors.AsType[unsupported](err); ok {
		return "" // stays what it is
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dnsWords(dns)
	}
	if text := certificateWords(err); text != "" {
		return text
	}
	at := ""
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Addr != nil {
		at = " (" + op.Addr.String() + ")"
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused" + at
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset by the other side" + at
	case errors.Is(err, syscall.ETIMEDOUT):
		return "connection timed out" + at
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to the host" + at
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "connection closed before the answer was complete"
	}
	return ""
}

func dnsWords(err *net.DNSError) string {
	switch {
	case err.IsNotFound:
		return fmt.Sprintf("the name %s does not exist", cut(err.Name, 200))
	case err.IsTimeout:
		return fmt.Sprintf("resolving %s timed out", cut(err.Name, 200))
	default:
		return fmt.Sprintf("resolving %s: %s", cut(err.Name, 200), cut(err.Err, 200))
	}
}

func certificateWords(err error) string {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired && invalid.Cert != nil {
		if time.Now().Before(invalid.Cert.NotBefore) {
			return "the certificate is not valid before " + stamp(invalid.Cert.NotBefore)
		}
		return "the certificate expired on " + stamp(invalid.Cert.NotAfter)
	}
	if wrong, ok := errors.AsType[x509.HostnameError](err); ok {
		return cut(fmt.Sprintf("the certificate is not for %s but for %s", wrong.Host, strings.Join(names(wrong.Certificate), ", ")), maxError)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the certificate is signed by an unknown authority"
	}
	return ""
}

// names are those that a certificate is for.
func names(c *x509.Certificate) []string {
	list := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		list = append(list, ip.String())
	}
	if len(list) == 0 {
		return []string{"nothing"}
	}
	return list
}

// stamp is a time as our results have it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// cut bounds a text that comes from elsewhere, in bytes, and makes it valid.
func cut(text string, limit int) string {
	if len(text) > limit {
		end := limit
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end] + "…"
	}
	return strings.ToValidUTF8(text, "�")
}
