package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// metrics are the API's own figures.
type metrics struct {
	requests *prometheus.CounterVec   // operation, status
	seconds  *prometheus.HistogramVec // operation
	streams  prometheus.Gauge
}

func newMetrics(registry *prometheus.Registry) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "perigee", Subsystem: "api", Name: "requests_total", Help: "Requests answered."}, []string{"operation", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "perigee", Subsystem: "api", Name: "request_seconds", Help: "How long requests took.",
			Buckets: []float64{.001, .005, .02, .1, .5, 2, 10},
		}, []string{"operation"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "perigee", Subsystem: "api", Name: "event_streams", Help: "Event streams open now."}),
	}
	registry.MustRegister(m.requests, m.seconds, m.streams)
	return m
}

// measure counts an operation. Event streams last as long as somebody looks, and
// are counted apart.
func (a *API) measure(ctx huma.Context, next func(huma.Context)) {
	began := time.Now()
	next(ctx)
	id := ctx.Operation().OperationID
	a.metrics.requests.WithLabelValues(id, strconv.Itoa(ctx.Status())).Inc()
	if id != streamID {
		a.metrics.seconds.WithLabelValues(id).Observe(time.Since(began).Seconds())
	}
}

// sessionCookie holds the session of the page.
const sessionCookie = "perigee_session"

// authenticate lets in who has a token, or the page's session, and may do the
// operation; it says in the context who it is.
func (a *API) authenticate(ctx huma.Context, next func(huma.Context)) {
	operation, note := ctx.Operation().OperationID, noteOf(ctx.Context())
	p, err := a.who(ctx, note)
	if err == nil {
		note.actor = p.Actor()
		if err = permit(p, operation); err != nil {
			a.nameRefused(auth.With(ctx.Context(), p), note)
		}
	}
	if err != nil {
		problem := a.fail(ctx.Context(), operation, err)
		writeIn(ctx, problem)
		note.reason = problem.Detail
		return
	}
	next(huma.WithContext(ctx, auth.With(ctx.Context(), p)))
}

func (a *API) who(ctx huma.Context, note *auditNote) (auth.Principal, error) {
	if token, ok := bearer(ctx.Header("Authorization")); ok {
		note.guess = token != ""
		return a.Auth.Token(ctx.Context(), ctx.RemoteAddr(), token)
	}
	if cookie, err := huma.ReadCookie(ctx, sessionCookie); err == nil {
		return a.Auth.Session(ctx.Context(), cookie.Value)
	}
	return auth.Principal{}, fault.New(fault.Unauthenticated, "a token is needed: send it as Authorization: Bearer …")
}

// permit refuses what the role does not allow.
func permit(p auth.Principal, operation string) error {
	least, ok := auth.Needs(operation)
	if ok && p.Role.Includes(least) {
		return nil
	}
	return fault.New(fault.Forbidden, "this needs the role %s, and you are %s; an administrator may change that", least, p.Role)
}

// roleExtension names the least role in the OpenAPI document.
const roleExtension = "x-role"

// classify says of each operation who may do it, and does not let an API start of which
// somebody has forgotten to.
func (a *API) classify() {
	for path, item := range a.routes.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete, item.Patch} {
			if op == nil {
				continue
			}
			least, ok := auth.Needs(op.OperationID)
			if !ok {
				panic("httpapi: nobody has said who may " + op.Method + " " + path + ": add " + op.OperationID + " to auth/permission.go")
			}
			op.Extensions = map[string]any{roleExtension: least}
		}
	}
}

func bearer(header string) (token string, ok bool) {
	scheme, token, found := strings.Cut(header, " ")
	return strings.TrimSpace(token), found && strings.EqualFold(scheme, "Bearer")
}

// writeIn is write for an answer inside huma.
func writeIn(ctx huma.Context, p *Problem) {
	for name, values := range problemHeader(p.Status) {
		ctx.SetHeader(name, values[0])
	}
	ctx.SetStatus(p.Status)
	_ = json.NewEncoder(ctx.BodyWriter()).Encode(p) // the client has gone
}

// problemHeader is what goes with a problem of the status.
func problemHeader(status int) http.Header {
	h := http.Header{"Content-Type": {"application/problem+json"}}
	switch status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="perigee"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", retryAfter)
	}
	return h
}
