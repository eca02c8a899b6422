package check

// Qualified ids of the MongoDB strategy and its collector. The original has none.
const (
	MongoDB       = "healthcheck-mongodb.mongodb"
	MongoDBServer = "healthcheck-mongodb.server"
)

func init() {
	register(strategy[MongoDBConfig](MongoDB, "MongoDB", false),
		collector[MongoDBServerConfig, MongoDBServerResult](MongoDBServer, "Server", false))
}

// MongoDBConfig is the config of healthcheck-mongodb.mongodb: one server, whatever it
// is part of. Connecting greets it, and signs in if there is a user.
type MongoDBConfig struct {
	// The most that connecting and each collector may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// Name or address to connect to.
	Host string `json:"host" jsonschema:"title=Host,required,minLength=1,format=host" check:"templatable"`
	// Port to connect to.
	Port int `json:"port" jsonschema:"title=Port,minimum=1,maximum=65535"`
	// User to sign in as, by SCRAM-SHA-256.
	Username string `json:"username,omitempty" jsonschema:"title=User name" check:"templatable"`
	// Password to sign in with.
	Password string `json:"password,omitempty" jsonschema:"title=Password" check:"secret"`
	// Database that knows the user.
	AuthSource string `json:"authSource" jsonschema:"title=Database of the user,minLength=1" check:"templatable"`
	// Speak TLS.
	TLS bool `json:"tls" jsonschema:"title=TLS"`
	// Fail when the certificate cannot be verified.
	RejectUnauthorized bool `json:"rejectUnauthorized" jsonschema:"title=Verify certificate"`
}

func (c *MongoDBConfig) defaults() {
	c.Timeout, c.Port, c.AuthSource, c.RejectUnauthorized = 30_000, 27017, "admin", true
}

// MongoDBServerConfig is the config of healthcheck-mongodb.server, which needs none.
type MongoDBServerConfig struct{}

func (c *MongoDBServerConfig) defaults() {}

// MongoDBServerResult is what the server says of itself.
type MongoDBServerResult struct {
	// primary, secondary, arbiter, other (of a replica set), mongos, or standalone.
	Role string `json:"role"`
	// It takes writes.
	Writable bool `json:"writable"`
	// Name of the replica set.
	SetName string `json:"setName,omitempty"`
	// Address of the primary.
	Primary string `json:"primary,omitempty"`
	// How long a ping took.
	ResponseTimeMs float64 `json:"responseTimeMs"`
}
