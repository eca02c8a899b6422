package check

// Qualified ids of the HTTP strategy and its collector (spec K.7).
const (
	HTTP        = "healthcheck-http.http"
	HTTPRequest = "healthcheck-http.request"
)

func init() {
	register(strategy[HTTPConfig](HTTP, "HTTP", true),
		collector[HTTPRequestConfig, HTTPRequestResult](HTTPRequest, "HTTP request", true))
}

// HTTPConfig is the config of healthcheck-http.http: how requests leave the satellite.
// It names no target; the requests do.
type HTTPConfig struct {
	// The most that connecting and each request may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// How requests identify themselves.
	AuthType string `json:"authType" jsonschema:"title=Authentication,enum=none,enum=basic,enum=token"`
	// User name for basic authentication.
	AuthUsername string `json:"authUsername,omitempty" jsonschema:"title=User name"`
	// Password for basic authentication.
	AuthPassword string `json:"authPassword,omitempty" jsonschema:"title=Password" check:"secret"`
	// Token that is sent as a bearer token.
	AuthToken string `json:"authToken,omitempty" jsonschema:"title=Token" check:"secret"`
	// Proxy through which requests go, such as http://proxy.example.org:3128.
	ProxyURL string `json:"proxyUrl,omitempty" jsonschema:"title=Proxy URL,format=proxy-url" check:"templatable"`
	// User name for the proxy.
	ProxyUsername string `json:"proxyUsername,omitempty" jsonschema:"title=Proxy user name"`
	// Password for the proxy.
	ProxyPassword string `json:"proxyPassword,omitempty" jsonschema:"title=Proxy password" check:"secret"`
	// Networks that no connection may go to, after name resolution, such as 169.254.0.0/16.
	EgressDenyCIDRs []string `json:"egressDenyCidrs,omitempty" jsonschema:"title=Denied networks,format=cidr"`
}

func (c *HTTPConfig) defaults() { c.Timeout, c.AuthType = 30_000, "none" }

// HTTPRequestConfig is the config of healthcheck-http.request: one request.
type HTTPRequestConfig struct {
	// What to ask for. Templates such as {{ environment.baseUrl }} are filled in before the run.
	URL string `json:"url" jsonschema:"title=URL,required,minLength=1,format=http-url" check:"templatable"`
	// Request method.
	Method string `json:"method" jsonschema:"title=Method,enum=GET,enum=POST,enum=PUT,enum=DELETE,enum=HEAD"`
	// Request headers.
	Headers []HTTPHeader `json:"headers,omitempty" jsonschema:"title=Headers"`
	// Request body.
	Body string `json:"body,omitempty" jsonschema:"title=Body" check:"templatable"`
	// The most that the request may take, redirects and body included, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// Send a traceparent header, so that the target's traces can be found from the result.
	EmitTraceparent bool `json:"emitTraceparent" jsonschema:"title=Send traceparent"`
}

// HTTPHeader is one request header.
type HTTPHeader struct {
	// Header name.
	Name string `json:"name" jsonschema:"title=Name,required,minLength=1"`
	// Header value.
	Value string `json:"value" jsonschema:"title=Value,required" check:"templatable"`
}

func (c *HTTPRequestConfig) defaults() {
	c.Method, c.Timeout, c.EmitTraceparent = "GET", 30_000, true
}

// HTTPRequestResult is what one request found. Any answer is a result, whatever
// its status: assertions say which is wanted.
type HTTPRequestResult struct {
	StatusCode int    `json:"statusCode"`
	StatusText string `json:"statusText"`
	// From the start of the request to the end of the body.
	ResponseTimeMs float64 `json:"responseTimeMs"`
	// The beginning of the body. Not stored: assertions see it, history does not.
	Body string `json:"body" check:"ephemeral"`
	// Bytes of the whole body, as far as it was read.
	BodyLength int64 `json:"bodyLength"`
	// The status is 2xx or 3xx.
	Success bool   `json:"success"`
	TraceID string `json:"traceId,omitempty"`
}
