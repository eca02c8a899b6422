package check

// Qualified ids of the WebSocket strategy and its collector. The original has none.
const (
	WebSocket        = "healthcheck-websocket.websocket"
	WebSocketMessage = "healthcheck-websocket.message"
)

func init() {
	register(strategy[WebSocketConfig](WebSocket, "WebSocket", false),
		collector[WebSocketMessageConfig, WebSocketMessageResult](WebSocketMessage, "Message", false))
}

// WebSocketConfig is the config of healthcheck-websocket.websocket: where to open one.
type WebSocketConfig struct {
	// The most that connecting may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// What to open.
	URL string `json:"url" jsonschema:"title=URL,required,minLength=1,format=ws-url" check:"templatable"`
	// Request headers.
	Headers []HTTPHeader `json:"headers,omitempty" jsonschema:"title=Headers"`
	// Bearer token.
	Token string `json:"token,omitempty" jsonschema:"title=Token" check:"secret"`
	// Protocol to ask for within the socket.
	Subprotocol string `json:"subprotocol,omitempty" jsonschema:"title=Subprotocol"`
	// Fail when the certificate cannot be verified.
	RejectUnauthorized bool `json:"rejectUnauthorized" jsonschema:"title=Verify certificate"`
}

func (c *WebSocketConfig) defaults() { c.Timeout, c.RejectUnauthorized = 30_000, true }

// WebSocketMessageConfig is the config of healthcheck-websocket.message: a text that is
// sent, and the message that comes then.
type WebSocketMessageConfig struct {
	// Text to send; nothing is sent if empty.
	Send string `json:"send,omitempty" jsonschema:"title=Text to send" check:"templatable"`
	// Wait for a message. Without it a ping is sent and its answer waited for.
	Receive bool `json:"receive" jsonschema:"title=Wait for a message"`
	// The most that waiting may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
}

func (c *WebSocketMessageConfig) defaults() { c.Receive, c.Timeout = true, 5000 }

// WebSocketMessageResult is what came.
type WebSocketMessageResult struct {
	// The beginning of the message; absent when only a ping was answered.
	Message        *string `json:"message,omitempty"`
	Subprotocol    string  `json:"subprotocol,omitempty"`
	ResponseTimeMs float64 `json:"responseTimeMs"`
	Success        bool    `json:"success"`
}
