package check

// Qualified ids of the Prometheus strategy and its collector. The original has none.
const (
	Prometheus      = "healthcheck-prometheus.prometheus"
	PrometheusQuery = "healthcheck-prometheus.query"
)

func init() {
	register(strategy[PrometheusConfig](Prometheus, "Prometheus", true),
		collector[PrometheusQueryConfig, PrometheusQueryResult](PrometheusQuery, "Query", true))
}

// PrometheusConfig is the config of healthcheck-prometheus.prometheus: a server with
// Prometheus' query API, and who asks it.
type PrometheusConfig struct {
	// The most that each query may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// URL of the server, what stands before /api/v1.
	BaseURL string `json:"baseUrl" jsonschema:"title=URL,required,minLength=1,format=http-url" check:"templatable"`
	// User for basic authentication.
	Username string `json:"username,omitempty" jsonschema:"title=User name" check:"templatable"`
	// Password for basic authentication.
	Password string `json:"password,omitempty" jsonschema:"title=Password" check:"secret"`
	// Bearer token, instead of a user.
	Token string `json:"token,omitempty" jsonschema:"title=Token" check:"secret"`
}

func (c *PrometheusConfig) defaults() { c.Timeout = 30_000 }

// PrometheusQueryConfig is the config of healthcheck-prometheus.query: one instant query.
type PrometheusQueryConfig struct {
	// The expression, in PromQL.
	Query string `json:"query" jsonschema:"title=Query,required,minLength=1" check:"templatable"`
}

func (c *PrometheusQueryConfig) defaults() {}

// PrometheusQueryResult is what the query found. No series is a result too: alerting
// expressions find none when all is well.
type PrometheusQueryResult struct {
	// Of the first series; absent when there is none, or when it is no number.
	Value *float64 `json:"value,omitempty"`
	// Of the first series, as it is written, NaN and +Inf included.
	ValueString string `json:"valueString,omitempty"`
	// Labels of the first series.
	Labels map[string]string `json:"labels,omitempty"`
	// vector, scalar or string.
	ResultType string `json:"resultType"`
	// How many series there are.
	SeriesCount    int     `json:"seriesCount"`
	ResponseTimeMs float64 `json:"responseTimeMs"`
}
