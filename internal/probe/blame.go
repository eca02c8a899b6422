package probe

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"

	"github.com/perigee-monitoring/perigee/check"
)

// told is an error in our own words that still knows what it was.
type told struct {
	text  string
	cause error
}

func (t told) Error() string { return t.text }
func (t told) Unwrap() error { return t.cause }

// unresolvedName marks an error that came while a name was being resolved.
type unresolvedName struct{ error }

func (u unresolvedName) Unwrap() error { return u.error }

// opaque marks a failure of which only whoever wrote the check knows the cause: a script
// may have asked for names and talked to anybody.
type opaque struct{ error }

func (o opaque) Unwrap() error { return o.error }

// blame says what besides the target an error may be owed to; nothing when it is what
// the target said, or the config is at fault.
func blame(err error) (b check.Blame) {
	if _, ok := errors.AsType[denied](err); ok {
		return 0
	}
	_, dns := errors.AsType[*net.DNSError](err)
	if _, ok := errors.AsType[unresolvedName](err); ok || dns {
		b |= check.BlameResolver | check.BlamePath
	}
	if timedOutOf(err) {
		b |= check.BlamePath | check.BlameScheduler
	}
	_, network := errors.AsType[*net.OpError](err)
	_, script := errors.AsType[opaque](err)
	if script {
		b |= check.BlameResolver
	}
	if network || script || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		b |= check.BlamePath
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		b |= check.BlameClock
	}
	return b
}

// blameAll is what may be to blame for every one of the failures.
func blameAll(findings []finding) check.Blame {
	b := ^check.Blame(0)
	for _, f := range findings {
		if f.err != nil && !errors.As(f.err, new(unsupported)) {
			b &= blame(f.err)
		}
	}
	return b
}

func timedOutOf(err error) bool {
	if _, ok := errors.AsType[timedOut](err); ok {
		return true
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return true
	}
	return errors.Is(err, context.DeadlineExceeded)
}
