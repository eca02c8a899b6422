package check

// Qualified ids of the gRPC strategy and its collector (spec K.7).
const (
	GRPC       = "healthcheck-grpc.grpc"
	GRPCHealth = "healthcheck-grpc.health"
)

func init() {
	register(strategy[GRPCConfig](GRPC, "gRPC", false),
		collector[GRPCHealthConfig, GRPCHealthResult](GRPCHealth, "Health", true))
}

// GRPCConfig is the config of healthcheck-grpc.grpc: a server of gRPC.
type GRPCConfig struct {
	// The most that connecting and each collector may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// Name or address to connect to.
	Host string `json:"host" jsonschema:"title=Host,required,minLength=1,format=host" check:"templatable"`
	// Port to connect to.
	Port int `json:"port" jsonschema:"title=Port,required,minimum=1,maximum=65535"`
	// Service to ask about where a collector names none; the server as a whole if empty.
	Service string `json:"service" jsonschema:"title=Service" check:"templatable"`
	// Speak TLS.
	UseTLS bool `json:"useTls" jsonschema:"title=TLS"`
	// Fail when the certificate cannot be verified.
	RejectUnauthorized bool `json:"rejectUnauthorized" jsonschema:"title=Verify certificate"`
}

func (c *GRPCConfig) defaults() { c.Timeout, c.RejectUnauthorized = 30_000, true }

// GRPCHealthConfig is the config of healthcheck-grpc.health: one question of the
// health checking protocol.
type GRPCHealthConfig struct {
	// Service to ask about; that of the strategy if empty.
	Service string `json:"service" jsonschema:"title=Service" check:"templatable"`
}

func (c *GRPCHealthConfig) defaults() {}

// GRPCHealthResult is what the server says of the service.
type GRPCHealthResult struct {
	// SERVING, NOT_SERVING, SERVICE_UNKNOWN or UNKNOWN.
	Status         string  `json:"status"`
	Serving        bool    `json:"serving"`
	ResponseTimeMs float64 `json:"responseTimeMs"`
}
