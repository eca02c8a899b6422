package check

// Qualified ids of the PostgreSQL strategy and its collector (spec K.7).
const (
	Postgres      = "healthcheck-postgres.postgres"
	PostgresQuery = "healthcheck-postgres.query"
)

func init() {
	register(strategy[PostgresConfig](Postgres, "PostgreSQL", false),
		collector[QueryConfig, QueryResult](PostgresQuery, "Query", true))
}

// PostgresConfig is the config of healthcheck-postgres.postgres: a database of
// PostgreSQL. Connecting signs in.
type PostgresConfig struct {
	// The most that connecting and each query may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// Name or address to connect to.
	Host string `json:"host" jsonschema:"title=Host,required,minLength=1,format=host" check:"templatable"`
	// Port to connect to.
	Port int `json:"port" jsonschema:"title=Port,minimum=1,maximum=65535"`
	// Name of the database.
	Database string `json:"database" jsonschema:"title=Database,required,minLength=1" check:"templatable"`
	// User to sign in as.
	User string `json:"user" jsonschema:"title=User,required,minLength=1" check:"templatable"`
	// Password to sign in with.
	Password string `json:"password" jsonschema:"title=Password,required" check:"secret"`
	// Speak TLS.
	SSL bool `json:"ssl" jsonschema:"title=TLS"`
	// Fail when the certificate cannot be verified.
	RejectUnauthorized bool `json:"rejectUnauthorized" jsonschema:"title=Verify certificate"`
}

func (c *PostgresConfig) defaults() { c.Timeout, c.Port, c.RejectUnauthorized = 30_000, 5432, true }
