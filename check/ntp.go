package check

// Qualified ids of the NTP strategy and its collector. The original has none.
const (
	NTP     = "healthcheck-ntp.ntp"
	NTPTime = "healthcheck-ntp.time"
)

func init() {
	register(strategy[NTPConfig](NTP, "NTP", true),
		collector[NTPTimeConfig, NTPTimeResult](NTPTime, "Time", false))
}

// NTPConfig is the config of healthcheck-ntp.ntp: a server of the time.
type NTPConfig struct {
	// The most that asking may take, in milliseconds. Within it a question that is not answered is asked again.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// Name or address of the server.
	Host string `json:"host" jsonschema:"title=Host,required,minLength=1,format=host" check:"templatable"`
	// UDP port of the server.
	Port int `json:"port" jsonschema:"title=Port,minimum=1,maximum=65535"`
}

func (c *NTPConfig) defaults() { c.Timeout, c.Port = 30_000, 123 }

// NTPTimeConfig is the config of healthcheck-ntp.time, which needs none.
type NTPTimeConfig struct{}

func (c *NTPTimeConfig) defaults() {}

// NTPTimeResult is what the server says of the time.
type NTPTimeResult struct {
	// How far the clock of this satellite is behind the server's.
	OffsetMs float64 `json:"offsetMs"`
	// How many servers are between this one and a clock: 1 has the clock, 0 or 16 has none.
	Stratum int `json:"stratum"`
	// Where it has the time from: a name such as GPS, or an address.
	Reference string `json:"reference,omitempty"`
	// The most that its time may be wrong.
	RootDistanceMs float64 `json:"rootDistanceMs"`
	// The server says that its clock is set.
	Synchronized   bool    `json:"synchronized"`
	ResponseTimeMs float64 `json:"responseTimeMs"`
}
