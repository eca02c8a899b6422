//go:build !lean

package probe

import (
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/xdg-go/scram"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/perigee-monitoring/perigee/check"
)

func init() { whole = append(whole, plausible{check.MongoDB, ``, check.MongoDBServer, `{}`}) }

// replica is a stand-in for a member of a replica set, which neither Debian nor a
// small Go module has. It says what MongoDB's documentation says, and knows one user.
func replica(t *testing.T, hello bson.M) target {
	t.Helper()
	client, err := scram.SHA256.NewClient("u", "right", "")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt of the test", Iters: 4096})
	if err != nil {
		t.Fatal(err)
	}
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, func(conn net.Conn) {
		talk := server.NewConversation()
		for {
			var head [16]byte
			if _, err := io.ReadFull(conn, head[:]); err != nil {
				return
			}
			body := make([]byte, binary.LittleEndian.Uint32(head[:])-16)
			if _, err := io.ReadFull(conn, body); err != nil {
				return
			}
			var command struct {
				Hello, Ping  int
				SaslStart    int         `bson:"saslStart"`
				SaslContinue int         `bson:"saslContinue"`
				Payload      bson.Binary `bson:"payload"`
			}
			if err := bson.Unmarshal(body[5:], &command); err != nil {
				return
			}
			answer := bson.M{"ok": 1.0}
			switch {
			case command.Hello == 1:
				answer = hello
			case command.SaslStart == 1 || command.SaslContinue == 1:
				word, err := talk.Step(string(command.Payload.Data))
				answer = bson.M{"ok": 1.0, "conversationId": 7, "done": talk.Done(), "payload": []byte(word)}
				if err != nil {
					answer = bson.M{"ok": 0.0, "code": 18, "errmsg": "Authentication failed."}
				}
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
	against(check.MongoDB, "stand-in", "answers in the form of a replica set's members, with the driver's documents and a real SCRAM exchange")
	primary := replica(t, bson.M{"ok": 1.0, "isWritablePrimary": true, "setName": "rs0", "primary": "db1:27017"})
	found := map[string]any{"role": "primary", "writable": true, "setName": "rs0", "primary": "db1:27017"}
	try(t, primary, check.MongoDB, []trial{
		{"greeting", ``, "", "", "", nil},
		{"primary", ``, check.MongoDBServer, `{}`, "", found},
		{"signed in", `"username":"u","password":"right"`, check.MongoDBServer, `{}`, "", found},
		{"wrong password", `"username":"u","password":"wrong"`, check.MongoDBServer, `{}`, "signing in: the server answered 18: Authentication failed.", nil},
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
