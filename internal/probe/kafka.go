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

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/xdg-go/scram"

	"github.com/perigee-monitoring/perigee/check"
)

// maxMetadataVersion is the newest form of the question that has no tags yet.
const maxMetadataVersion = 8

// kafkaSession is one connection to one broker; its questions wait for each other. Of
// the client library only the messages are used: the client would look for the other
// brokers and connect anew, which a check of one must not do.
type kafkaSession struct {
	plain
	run      run
	limit    time.Duration
	metadata int16 // the version that both sides speak

	mu   sync.Mutex
	conn net.Conn
	last int32
}

func init() { offers[check.Kafka] = offer{connect: (*Prober).connectKafka} }

func (p *Prober) connectKafka(ctx context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.KafkaConfig])
	if err != nil {
		return nil, err
	}
	s := &kafkaSession{run: r, limit: timeout(config.Timeout)}
	at := endpoint{host: config.Host, port: config.Port, limit: s.limit, tls: config.TLS, verify: config.RejectUnauthorized}
	s.conn, s.plain, err = p.reach(ctx, at, func(_ context.Context, _ *phases, conn net.Conn) error {
		s.conn = conn
		return s.greet(config)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *kafkaSession) greet(c check.KafkaConfig) error {
	versions := kmsg.NewPtrApiVersionsRequest() // version 0, which all brokers know
	answer, err := s.ask(versions)
	if err != nil {
		return err
	}
	spoken := false
	for _, key := range answer.(*kmsg.ApiVersionsResponse).ApiKeys {
		if key.ApiKey == kmsg.Metadata.Int16() {
			s.metadata, spoken = min(key.MaxVersion, maxMetadataVersion), key.MinVersion <= maxMetadataVersion
		}
	}
	if !spoken {
		return errors.New("the broker speaks no version of Kafka's protocol that we do")
	}
	if c.Mechanism == "none" {
		return nil
	}
	err = s.signIn(c)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return told{"signing in: the broker hung up, as some do to refuse a password", err}
	}
	if err != nil {
		return fmt.Errorf("signing in: %w", err)
	}
	return nil
}

func (s *kafkaSession) signIn(c check.KafkaConfig) error {
	names := map[string]string{"plain": "PLAIN", "scram-sha-256": "SCRAM-SHA-256", "scram-sha-512": "SCRAM-SHA-512"}
	hello := kmsg.NewPtrSASLHandshakeRequest()
	hello.Version, hello.Mechanism = 1, names[c.Mechanism]
	answer, err := s.ask(hello)
	if err != nil {
		return err
	}
	if code := answer.(*kmsg.SASLHandshakeResponse).ErrorCode; code != 0 {
		return fmt.Errorf("the broker does not sign in by %s", hello.Mechanism)
	}
	if c.Mechanism == "plain" {
		_, err := s.authenticate("\x00" + c.Username + "\x00" + c.Password)
		return err
	}
	hash := scram.SHA256
	if c.Mechanism == "scram-sha-512" {
		hash = scram.SHA512
	}
	client, err := hash.NewClient(c.Username, c.Password, "")
	if err != nil {
		return fmt.Errorf("the config cannot be used: username and password: %w", err)
	}
	for talk, said := client.NewConversation(), ""; !talk.Done(); {
		word, err := talk.Step(said)
		if err != nil || talk.Done() {
			return err
		}
		if said, err = s.authenticate(word); err != nil {
			return err
		}
	}
	return nil
}

func (s *kafkaSession) authenticate(word string) (string, error) {
	question := kmsg.NewPtrSASLAuthenticateRequest()
	question.SASLAuthBytes = []byte(word)
	answer, err := s.ask(question)
	if err != nil {
		return "", err
	}
	got := answer.(*kmsg.SASLAuthenticateResponse)
	if got.ErrorCode != 0 {
		text := ""
		if got.ErrorMessage != nil {
			text = ": " + cut(*got.ErrorMessage, 300)
		}
		return "", fmt.Errorf("the broker refused, error %d%s", got.ErrorCode, text)
	}
	return string(got.SASLAuthBytes), nil
}

// ask sends one question and reads its answer. None of the versions in use has tags.
func (s *kafkaSession) ask(question kmsg.Request) (kmsg.Response, error) {
	s.last++
	text := kmsg.NewRequestFormatter(kmsg.FormatterClientID("perigee")).AppendRequest(nil, question, s.last)
	if _, err := s.conn.Write(text); err != nil {
		return nil, err
	}
	var head [8]byte
	if _, err := io.ReadFull(s.conn, head[:]); err != nil {
		return nil, err
	}
	n, odd := int32(binary.BigEndian.Uint32(head[:])), errors.New("the other side does not speak Kafka's protocol")
	if n < 4 || n > maxRead || int32(binary.BigEndian.Uint32(head[4:])) != s.last {
		return nil, odd
	}
	// Read as it comes: what a length announces need not be there.
	body, err := io.ReadAll(io.LimitReader(s.conn, int64(n-4)))
	if err != nil {
		return nil, err
	}
	if len(body) < int(n-4) {
		return nil, io.ErrUnexpectedEOF
	}
	answer := question.ResponseKind()
	answer.SetVersion(question.GetVersion())
	if err := answer.ReadFrom(body); err != nil {
		return nil, odd
	}
	return answer, nil
}

func (s *kafkaSession) collect(ctx context.Context, _ string, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.KafkaMetadataConfig])
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := spent(s.conn); err != nil {
		return nil, err
	}
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	defer during(ctx, s.conn)()
	question := kmsg.NewPtrMetadataRequest()
	question.Version = s.metadata
	if config.Topic != "" {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &config.Topic
		question.Topics = append(question.Topics, topic)
	}
	start := time.Now()
	answer, err := s.ask(question)
	if err != nil {
		return nil, explain(ctx, err, "waiting for the answer")
	}
	return kafkaResult(answer.(*kmsg.MetadataResponse), config.Topic, precise(time.Since(start)))
}

func kafkaResult(answer *kmsg.MetadataResponse, topic string, elapsed float64) (*check.KafkaMetadataResult, error) {
	result := &check.KafkaMetadataResult{BrokerCount: len(answer.Brokers), ResponseTimeMs: elapsed}
	if id := int(answer.ControllerID); id >= 0 {
		result.ControllerID = &id
	}
	for _, t := range answer.Topics {
		if t.ErrorCode == 3 {
			return result, fmt.Errorf("there is no topic %s, or this user may not see it", cut(topic, 200))
		}
		if t.ErrorCode != 0 && topic != "" {
			return result, fmt.Errorf("the broker answered error %d for the topic %s", t.ErrorCode, cut(topic, 200))
		}
		result.TopicCount++
		for _, p := range t.Partitions {
			result.PartitionCount++
			result.OfflinePartitions += one(p.Leader < 0)
			result.UnderReplicatedPartitions += one(len(p.ISR) < len(p.Replicas))
		}
	}
	return result, nil
}

func (s *kafkaSession) close() { s.conn.Close() }
