package check

// Qualified ids of the ping strategy and its collector (spec K.7): the two are equal.
const (
	Ping     = "healthcheck-ping.ping"
	PingPing = "healthcheck-ping.ping"
)

func init() {
	register(strategy[PingConfig](Ping, "Ping", true),
		collector[PingPingConfig, PingPingResult](PingPing, "Ping", true))
}

// PingConfig is the config of the strategy healthcheck-ping.ping, which names no target.
type PingConfig struct {
	// The most that one collector may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
}

func (c *PingConfig) defaults() { c.Timeout = 30_000 }

// PingPingConfig is the config of the collector healthcheck-ping.ping: whom to ping.
type PingPingConfig struct {
	// Name or address to ping.
	Host string `json:"host" jsonschema:"title=Host,required,minLength=1,format=host" check:"templatable"`
	// Number of packets.
	Count int `json:"count" jsonschema:"title=Packets,minimum=1,maximum=10"`
	// How long to wait for the last reply, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
}

func (c *PingPingConfig) defaults() { c.Count, c.Timeout = 3, 5000 }

// PingPingResult counts packets; latencies are milliseconds, absent when nothing
// came back. Loss is in percent.
type PingPingResult struct {
	PacketsSent     int      `json:"packetsSent"`
	PacketsReceived int      `json:"packetsReceived"`
	PacketLoss      float64  `json:"packetLoss"`
	MinLatency      *float64 `json:"minLatency,omitempty"`
	AvgLatency      *float64 `json:"avgLatency,omitempty"`
	MaxLatency      *float64 `json:"maxLatency,omitempty"`
}
