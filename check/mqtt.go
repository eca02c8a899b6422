package check

// Qualified ids of the MQTT strategy and its collectors. The original has none.
const (
	MQTT          = "healthcheck-mqtt.mqtt"
	MQTTRoundTrip = "healthcheck-mqtt.round-trip"
	MQTTMessage   = "healthcheck-mqtt.message"
)

func init() {
	register(strategy[MQTTConfig](MQTT, "MQTT", false),
		collector[MQTTRoundTripConfig, MQTTRoundTripResult](MQTTRoundTrip, "Round trip of a message", true),
		collector[MQTTMessageConfig, MQTTMessageResult](MQTTMessage, "Next message", true))
}

// MQTTConfig is the config of healthcheck-mqtt.mqtt: a broker. Connecting signs in.
type MQTTConfig struct {
	// The most that connecting and each collector may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// Name or address to connect to.
	Host string `json:"host" jsonschema:"title=Host,required,minLength=1,format=host" check:"templatable"`
	// Port to connect to.
	Port int `json:"port" jsonschema:"title=Port,minimum=1,maximum=65535"`
	// Version of the protocol.
	Version string `json:"version" jsonschema:"title=Version,enum=3.1.1,enum=5"`
	// Name of this client at the broker, which closes an older connection of the same name. Default: a random one.
	ClientID string `json:"clientId,omitempty" jsonschema:"title=Client id" check:"templatable"`
	// User to sign in as.
	Username string `json:"username,omitempty" jsonschema:"title=User name" check:"templatable"`
	// Password to sign in with.
	Password string `json:"password,omitempty" jsonschema:"title=Password" check:"secret"`
	// Speak TLS; the port is 8883 then, mostly.
	TLS bool `json:"tls" jsonschema:"title=TLS"`
	// Fail when the certificate cannot be verified.
	RejectUnauthorized bool `json:"rejectUnauthorized" jsonschema:"title=Verify certificate"`
}

func (c *MQTTConfig) defaults() {
	c.Timeout, c.Port, c.Version, c.RejectUnauthorized = 30_000, 1883, "3.1.1", true
}

// MQTTRoundTripConfig is the config of healthcheck-mqtt.round-trip: a message is
// published and comes back to a subscription.
type MQTTRoundTripConfig struct {
	// Topic to publish to. Others who subscribe to it get the message too.
	Topic string `json:"topic" jsonschema:"title=Topic,required,minLength=1" check:"templatable"`
}

func (c *MQTTRoundTripConfig) defaults() {}

// MQTTRoundTripResult is how long the message took.
type MQTTRoundTripResult struct {
	ResponseTimeMs float64 `json:"responseTimeMs"`
	Success        bool    `json:"success"`
}

// MQTTMessageConfig is the config of healthcheck-mqtt.message: the first message that
// comes to a subscription, which is the retained one where there is one.
type MQTTMessageConfig struct {
	// Topic to subscribe to; + and # stand for any.
	Topic string `json:"topic" jsonschema:"title=Topic,required,minLength=1" check:"templatable"`
	// How long to wait for a message, in milliseconds. None is a result too.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
}

func (c *MQTTMessageConfig) defaults() { c.Timeout = 5000 }

// MQTTMessageResult is the message, if one came.
type MQTTMessageResult struct {
	HasMessage bool   `json:"hasMessage"`
	Topic      string `json:"topic,omitempty"`
	// The beginning of it.
	Payload        string  `json:"payload,omitempty"`
	Retained       bool    `json:"retained"`
	ResponseTimeMs float64 `json:"responseTimeMs"`
}
