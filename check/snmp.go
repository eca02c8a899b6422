package check

import (
	"errors"
	"regexp"
)

// Qualified ids of the SNMP strategy and its collector (spec K.7).
const (
	SNMP    = "healthcheck-snmp.snmp"
	SNMPGet = "healthcheck-snmp.snmp"
)

func init() {
	register(strategy[SNMPConfig](SNMP, "SNMP", true),
		collector[SNMPGetConfig, SNMPGetResult](SNMPGet, "Value", true))
}

// SNMPConfig is the config of healthcheck-snmp.snmp: an agent, and how to speak to it.
type SNMPConfig struct {
	// The most that each question may take, in milliseconds. Within it a question that is not answered is asked again.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// Name or address of the agent.
	Host string `json:"host" jsonschema:"title=Host,required,minLength=1,format=host" check:"templatable"`
	// UDP port of the agent.
	Port int `json:"port" jsonschema:"title=Port,minimum=1,maximum=65535"`
	// Version of the protocol.
	Version string `json:"version" jsonschema:"title=Version,enum=1,enum=2c,enum=3"`
	// Community, for versions 1 and 2c.
	Community string `json:"community" jsonschema:"title=Community" check:"secret"`
	// User, for version 3.
	V3Username string `json:"v3Username,omitempty" jsonschema:"title=User (v3)"`
	// What messages of version 3 are: signed, and encrypted.
	V3SecurityLevel string `json:"v3SecurityLevel" jsonschema:"title=Security level (v3),enum=noAuthNoPriv,enum=authNoPriv,enum=authPriv"`
	// How messages are signed. Default: sha.
	V3AuthProtocol string `json:"v3AuthProtocol" jsonschema:"title=Authentication (v3),enum=md5,enum=sha,enum=sha224,enum=sha256,enum=sha384,enum=sha512"`
	// Password for signing.
	V3AuthKey string `json:"v3AuthKey,omitempty" jsonschema:"title=Authentication key (v3)" check:"secret"`
	// How messages are encrypted; aes256b and aes256r extend short keys in the ways of Blumenthal and Reeder.
	V3PrivProtocol string `json:"v3PrivProtocol" jsonschema:"title=Privacy (v3),enum=des,enum=aes,enum=aes256b,enum=aes256r"`
	// Password for encrypting.
	V3PrivKey string `json:"v3PrivKey,omitempty" jsonschema:"title=Privacy key (v3)" check:"secret"`
}

func (c *SNMPConfig) defaults() {
	c.Timeout, c.Port, c.Version, c.Community = 30_000, 161, "2c", "public"
	c.V3SecurityLevel, c.V3AuthProtocol, c.V3PrivProtocol = "authPriv", "sha", "aes"
}

// valid holds a config of version 3 against its security level.
func (c SNMPConfig) valid() error {
	switch {
	case c.Version != "3":
		return nil
	case c.V3Username == "":
		return errors.New("v3Username is missing")
	case c.V3SecurityLevel != "noAuthNoPriv" && c.V3AuthKey == "":
		return errors.New("v3AuthKey is missing")
	case c.V3SecurityLevel == "authPriv" && c.V3PrivKey == "":
		return errors.New("v3PrivKey is missing")
	}
	return nil
}

// SNMPGetConfig is the config of healthcheck-snmp.snmp, the collector: one value.
type SNMPGetConfig struct {
	// Its object identifier in numbers, such as 1.3.6.1.2.1.1.3.0.
	OID string `json:"oid" jsonschema:"title=OID,required,minLength=1,format=oid" check:"templatable"`
}

func (c *SNMPGetConfig) defaults() {}

var oid = regexp.MustCompile(`^\.?[0-2](\.\d{1,10})+$`)

// IsOID reports whether a text is an object identifier in numbers.
func IsOID(text string) bool { return len(text) <= 500 && oid.MatchString(text) }

// SNMPGetResult is the value. That there is none is a result too: its type says so.
type SNMPGetResult struct {
	// The value, if it is a number.
	Value *float64 `json:"value,omitempty"`
	// The value as text, whatever it is; large counters without loss.
	ValueString *string `json:"valueString,omitempty"`
	// Integer, OctetString, ObjectIdentifier, IpAddress, Counter, Gauge, TimeTicks, Opaque, Counter64, Null, NoSuchObject, NoSuchInstance or EndOfMibView.
	ValueType      string  `json:"valueType"`
	ResponseTimeMs float64 `json:"responseTimeMs"`
}
