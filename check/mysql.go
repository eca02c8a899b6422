package check

// Qualified ids of the MySQL strategy and its collector (spec K.7).
const (
	MySQL      = "healthcheck-mysql.mysql"
	MySQLQuery = "healthcheck-mysql.query"
)

func init() {
	register(strategy[MySQLConfig](MySQL, "MySQL", false),
		collector[QueryConfig, QueryResult](MySQLQuery, "Query", true))
}

// MySQLConfig is the config of healthcheck-mysql.mysql: a database of MySQL or
// MariaDB. Connecting signs in.
type MySQLConfig struct {
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
	TLS bool `json:"tls" jsonschema:"title=TLS"`
	// Fail when the certificate cannot be verified.
	RejectUnauthorized bool `json:"rejectUnauthorized" jsonschema:"title=Verify certificate"`
}

func (c *MySQLConfig) defaults() { c.Timeout, c.Port, c.RejectUnauthorized = 30_000, 3306, true }

// QueryConfig is the config of healthcheck-mysql.query and healthcheck-postgres.query:
// one statement.
type QueryConfig struct {
	// What to run. The database's user should not be able to do harm with it.
	Query string `json:"query" jsonschema:"title=Query,minLength=1" check:"templatable"`
}

func (c *QueryConfig) defaults() { c.Query = "SELECT 1" }

// QueryResult is what a statement found.
type QueryResult struct {
	RowCount        int     `json:"rowCount"`
	ExecutionTimeMs float64 `json:"executionTimeMs"`
	Success         bool    `json:"success"`
}
