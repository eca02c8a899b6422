//go:build !lean

package probe

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/perigee-monitoring/perigee/check"
)

func init() { whole = append(whole, plausible{check.MongoDB, ``, check.MongoDBServer, `{}`}) }

// replica is a stand-in for a member of a replica set, which FerretDB is never. It says
// what MongoDB's documentation says.
func replica(t *testing.T, hello bson.M) target {
	t.Helper()
	return serve(t, func(conn net.Conn) {
		for {
			var head [16]byte
			if _, err := io.ReadFull(conn, head[:]); err != nil {
				return
			}
			body := make([]byte, binary.LittleEndian.Uint32(head[:])-16)
			if _, err := io.ReadFull(conn, body); err != nil {
				return
			}
			var command struct{ Hello int }
			if err := bson.Unmarshal(body[5:], &command); err != nil {
				return
			}
			answer := bson.M{"ok": 1.0}
			if command.Hello == 1 {
				answer = hello
			}
			text, _ := bson.Marshal(answer)
			var message []byte
			for _, n := range []uint32{uint32(21 + len(text)), 1, binary.LittleEndian.Uint32(head[4:]), 2013, 0} {
				message = binary.LittleEndian.AppendUint32(message, n)
			}
			conn.Write(append(append(message, 0), text...))
		}
	})
}

func TestMongoDB(t *testing.T) {
	t.Parallel()
	path := program(t, "ferretdb")
	against(check.MongoDB, "program", "FerretDB, "+versionOf(t, path, "--version"))
	ferret := func(more ...string) target {
		return child(t, func(port int) []string {
			return append([]string{
				path, "--handler=sqlite", "--sqlite-url=file:" + t.TempDir() + "/", "--state-dir=-", "--telemetry=disable", "--debug-addr=-", "--log-level=error",
				fmt.Sprintf("--listen-addr=127.0.0.1:%d", port),
			}, more...)
		})
	}
	const right = `"username":"u","password":"right"`
	alone := map[string]any{"role": "standalone", "writable": true}
	try(t, ferret("--test-enable-new-auth", "--setup-database=admin", "--setup-username=u", "--setup-password=right"), check.MongoDB, []trial{
		{"connecting signs in", right, "", "", "", nil},
		{"signed in", right, check.MongoDBServer, `{}`, "", alone},
		{"wrong password", `"username":"u","password":"wrong"`, check.MongoDBServer, `{}`, "signing in: the server answered 18: Authentication failed.", nil},
		{"no such user", `"username":"nobody","password":"right"`, "", "", "signing in: the server answered 18: Authentication failed.", nil},
		{"another database", right + `,"authSource":"shop"`, "", "", "signing in: the server answered 18: Authentication failed.", nil},
		{"TLS that it does not speak", right + `,"tls":true`, "", "", "connection closed before the answer was complete", nil},
	})
	try(t, ferret(), check.MongoDB, []trial{{"as nobody", ``, check.MongoDBServer, `{}`, "", alone}})
}

func TestMongoDBReplicaSet(t *testing.T) {
	t.Parallel()
	against(check.MongoDB, "stand-in", "answers in the form of a replica set's members, with the driver's documents")
	try(t, replica(t, bson.M{"ok": 1.0, "isWritablePrimary": true, "setName": "rs0", "primary": "db1:27017"}), check.MongoDB, []trial{
		{"primary", ``, check.MongoDBServer, `{}`, "", map[string]any{"role": "primary", "writable": true, "setName": "rs0", "primary": "db1:27017"}},
	})
	try(t, replica(t, bson.M{"ok": 1.0, "secondary": true, "setName": "rs0"}), check.MongoDB, []trial{
		{"secondary", ``, check.MongoDBServer, `{}`, "", map[string]any{"role": "secondary", "writable": false, "setName": "rs0"}},
	})
	try(t, replica(t, bson.M{"ok": 1.0, "isWritablePrimary": true, "msg": "isdbgrid"}), check.MongoDB, []trial{
		{"router", ``, check.MongoDBServer, `{}`, "", map[string]any{"role": "mongos", "writable": true}},
	})
	try(t, replica(t, bson.M{"ok": 0.0, "code": 211, "errmsg": "shutting down"}), check.MongoDB, []trial{
		{"shutting down", ``, check.MongoDBServer, `{}`, "the server answered 211: shutting down", nil},
	})
}
