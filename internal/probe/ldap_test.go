package probe

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perigee-monitoring/perigee/check"
)

func TestLDAP(t *testing.T) {
	t.Parallel()
	path := program(t, "slapd")
	against(check.LDAP, "program", strings.TrimPrefix(versionOf(t, path, "-VV"), "@(#) $"))
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	config := write(t, dir, "slapd.conf", fmt.Sprintf(`include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile %[1]s/pid
database mdb
suffix "dc=example,dc=org"
rootdn "cn=admin,dc=example,dc=org"
rootpw right
maxsize 10485760
directory %[1]s/db
access to * by anonymous auth by users read
`, dir))
	entries := write(t, dir, "entries.ldif", "dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n\n"+
		"dn: ou=people,dc=example,dc=org\nobjectClass: organizationalUnit\nou: people\n\ndn: ou=groups,dc=example,dc=org\nobjectClass: organizationalUnit\nou: groups\n")
	if text, err := exec.Command(program(t, "slapadd"), "-f", config, "-l", entries).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	s := child(t, func(port int) []string {
		return []string{path, "-f", config, "-h", fmt.Sprintf("ldap://127.0.0.1:%d", port), "-d", "0"}
	})
	const right = `"bindDn":"cn=admin,dc=example,dc=org","password":"right"`
	try(t, s, check.LDAP, []trial{
		{"as nobody", ``, "", "", "", nil},
		{"the server's own description", ``, check.LDAPSearch, `{}`, "", map[string]any{"entryCount": 1.0, "success": true}},
		{"as somebody", right, check.LDAPSearch, `{"baseDn":"dc=example,dc=org","scope":"sub","filter":"(objectClass=organizationalUnit)"}`, "", map[string]any{
			"entryCount": 2.0, "firstDn": "ou=people,dc=example,dc=org", "success": true,
		}},
		{"none", right, check.LDAPSearch, `{"baseDn":"dc=example,dc=org","scope":"one","filter":"(ou=nobody)"}`, "", map[string]any{"entryCount": 0.0, "success": true}},
		{
			"no such entry", right, check.LDAPSearch, `{"baseDn":"ou=none,dc=example,dc=org"}`,
			"Check failed: the server answered 32 No Such Object",
			map[string]any{"entryCount": 0.0, "success": false},
		},
		{"no filter", right, check.LDAPSearch, `{"filter":"(ou="}`, "Check failed: the config cannot be used: filter: …", nil},
		{"wrong password", `"bindDn":"cn=admin,dc=example,dc=org","password":"wrong"`, "", "", "binding: the server answered 49 Invalid Credentials", nil},
		{"no password", `"bindDn":"cn=admin,dc=example,dc=org"`, "", "", "the config cannot be used: a bind DN without a password would bind as nobody", nil},
		{"TLS that it does not speak", `"security":"starttls"`, "", "", "changing to TLS: the server answered 2 Protocol Error: unsupported extended operation", nil},
	})
}
