package check

// Qualified ids of the Redis strategy and its collector (spec K.7).
const (
	Redis        = "healthcheck-redis.redis"
	RedisCommand = "healthcheck-redis.command"
)

func init() {
	register(strategy[RedisConfig](Redis, "Redis", false),
		collector[RedisCommandConfig, RedisCommandResult](RedisCommand, "Command", true))
}

// RedisConfig is the config of healthcheck-redis.redis: a server that speaks Redis'
// protocol. Connecting signs in and selects the database.
type RedisConfig struct {
	// The most that connecting and each command may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// Name or address to connect to.
	Host string `json:"host" jsonschema:"title=Host,required,minLength=1,format=host" check:"templatable"`
	// Port to connect to.
	Port int `json:"port" jsonschema:"title=Port,minimum=1,maximum=65535"`
	// User to sign in as, where the server has several.
	Username string `json:"username,omitempty" jsonschema:"title=User name" check:"templatable"`
	// Password to sign in with; none signs nobody in.
	Password string `json:"password,omitempty" jsonschema:"title=Password" check:"secret"`
	// Number of the database.
	Database int `json:"database" jsonschema:"title=Database,minimum=0"`
	// Speak TLS.
	TLS bool `json:"tls" jsonschema:"title=TLS"`
	// Fail when the certificate cannot be verified.
	RejectUnauthorized bool `json:"rejectUnauthorized" jsonschema:"title=Verify certificate"`
}

func (c *RedisConfig) defaults() {
	c.Timeout, c.Port, c.RejectUnauthorized = 30_000, 6379, true
}

// RedisCommandConfig is the config of healthcheck-redis.command: one command that
// changes nothing.
type RedisCommandConfig struct {
	// What to ask.
	Command string `json:"command" jsonschema:"title=Command,enum=PING,enum=INFO,enum=GET"`
	// The key for GET, the section for INFO.
	Args string `json:"args,omitempty" jsonschema:"title=Argument" check:"templatable"`
}

func (c *RedisCommandConfig) defaults() { c.Command = "PING" }

// RedisCommandResult is what the server answered.
type RedisCommandResult struct {
	// The beginning of the answer; absent when the key does not exist.
	Response       *string `json:"response,omitempty"`
	ResponseTimeMs float64 `json:"responseTimeMs"`
	Success        bool    `json:"success"`
}
