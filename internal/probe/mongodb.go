//go:build !lean

package probe

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/xdg-go/scram"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/perigee-monitoring/perigee/check"
)

const (
	// mongoMessage is the one kind of message that is left in MongoDB's protocol.
	mongoMessage = 2013
	// maxMongo bounds one answer.
	maxMongo = 1 << 20
)

var errNotMongo = errors.New("the other side does not speak MongoDB's protocol")

// mongoSession is one connection to one server; its commands wait for each other. Of
// the driver only its documents are used: it would watch the whole replica set.
type mongoSession struct {
	plain
	limit time.Duration

	mu   sync.Mutex
	conn net.Conn
	last int32
}

func init() { offers[check.MongoDB] = offer{connect: (*Prober).connectMongoDB} }

func (p *Prober) connectMongoDB(ctx context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.MongoDBConfig])
	if err != nil {
		return nil, err
	}
	s := &mongoSession{limit: timeout(config.Timeout)}
	at := endpoint{host: config.Host, port: config.Port, limit: s.limit, tls: config.TLS, verify: config.RejectUnauthorized}
	s.conn, s.plain, err = p.reach(ctx, at, func(_ context.Context, _ *phases, conn net.Conn) error {
		s.conn = conn
		if _, err := s.hello(); err != nil {
			return err
		}
		if config.Username == "" {
			return nil
		}
		if err := s.signIn(config); err != nil {
			return fmt.Errorf("signing in: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// mongoReply is what is read of answers.
type mongoReply struct {
	OK      float64 `bson:"ok"`
	Code    int32   `bson:"code"`
	Message string  `bson:"errmsg"`

	Writable  bool   `bson:"isWritablePrimary"`
	Secondary bool   `bson:"secondary"`
	Arbiter   bool   `bson:"arbiterOnly"`
	Kind      string `bson:"msg"`
	SetName   string `bson:"setName"`
	Primary   string `bson:"primary"`

	Conversation int32       `bson:"conversationId"`
	Done         bool        `bson:"done"`
	Payload      bson.Binary `bson:"payload"`
}

func (s *mongoSession) hello() (mongoReply, error) {
	return s.command(bson.D{{Key: "hello", Value: 1}, {Key: "$db", Value: "admin"}})
}

func (s *mongoSession) signIn(c check.MongoDBConfig) error {
	client, err := scram.SHA256.NewClient(c.Username, c.Password, "")
	if err != nil {
		return fmt.Errorf("the config cannot be used: username and password: %w", err)
	}
	talk := client.NewConversation()
	word, err := talk.Step("")
	if err != nil {
		return err
	}
	answer, err := s.command(bson.D{
		{Key: "saslStart", Value: 1},
		{Key: "mechanism", Value: "SCRAM-SHA-256"},
		{Key: "payload", Value: []byte(word)},
		{Key: "options", Value: bson.D{{Key: "skipEmptyExchange", Value: true}}},
		{Key: "$db", Value: c.AuthSource},
	})
	for range 3 { // two more steps, and an empty one of old servers
		if err != nil {
			return err
		}
		word = ""
		if !talk.Done() {
			if word, err = talk.Step(string(answer.Payload.Data)); err != nil {
				return fmt.Errorf("the server does not know the password: %w", err)
			}
		}
		if answer.Done {
			return nil
		}
		answer, err = s.command(bson.D{
			{Key: "saslContinue", Value: 1}, {Key: "conversationId", Value: answer.Conversation}, {Key: "payload", Value: []byte(word)}, {Key: "$db", Value: c.AuthSource},
		})
	}
	return errors.Join(err, errNotMongo)
}

// command sends one and reads its answer: a header of four numbers, flags, and one document.
func (s *mongoSession) command(document bson.D) (mongoReply, error) {
	var answer mongoReply
	text, err := bson.Marshal(document)
	if err != nil {
		return answer, err
	}
	s.last++
	var message []byte
	for _, n := range []int32{int32(21 + len(text)), s.last, 0, mongoMessage, 0} {
		message = binary.LittleEndian.AppendUint32(message, uint32(n))
	}
	if _, err := s.conn.Write(append(append(message, 0), text...)); err != nil {
		return answer, err
	}
	var head [16]byte
	if _, err := io.ReadFull(s.conn, head[:]); err != nil {
		return answer, err
	}
	n, to, kind := binary.LittleEndian.Uint32(head[:]), binary.LittleEndian.Uint32(head[8:]), binary.LittleEndian.Uint32(head[12:])
	if n < 26 || n > maxMongo || kind != mongoMessage || int32(to) != s.last {
		return answer, errNotMongo
	}
	body := make([]byte, n-16)
	if _, err := io.ReadFull(s.conn, body); err != nil {
		return answer, err
	}
	raw := bson.Raw(body[5:])
	if body[4] != 0 || raw.Validate() != nil || bson.Unmarshal(raw, &answer) != nil {
		return answer, errNotMongo
	}
	if answer.OK != 1 {
		return answer, fmt.Errorf("the server answered %d: %s", answer.Code, cut(answer.Message, 500))
	}
	return answer, nil
}

func (s *mongoSession) collect(ctx context.Context, _ string, _ json.RawMessage) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := spent(s.conn); err != nil {
		return nil, err
	}
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	defer during(ctx, s.conn)()
	start := time.Now()
	if _, err := s.command(bson.D{{Key: "ping", Value: 1}, {Key: "$db", Value: "admin"}}); err != nil {
		return nil, explain(ctx, err, "waiting for the answer to a ping")
	}
	elapsed := precise(time.Since(start))
	said, err := s.hello()
	if err != nil {
		return nil, explain(ctx, err, "waiting for the answer")
	}
	return &check.MongoDBServerResult{
		Role: mongoRole(said), Writable: said.Writable, SetName: cut(said.SetName, 200), Primary: cut(said.Primary, 300), ResponseTimeMs: elapsed,
	}, nil
}

func mongoRole(r mongoReply) string {
	switch {
	case r.Kind == "isdbgrid":
		return "mongos"
	case r.SetName == "":
		return "standalone"
	case r.Writable:
		return "primary"
	case r.Secondary:
		return "secondary"
	case r.Arbiter:
		return "arbiter"
	}
	return "other"
}

func (s *mongoSession) close() { s.conn.Close() }
