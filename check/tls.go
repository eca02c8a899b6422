package check

// Qualified ids of the TLS strategy and its collector (spec K.7).
const (
	TLS            = "healthcheck-tls.tls"
	TLSCertificate = "healthcheck-tls.certificate"
)

func init() {
	register(strategy[TLSConfig](TLS, "TLS", false),
		collector[TLSCertificateConfig, TLSCertificateResult](TLSCertificate, "Certificate", false))
}

// TLSConfig is the config of healthcheck-tls.tls: where to shake hands, and what
// is demanded of the certificate.
type TLSConfig struct {
	// The most that connecting and the handshake may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// Name or address to connect to.
	Host string `json:"host" jsonschema:"title=Host,required,minLength=1,format=host" check:"templatable"`
	// Port to connect to.
	Port int `json:"port" jsonschema:"title=Port,minimum=1,maximum=65535"`
	// Name to ask for and to find in the certificate; the host if empty.
	ServerName string `json:"servername,omitempty" jsonschema:"title=Server name" check:"templatable"`
	// A certificate that ends in fewer days makes the run degraded.
	MinDaysUntilExpiry int `json:"minDaysUntilExpiry" jsonschema:"title=Days until expiry,minimum=0"`
	// Fail when the certificate cannot be verified.
	RejectUnauthorized bool `json:"rejectUnauthorized" jsonschema:"title=Verify certificate"`
}

func (c *TLSConfig) defaults() {
	c.Timeout, c.Port, c.MinDaysUntilExpiry, c.RejectUnauthorized = 30_000, 443, 30, true
}

// TLSCertificateConfig is the config of healthcheck-tls.certificate, which needs none.
type TLSCertificateConfig struct{}

func (c *TLSCertificateConfig) defaults() {}

// TLSCertificateResult is the certificate that the server presented. Times are
// ISO 8601.
type TLSCertificateResult struct {
	Subject   string `json:"subject"`
	Issuer    string `json:"issuer"`
	ValidFrom string `json:"validFrom"`
	ValidTo   string `json:"validTo"`
	// Whole days until ValidTo, negative afterwards.
	DaysRemaining int `json:"daysRemaining"`
	// The chain leads to a trusted root, the name fits, and now is between the times.
	Valid bool `json:"valid"`
}
