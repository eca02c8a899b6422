package probe

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// What besides the target may be to blame is known through all the words in which an
// error is told.
func TestBlame(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithTimeoutCause(t.Context(), -time.Second, timedOut{time.Second})
	defer cancel()
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	name := &net.DNSError{Err: "no such host", Name: "web", IsNotFound: true}
	const network = check.BlameResolver | check.BlamePath
	for text, c := range map[string]struct {
		err  error
		want check.Blame
	}{
		"refused":                  {&url.Error{Op: "Get", Err: refused}, check.BlamePath},
		"asking a server":          {fmt.Errorf("asking 192.0.2.1: %w", describe(refused)), check.BlamePath},
		"a name":                   {&url.Error{Op: "Get", Err: &net.OpError{Op: "dial", Err: name}}, network},
		"a limit":                  {explain(ended, io.EOF, "waiting for the answer"), check.BlamePath | check.BlameScheduler},
		"a limit while resolving":  {explain(ended, io.EOF, resolving), network | check.BlameScheduler},
		"a connection that closed": {io.ErrUnexpectedEOF, check.BlamePath},
		"a script":                 {opaque{errors.New("the script ended with code 1")}, network},
		"a script that takes long": {opaque{explain(ended, ended.Err(), "running the script")}, network | check.BlameScheduler},
		"an old certificate":       {x509.CertificateInvalidError{Reason: x509.Expired, Cert: &x509.Certificate{}}, check.BlameClock},
		"a wrong certificate":      {x509.UnknownAuthorityError{}, 0},
		"what the config forbids":  {denied{"192.0.2.1:80"}, 0},
		"what the target said":     {errors.New("status 503"), 0},
	} {
		if got := blame(describe(describe(c.err))); got != c.want {
			t.Errorf("%s (%v): %04b, want %04b", text, c.err, got, c.want)
		}
	}
	if text := describe(fmt.Errorf("asking 192.0.2.1: %w", describe(refused))).Error(); text != "asking 192.0.2.1: connection refused" {
		t.Errorf("said %q", text)
	}
	// One failure that nothing here explains is the target's, whatever the others are.
	if got := blameAll([]finding{{err: refused}, {}, {err: unsupported{"no"}}}); got != check.BlamePath {
		t.Errorf("blamed %04b", got)
	}
	if got := blameAll([]finding{{err: refused}, {err: errors.New("status 503")}}); got != 0 {
		t.Errorf("blamed %04b", got)
	}
}
