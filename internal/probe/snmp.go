package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gosnmp/gosnmp"

	"github.com/perigee-monitoring/perigee/check"
)

// maxSNMPTry is how long one datagram may take to be answered before it is sent again.
const maxSNMPTry = 3 * time.Second

// snmpSession asks one agent; its questions wait for each other.
type snmpSession struct {
	plain
	run   run
	limit time.Duration

	mu    sync.Mutex
	agent *gosnmp.GoSNMP
}

func init() { offers[check.SNMP] = offer{connect: (*Prober).connectSNMP} }

func (p *Prober) connectSNMP(ctx context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.SNMPConfig])
	if err != nil {
		return nil, err
	}
	s := &snmpSession{plain: plain{&phases{}}, run: r, limit: timeout(config.Timeout)}
	conn, err := p.dial(ctx, s.phases, "udp", config.Host, config.Port, s.limit)
	if err != nil {
		return nil, err
	}
	// The library connects by itself; what it connected is replaced by what our dialer did.
	at := conn.RemoteAddr().(*net.UDPAddr)
	try := min(s.limit/3, maxSNMPTry)
	s.agent = &gosnmp.GoSNMP{
		Target: at.IP.String(), Port: uint16(at.Port), Transport: "udp", Context: ctx,
		Timeout: try, Retries: int(s.limit / try), MaxOids: gosnmp.MaxOids,
	}
	if at.Zone != "" {
		s.agent.Target += "%" + at.Zone
	}
	snmpSecurity(s.agent, config)
	if err := s.agent.Connect(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("the config cannot be used: %w", err)
	}
	s.agent.Conn.Close()
	s.agent.Conn = conn
	return s, nil
}

func snmpSecurity(agent *gosnmp.GoSNMP, c check.SNMPConfig) {
	agent.Community = c.Community
	switch c.Version {
	case "1":
		agent.Version = gosnmp.Version1
		return
	case "2c":
		agent.Version = gosnmp.Version2c
		return
	}
	agent.Version, agent.SecurityModel = gosnmp.Version3, gosnmp.UserSecurityModel
	user := &gosnmp.UsmSecurityParameters{UserName: c.V3Username, AuthenticationProtocol: gosnmp.NoAuth, PrivacyProtocol: gosnmp.NoPriv}
	agent.MsgFlags, agent.SecurityParameters = gosnmp.NoAuthNoPriv, user
	if c.V3SecurityLevel != "noAuthNoPriv" {
		agent.MsgFlags, user.AuthenticationPassphrase = gosnmp.AuthNoPriv, c.V3AuthKey
		user.AuthenticationProtocol = map[string]gosnmp.SnmpV3AuthProtocol{
			"md5": gosnmp.MD5, "sha": gosnmp.SHA, "sha224": gosnmp.SHA224, "sha256": gosnmp.SHA256, "sha384": gosnmp.SHA384, "sha512": gosnmp.SHA512,
		}[c.V3AuthProtocol]
	}
	if c.V3SecurityLevel == "authPriv" {
		agent.MsgFlags, user.PrivacyPassphrase = gosnmp.AuthPriv, c.V3PrivKey
		user.PrivacyProtocol = map[string]gosnmp.SnmpV3PrivProtocol{
			"des": gosnmp.DES, "aes": gosnmp.AES, "aes256b": gosnmp.AES256, "aes256r": gosnmp.AES256C,
		}[c.V3PrivProtocol]
	}
}

func (s *snmpSession) collect(ctx context.Context, _ string, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.SNMPGetConfig])
	if err != nil {
		return nil, err
	}
	if !check.IsOID(config.OID) {
		return nil, fmt.Errorf("the config cannot be used: %q is no object identifier in numbers", cut(config.OID, 200))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	s.agent.Context = ctx
	start := time.Now()
	answer, err := s.agent.Get([]string{config.OID})
	elapsed := precise(time.Since(start))
	switch {
	case err != nil && strings.Contains(err.Error(), "request timeout"):
		<-ctx.Done() // its tries are over a moment before the limit is
		return nil, explain(ctx, context.DeadlineExceeded, "waiting for the agent")
	case err != nil:
		return nil, explain(ctx, snmpError(err), "waiting for the agent")
	case answer.Error == gosnmp.NoSuchName: // how version 1 says it
		return &check.SNMPGetResult{ValueType: "NoSuchObject", ResponseTimeMs: elapsed}, nil
	case answer.Error != gosnmp.NoError:
		return nil, fmt.Errorf("the agent answered %s", answer.Error)
	case len(answer.Variables) != 1:
		return nil, errors.New("the agent did not answer what it was asked")
	}
	result := s.value(answer.Variables[0])
	result.ResponseTimeMs = elapsed
	if answer.PDUType == gosnmp.Report {
		return nil, fmt.Errorf("the agent refused: it reports %s", strings.TrimPrefix(answer.Variables[0].Name, "."))
	}
	return result, nil
}

// snmpError says what the library's errors mean.
func snmpError(err error) error {
	switch {
	case errors.Is(err, gosnmp.ErrUnknownUsername):
		return told{"the agent does not know the user", err}
	case errors.Is(err, gosnmp.ErrWrongDigest), strings.Contains(err.Error(), "not authentic"):
		return told{"the agent refused the authentication key", err}
	case errors.Is(err, gosnmp.ErrDecryption):
		return told{"the agent could not decrypt: the privacy key or protocol is wrong", err}
	case errors.Is(err, gosnmp.ErrUnknownSecurityLevel):
		return told{"the agent does not take this security level of this user", err}
	}
	return err
}

// value is a variable as the results have it.
func (s *snmpSession) value(v gosnmp.SnmpPDU) *check.SNMPGetResult {
	result := &check.SNMPGetResult{ValueType: snmpType(v.Type)}
	var text string
	switch value := v.Value.(type) {
	case nil:
		return result
	case []byte:
		if text = string(value); !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' }) {
			text = fmt.Sprintf("% x", value[:min(len(value), maxText/3)])
		}
	case string:
		text = strings.TrimPrefix(value, ".")
	case float32, float64:
		text = fmt.Sprint(value)
	default:
		text = gosnmp.ToBigInt(value).String()
	}
	text = s.run.keep(text)
	result.ValueString = &text
	if n, err := strconv.ParseFloat(text, 64); err == nil && v.Type != gosnmp.ObjectIdentifier && v.Type != gosnmp.IPAddress {
		result.Value = &n
	}
	return result
}

func snmpType(t gosnmp.Asn1BER) string {
	switch t {
	case gosnmp.IPAddress:
		return "IpAddress"
	case gosnmp.Counter32:
		return "Counter"
	case gosnmp.Gauge32, gosnmp.Uinteger32:
		return "Gauge"
	case gosnmp.OpaqueFloat, gosnmp.OpaqueDouble:
		return "Opaque"
	}
	return t.String()
}

func (s *snmpSession) close() { _ = s.agent.Close() }
