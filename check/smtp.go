package check

// Qualified ids of the SMTP strategy and its collectors. The original has none.
const (
	SMTP          = "healthcheck-smtp.smtp"
	SMTPServer    = "healthcheck-smtp.server"
	SMTPRecipient = "healthcheck-smtp.recipient"
)

func init() {
	register(strategy[SMTPConfig](SMTP, "SMTP", false),
		collector[SMTPServerConfig, SMTPServerResult](SMTPServer, "Server", false),
		collector[SMTPRecipientConfig, SMTPRecipientResult](SMTPRecipient, "Recipient", true))
}

// SMTPConfig is the config of healthcheck-smtp.smtp: a mail server. Connecting greets
// it, changes to TLS, and signs in if there is a user.
type SMTPConfig struct {
	// The most that connecting and each collector may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// Name or address to connect to.
	Host string `json:"host" jsonschema:"title=Host,required,minLength=1,format=host" check:"templatable"`
	// Port to connect to.
	Port int `json:"port" jsonschema:"title=Port,minimum=1,maximum=65535"`
	// none, starttls (change to TLS after the greeting, or fail), or tls (from the beginning; mostly port 465).
	Security string `json:"security" jsonschema:"title=Security,enum=none,enum=starttls,enum=tls"`
	// Name under which to greet.
	Hello string `json:"hello" jsonschema:"title=Name in the greeting,minLength=1"`
	// User to sign in as. Passwords only travel encrypted.
	Username string `json:"username,omitempty" jsonschema:"title=User name" check:"templatable"`
	// Password to sign in with.
	Password string `json:"password,omitempty" jsonschema:"title=Password" check:"secret"`
	// Fail when the certificate cannot be verified.
	RejectUnauthorized bool `json:"rejectUnauthorized" jsonschema:"title=Verify certificate"`
}

func (c *SMTPConfig) defaults() {
	c.Timeout, c.Port, c.Security, c.Hello, c.RejectUnauthorized = 30_000, 25, "none", "localhost", true
}

// SMTPServerConfig is the config of healthcheck-smtp.server, which needs none.
type SMTPServerConfig struct{}

func (c *SMTPServerConfig) defaults() {}

// SMTPServerResult is what the server says of itself.
type SMTPServerResult struct {
	// The first line that it said.
	Banner string `json:"banner"`
	// Names of what it offers, such as STARTTLS, AUTH and SIZE.
	Extensions []string `json:"extensions"`
	// The connection is encrypted.
	TLS bool `json:"tls"`
	// How long a command that does nothing took.
	ResponseTimeMs float64 `json:"responseTimeMs"`
}

// SMTPRecipientConfig is the config of healthcheck-smtp.recipient: whether the server
// would take mail. None is sent: the transaction is given up after the recipient.
type SMTPRecipientConfig struct {
	// Address of the sender; the empty one of bounces if empty.
	From string `json:"from,omitempty" jsonschema:"title=Sender" check:"templatable"`
	// Address of the recipient.
	To string `json:"to" jsonschema:"title=Recipient,required,minLength=1" check:"templatable"`
}

func (c *SMTPRecipientConfig) defaults() {}

// SMTPRecipientResult is the answer about the recipient.
type SMTPRecipientResult struct {
	Accepted bool `json:"accepted"`
	// Code of the answer: 250 takes it, 4xx perhaps later, 5xx never.
	Code           int     `json:"code"`
	Response       string  `json:"response"`
	ResponseTimeMs float64 `json:"responseTimeMs"`
}
