package check

// Qualified ids of the IMAP strategy and its collector. The original has none.
const (
	IMAP        = "healthcheck-imap.imap"
	IMAPMailbox = "healthcheck-imap.mailbox"
)

func init() {
	register(strategy[IMAPConfig](IMAP, "IMAP", false),
		collector[IMAPMailboxConfig, IMAPMailboxResult](IMAPMailbox, "Mailbox", true))
}

// IMAPConfig is the config of healthcheck-imap.imap: where mail is read. Connecting
// signs in if there is a user.
type IMAPConfig struct {
	// The most that connecting and each collector may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// Name or address to connect to.
	Host string `json:"host" jsonschema:"title=Host,required,minLength=1,format=host" check:"templatable"`
	// Port to connect to.
	Port int `json:"port" jsonschema:"title=Port,minimum=1,maximum=65535"`
	// none, starttls (change to TLS after the greeting, or fail; mostly port 143), or tls (from the beginning).
	Security string `json:"security" jsonschema:"title=Security,enum=none,enum=starttls,enum=tls"`
	// User to sign in as. Passwords only travel encrypted.
	Username string `json:"username,omitempty" jsonschema:"title=User name" check:"templatable"`
	// Password to sign in with.
	Password string `json:"password,omitempty" jsonschema:"title=Password" check:"secret"`
	// Fail when the certificate cannot be verified.
	RejectUnauthorized bool `json:"rejectUnauthorized" jsonschema:"title=Verify certificate"`
}

func (c *IMAPConfig) defaults() {
	c.Timeout, c.Port, c.Security, c.RejectUnauthorized = 30_000, 993, "tls", true
}

// IMAPMailboxConfig is the config of healthcheck-imap.mailbox: how much is in one.
type IMAPMailboxConfig struct {
	// Name of the mailbox.
	Mailbox string `json:"mailbox" jsonschema:"title=Mailbox,minLength=1" check:"templatable"`
}

func (c *IMAPMailboxConfig) defaults() { c.Mailbox = "INBOX" }

// IMAPMailboxResult counts messages.
type IMAPMailboxResult struct {
	Messages       int     `json:"messages"`
	Unseen         int     `json:"unseen"`
	ResponseTimeMs float64 `json:"responseTimeMs"`
}
