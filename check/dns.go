package check

// Qualified ids of the DNS strategy and its collector (spec K.7).
const (
	DNS       = "healthcheck-dns.dns"
	DNSLookup = "healthcheck-dns.lookup"
)

func init() {
	register(strategy[DNSConfig](DNS, "DNS", true),
		collector[DNSLookupConfig, DNSLookupResult](DNSLookup, "Lookup", true))
}

// DNSConfig is the config of healthcheck-dns.dns: whom to ask.
type DNSConfig struct {
	// The most that one lookup may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// Nameserver as host or host:port; the satellite's own resolver if empty.
	Nameserver string `json:"nameserver,omitempty" jsonschema:"title=Nameserver" check:"templatable"`
}

func (c *DNSConfig) defaults() { c.Timeout = 30_000 }

// DNSLookupConfig is the config of healthcheck-dns.lookup: one question.
type DNSLookupConfig struct {
	// Name to look up.
	Hostname string `json:"hostname" jsonschema:"title=Name,required,minLength=1" check:"templatable"`
	// Type of record.
	RecordType string `json:"recordType" jsonschema:"title=Record type,enum=A,enum=AAAA,enum=CNAME,enum=MX,enum=TXT,enum=NS"`
	// Nameserver for this question, instead of the strategy's.
	Nameserver string `json:"nameserver,omitempty" jsonschema:"title=Nameserver" check:"templatable"`
}

func (c *DNSLookupConfig) defaults() { c.RecordType = "A" }

// DNSLookupResult is the answer. MX values are "<preference> <name>"; names have
// no dot at the end.
type DNSLookupResult struct {
	Values           []string `json:"values"`
	RecordCount      int      `json:"recordCount"`
	ResolutionTimeMs float64  `json:"resolutionTimeMs"`
}
