package check

// Qualified ids of the HTTP/3 strategy and its collector. The original has none.
const (
	HTTP3        = "healthcheck-http3.http3"
	HTTP3Request = "healthcheck-http3.request"
)

func init() {
	register(strategy[HTTP3Config](HTTP3, "HTTP/3", true),
		collector[HTTP3RequestConfig, HTTP3RequestResult](HTTP3Request, "HTTP/3 request", true))
}

// HTTP3Config is the config of healthcheck-http3.http3: requests over QUIC, never over TCP.
type HTTP3Config struct {
	// The most that each request may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// Token that is sent as a bearer token.
	Token string `json:"token,omitempty" jsonschema:"title=Token" check:"secret"`
	// Fail when the certificate cannot be verified.
	RejectUnauthorized bool `json:"rejectUnauthorized" jsonschema:"title=Verify certificate"`
}

func (c *HTTP3Config) defaults() { c.Timeout, c.RejectUnauthorized = 30_000, true }

// HTTP3RequestConfig is the config of healthcheck-http3.request: one request.
type HTTP3RequestConfig struct {
	// What to ask for, with https.
	URL string `json:"url" jsonschema:"title=URL,required,minLength=1,format=http-url" check:"templatable"`
	// Request method.
	Method string `json:"method" jsonschema:"title=Method,enum=GET,enum=POST,enum=PUT,enum=DELETE,enum=HEAD"`
	// Request headers.
	Headers []HTTPHeader `json:"headers,omitempty" jsonschema:"title=Headers"`
	// Request body.
	Body string `json:"body,omitempty" jsonschema:"title=Body" check:"templatable"`
}

func (c *HTTP3RequestConfig) defaults() { c.Method = "GET" }

// HTTP3RequestResult is what one request found; any answer is a result.
type HTTP3RequestResult struct {
	StatusCode int `json:"statusCode"`
	// From the start of the request to the end of the body.
	ResponseTimeMs float64 `json:"responseTimeMs"`
	// The beginning of the body. Not stored.
	Body       string `json:"body" check:"ephemeral"`
	BodyLength int64  `json:"bodyLength"`
	// The status is 2xx or 3xx.
	Success bool `json:"success"`
}
