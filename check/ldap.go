package check

// Qualified ids of the LDAP strategy and its collector. The original has none.
const (
	LDAP       = "healthcheck-ldap.ldap"
	LDAPSearch = "healthcheck-ldap.search"
)

func init() {
	register(strategy[LDAPConfig](LDAP, "LDAP", false),
		collector[LDAPSearchConfig, LDAPSearchResult](LDAPSearch, "Search", true))
}

// LDAPConfig is the config of healthcheck-ldap.ldap: a directory. Connecting binds, as
// nobody if there is no DN.
type LDAPConfig struct {
	// The most that connecting and each search may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// Name or address to connect to.
	Host string `json:"host" jsonschema:"title=Host,required,minLength=1,format=host" check:"templatable"`
	// Port to connect to.
	Port int `json:"port" jsonschema:"title=Port,minimum=1,maximum=65535"`
	// none, starttls (change to TLS after connecting, or fail), or tls (from the beginning; mostly port 636).
	Security string `json:"security" jsonschema:"title=Security,enum=none,enum=starttls,enum=tls"`
	// Distinguished name to bind as, such as cn=reader,dc=example,dc=org.
	BindDN string `json:"bindDn,omitempty" jsonschema:"title=Bind DN" check:"templatable"`
	// Password to bind with.
	Password string `json:"password,omitempty" jsonschema:"title=Password" check:"secret"`
	// Fail when the certificate cannot be verified.
	RejectUnauthorized bool `json:"rejectUnauthorized" jsonschema:"title=Verify certificate"`
}

func (c *LDAPConfig) defaults() {
	c.Timeout, c.Port, c.Security, c.RejectUnauthorized = 30_000, 389, "none", true
}

// LDAPSearchConfig is the config of healthcheck-ldap.search: how many entries there are.
type LDAPSearchConfig struct {
	// Where to begin; the root of the server's own description if empty.
	BaseDN string `json:"baseDn,omitempty" jsonschema:"title=Base DN" check:"templatable"`
	// base for that entry alone, one for those right below it, sub for all below it.
	Scope string `json:"scope" jsonschema:"title=Scope,enum=base,enum=one,enum=sub"`
	// Which entries count.
	Filter string `json:"filter" jsonschema:"title=Filter,minLength=1" check:"templatable"`
}

func (c *LDAPSearchConfig) defaults() { c.Scope, c.Filter = "base", "(objectClass=*)" }

// LDAPSearchResult counts entries.
type LDAPSearchResult struct {
	// At most 1000 are asked for.
	EntryCount int `json:"entryCount"`
	// Distinguished name of the first.
	FirstDN        string  `json:"firstDn,omitempty"`
	ResponseTimeMs float64 `json:"responseTimeMs"`
	Success        bool    `json:"success"`
}
