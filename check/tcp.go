package check

// Qualified ids of the TCP strategy and its collector (spec K.7).
const (
	TCP       = "healthcheck-tcp.tcp"
	TCPBanner = "healthcheck-tcp.banner"
)

func init() {
	register(strategy[TCPConfig](TCP, "TCP", false),
		collector[TCPBannerConfig, TCPBannerResult](TCPBanner, "Banner", false))
}

// TCPConfig is the config of healthcheck-tcp.tcp: where to connect.
type TCPConfig struct {
	// The most that connecting may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// Name or address to connect to.
	Host string `json:"host" jsonschema:"title=Host,required,minLength=1,format=host" check:"templatable"`
	// Port to connect to.
	Port int `json:"port" jsonschema:"title=Port,required,minimum=1,maximum=65535"`
}

func (c *TCPConfig) defaults() { c.Timeout = 30_000 }

// TCPBannerConfig is the config of healthcheck-tcp.banner: what the server says first.
type TCPBannerConfig struct {
	// How long to wait for the server to say something, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
}

func (c *TCPBannerConfig) defaults() { c.Timeout = 5000 }

// TCPBannerResult is what the server said unasked. Silence is a result too.
type TCPBannerResult struct {
	Banner     string  `json:"banner,omitempty"`
	HasBanner  bool    `json:"hasBanner"`
	ReadTimeMs float64 `json:"readTimeMs"`
}
