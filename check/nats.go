package check

// Qualified ids of the NATS strategy and its collectors. The original has none.
const (
	NATS          = "healthcheck-nats.nats"
	NATSServer    = "healthcheck-nats.server"
	NATSRoundTrip = "healthcheck-nats.round-trip"
)

func init() {
	register(strategy[NATSConfig](NATS, "NATS", false),
		collector[NATSServerConfig, NATSServerResult](NATSServer, "Server", false),
		collector[NATSRoundTripConfig, NATSRoundTripResult](NATSRoundTrip, "Round trip of a message", true))
}

// NATSConfig is the config of healthcheck-nats.nats: a server of NATS. Connecting
// signs in.
type NATSConfig struct {
	// The most that connecting and each collector may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// Name or address to connect to.
	Host string `json:"host" jsonschema:"title=Host,required,minLength=1,format=host" check:"templatable"`
	// Port to connect to.
	Port int `json:"port" jsonschema:"title=Port,minimum=1,maximum=65535"`
	// User to sign in as.
	Username string `json:"username,omitempty" jsonschema:"title=User name" check:"templatable"`
	// Password to sign in with.
	Password string `json:"password,omitempty" jsonschema:"title=Password" check:"secret"`
	// Token to sign in with, instead of a user.
	Token string `json:"token,omitempty" jsonschema:"title=Token" check:"secret"`
	// Demand TLS; a server that asks for it gets it anyway.
	TLS bool `json:"tls" jsonschema:"title=TLS"`
	// Fail when the certificate cannot be verified.
	RejectUnauthorized bool `json:"rejectUnauthorized" jsonschema:"title=Verify certificate"`
}

func (c *NATSConfig) defaults() { c.Timeout, c.Port, c.RejectUnauthorized = 30_000, 4222, true }

// NATSServerConfig is the config of healthcheck-nats.server, which needs none.
type NATSServerConfig struct{}

func (c *NATSServerConfig) defaults() {}

// NATSServerResult is what the server says of itself.
type NATSServerResult struct {
	ServerName string `json:"serverName,omitempty"`
	Version    string `json:"version"`
	JetStream  bool   `json:"jetStream"`
	// The largest message that it takes, in bytes.
	MaxPayload int `json:"maxPayload"`
	// How long a ping took.
	ResponseTimeMs float64 `json:"responseTimeMs"`
}

// NATSRoundTripConfig is the config of healthcheck-nats.round-trip: a message is
// published and comes back to a subscription.
type NATSRoundTripConfig struct {
	// Subject to publish to. Others who subscribe to it get the message too.
	Subject string `json:"subject" jsonschema:"title=Subject,required,minLength=1" check:"templatable"`
}

func (c *NATSRoundTripConfig) defaults() {}

// NATSRoundTripResult is how long the message took.
type NATSRoundTripResult struct {
	ResponseTimeMs float64 `json:"responseTimeMs"`
	Success        bool    `json:"success"`
}
