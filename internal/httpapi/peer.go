package httpapi

import (
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// bodyTimeout bounds the reading of a request's body.
	bodyTimeout = 30 * time.Second
	// answerTimeout bounds a request from its header to the last byte of the answer:
	// reading it, doing it, and a minute for whoever reads slowly.
	answerTimeout = bodyTimeout + documentsTimeout + time.Minute
)

// limit sets how long the peer may hold the connection with this request, whose
// Body it replaces. The server sets what comes before: the header, and the pause
// between requests. Event streams have their own deadline for each write; a socket
// that is taken over has none of these.
func limit(w http.ResponseWriter, r *http.Request) {
	c := http.NewResponseController(w)
	_ = c.SetWriteDeadline(time.Now().Add(answerTimeout)) // no connection, no deadline
	if r.Body == nil || r.Body == http.NoBody {
		return // the server reads on, to hear whether the peer goes; a deadline would be taken for that
	}
	_ = c.SetReadDeadline(time.Now().Add(bodyTimeout)) // no connection, no deadline
	r.Body = &body{r.Body, c}
}

// body lifts the read deadline at its end, for the reason that limit has.
type body struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF { //nolint:errorlint // as readers return it
		_ = b.control.SetReadDeadline(time.Time{}) // as in limit
	}
	return n, err
}

// forwarded is the address that the nearest proxy saw; what stands before it in the
// header anybody may have written.
func forwarded(r *http.Request) string {
	if all := r.Header.Values("X-Forwarded-For"); len(all) > 0 {
		last := all[len(all)-1]
		if hop := strings.TrimSpace(last[strings.LastIndex(last, ",")+1:]); hop != "" {
			return hop
		}
	}
	return r.RemoteAddr
}
