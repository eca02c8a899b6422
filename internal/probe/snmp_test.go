package probe

import (
	"fmt"
	"testing"

	"github.com/perigee-monitoring/perigee/check"
)

func TestSNMP(t *testing.T) {
	t.Parallel()
	path := program(t, "snmpd")
	against(check.SNMP, "program", versionOf(t, path, "-v"))
	dir := t.TempDir()
	config := write(t, dir, "snmpd.conf", `rocommunity secret 127.0.0.1
sysName perigee-test
sysServices 72
createUser plain
createUser signed SHA-256 "password of signed"
createUser sealed SHA "password of sealed" AES "privacy of sealed"
rouser plain noauth
rouser signed auth
rouser sealed priv
`)
	const name, uptime, services = "1.3.6.1.2.1.1.5.0", ".1.3.6.1.2.1.1.3.0", "1.3.6.1.2.1.1.7.0"
	ask := func(oid string) string { return fmt.Sprintf(`{"oid":%q}`, oid) }
	p := New(Options{})
	s := childOn(t, "udp", func(s target) bool {
		a := s.assignment(check.SNMP, `"community":"secret","timeout":500`, check.SNMPGet, ask(name))
		return p.Execute(t.Context(), a, nil, nil).Status == check.Healthy
	}, func(port int) []string {
		return []string{path, "-f", "-Lo", "-C", "-c", config, "-M", dir, fmt.Sprintf("udp:127.0.0.1:%d", port)}
	})
	const community = `"community":"secret"`
	sealed := `"version":"3","v3Username":"sealed","v3AuthKey":"password of sealed","v3PrivKey":"privacy of sealed"`
	named := map[string]any{"valueString": "perigee-test", "valueType": "OctetString"}
	try(t, s, check.SNMP, []trial{
		{"text", community, check.SNMPGet, ask(name), "", named},
		{"ticks", community, check.SNMPGet, ask(uptime), "", map[string]any{"value": some, "valueString": some, "valueType": "TimeTicks"}},
		{"number", community, check.SNMPGet, ask(services), "", map[string]any{"value": 72.0, "valueString": "72", "valueType": "Integer"}},
		{"oid", community, check.SNMPGet, ask("1.3.6.1.2.1.1.2.0"), "", map[string]any{"valueString": some, "valueType": "ObjectIdentifier"}},
		{"none", community, check.SNMPGet, ask("1.3.6.1.2.1.1.5.7"), "", map[string]any{"valueType": "NoSuchInstance"}},
		{"version 1", `"version":"1",` + community, check.SNMPGet, ask(name), "", named},
		{"version 1, none", `"version":"1",` + community, check.SNMPGet, ask("1.3.6.1.2.1.1.5.7"), "", map[string]any{"valueType": "NoSuchObject"}},
		{"version 3, plain", `"version":"3","v3Username":"plain","v3SecurityLevel":"noAuthNoPriv"`, check.SNMPGet, ask(name), "", named},
		{"version 3, signed", `"version":"3","v3Username":"signed","v3SecurityLevel":"authNoPriv","v3AuthProtocol":"sha256","v3AuthKey":"password of signed"`, check.SNMPGet, ask(name), "", named},
		{"version 3, sealed", sealed, check.SNMPGet, ask(name), "", named},
		{"wrong password", `"version":"3","v3Username":"signed","v3SecurityLevel":"authNoPriv","v3AuthProtocol":"sha256","v3AuthKey":"another password"`, check.SNMPGet, ask(name), "Check failed: the agent refused the authentication key", nil},
		{"no such user", `"version":"3","v3Username":"nobody","v3SecurityLevel":"noAuthNoPriv"`, check.SNMPGet, ask(name), "Check failed: the agent does not know the user", nil},
		{"too open", `"version":"3","v3Username":"sealed","v3SecurityLevel":"noAuthNoPriv"`, check.SNMPGet, ask(name), "Check failed: …", nil},
		{"wrong community", `"community":"wrong","timeout":600`, check.SNMPGet, ask(name), "Check failed: timed out after 600 ms while waiting for the agent", nil},
		{"no key", `"version":"3","v3Username":"sealed"`, check.SNMPGet, ask(name), "the config cannot be used: v3AuthKey is missing", nil},
		{"no oid", community, check.SNMPGet, ask("sysName.0"), `Check failed: the config cannot be used: "sysName.0" is no object identifier in numbers`, nil},
	})
	try(t, closedPort(t), check.SNMP, []trial{{"refused", ``, check.SNMPGet, ask(name), "Check failed: connection refused…", nil}})
	t.Run("nonsense", func(t *testing.T) {
		t.Parallel()
		s := answering(t, func(question []byte) []byte {
			for i := range question {
				question[i] ^= 0x55
			}
			return question
		})
		r := New(Options{}).Execute(t.Context(), s.assignment(check.SNMP, `"timeout":500`, check.SNMPGet, ask(name)), nil, nil)
		wantFound(t, r, trial{message: "Check failed: …"})
	})
}
