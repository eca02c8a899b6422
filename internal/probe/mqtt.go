package probe

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// Kinds of packets of MQTT, as they stand in the first byte.
const (
	mqttConnect    = 0x10
	mqttConnected  = 0x20
	mqttPublish    = 0x30
	mqttSubscribe  = 0x82
	mqttSubscribed = 0x90
	mqttDisconnect = 0xe0
)

var errNotMQTT = errors.New("the other side does not speak MQTT")

// mqttSession is one connection; its collectors wait for each other. Of MQTT a check
// needs five packets; the library for it speaks only one of the two versions in use.
type mqttSession struct {
	plain
	run   run
	limit time.Duration
	five  bool // version 5 rather than 3.1.1

	mu      sync.Mutex
	conn    net.Conn
	packets *bufio.Reader
	packet  uint16 // id of the last subscription
}

func init() { offers[check.MQTT] = offer{connect: (*Prober).connectMQTT} }

func (p *Prober) connectMQTT(ctx context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.MQTTConfig])
	if err != nil {
		return nil, err
	}
	s := &mqttSession{run: r, limit: timeout(config.Timeout), five: config.Version == "5"}
	at := endpoint{host: config.Host, port: config.Port, limit: s.limit, tls: config.TLS, verify: config.RejectUnauthorized}
	s.conn, s.plain, err = p.reach(ctx, at, func(_ context.Context, _ *phases, conn net.Conn) error { return s.greet(conn, config) })
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *mqttSession) greet(conn net.Conn, c check.MQTTConfig) error {
	s.conn, s.packets = conn, bufio.NewReader(conn)
	flags, version := byte(0x02), byte(4) // a clean session
	if s.five {
		version = 5
	}
	if c.Username != "" {
		flags |= 0x80
	}
	if c.Password != "" {
		flags |= 0x40
	}
	body := append(mqttText(nil, "MQTT"), version, flags, 0, 0) // nothing is kept alive: a run is short
	body = s.properties(body)
	body = mqttText(body, cmp.Or(c.ClientID, "perigee-"+rand.Text()[:12]))
	if c.Username != "" {
		body = mqttText(body, c.Username)
	}
	if c.Password != "" {
		body = mqttText(body, c.Password)
	}
	if err := s.send(mqttConnect, body); err != nil {
		return err
	}
	kind, answer, err := s.receive()
	if err != nil {
		return err
	}
	if kind != mqttConnected || len(answer) < 2 {
		return errNotMQTT
	}
	if code := answer[1]; code != 0 {
		return fmt.Errorf("the broker refused the connection: %s", mqttReason(code))
	}
	return nil
}

// mqttReason is a broker's reason in words, of both versions.
func mqttReason(code byte) string {
	switch code {
	case 1, 0x84:
		return "it does not speak this version"
	case 2, 0x85:
		return "it does not accept the client id"
	case 3, 0x88, 0x89:
		return "it is not available"
	case 4, 0x86:
		return "wrong user name or password"
	case 5, 0x87:
		return "not authorized"
	case 0x8a:
		return "banned"
	}
	return fmt.Sprintf("reason 0x%02x", code)
}

func mqttText(body []byte, text string) []byte {
	text = text[:min(len(text), 0xffff)]
	return append(binary.BigEndian.AppendUint16(body, uint16(len(text))), text...)
}

// properties are those of version 5, of which we send none.
func (s *mqttSession) properties(body []byte) []byte {
	if s.five {
		return append(body, 0)
	}
	return body
}

func (s *mqttSession) send(kind byte, body []byte) error {
	packet := binary.AppendUvarint([]byte{kind}, uint64(len(body)))
	_, err := s.conn.Write(append(packet, body...))
	return err
}

// receive reads one packet. The beginning of a long one is kept.
func (s *mqttSession) receive() (kind byte, body []byte, err error) {
	if kind, err = s.packets.ReadByte(); err != nil {
		return 0, nil, err
	}
	n := int64(0)
	for i := range 5 {
		b, err := s.packets.ReadByte()
		if err != nil {
			return 0, nil, err
		}
		if i == 4 {
			return 0, nil, errNotMQTT
		}
		n |= int64(b&0x7f) << (7 * i)
		if b&0x80 == 0 {
			break
		}
	}
	if body, err = io.ReadAll(io.LimitReader(s.packets, min(n, 2*maxText))); err != nil {
		return 0, nil, err
	}
	_, err = io.CopyN(io.Discard, s.packets, n-int64(len(body)))
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return kind, body, err
}

func (s *mqttSession) collect(ctx context.Context, id string, raw json.RawMessage) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == check.MQTTMessage {
		config, err := configure(s.run, raw, check.Decode[check.MQTTMessageConfig])
		if err != nil {
			return nil, err
		}
		return s.next(ctx, config)
	}
	config, err := configure(s.run, raw, check.Decode[check.MQTTRoundTripConfig])
	if err != nil {
		return nil, err
	}
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	defer during(ctx, s.conn)()
	result, err := s.roundTrip(config.Topic)
	return result, explain(ctx, err, "waiting for the message")
}

// roundTrip publishes a message that nobody else sends and waits for it.
func (s *mqttSession) roundTrip(topic string) (*check.MQTTRoundTripResult, error) {
	result := &check.MQTTRoundTripResult{}
	if err := s.subscribe(topic); err != nil {
		return result, err
	}
	text, start := rand.Text(), time.Now()
	if err := s.send(mqttPublish, append(s.properties(mqttText(nil, topic)), text...)); err != nil {
		return result, err
	}
	for {
		m, err := s.message()
		if err != nil {
			return result, err
		}
		if m.Payload == text {
			result.ResponseTimeMs, result.Success = precise(time.Since(start)), true
			return result, nil
		}
	}
}

// next waits for one message. That none comes is for assertions to judge.
func (s *mqttSession) next(ctx context.Context, c check.MQTTMessageConfig) (*check.MQTTMessageResult, error) {
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	stop := during(ctx, s.conn)
	start := time.Now()
	err := s.subscribe(c.Topic)
	stop()
	if err != nil {
		return nil, explain(ctx, err, "subscribing")
	}
	patient, enough := context.WithTimeout(ctx, timeout(c.Timeout))
	defer enough()
	defer during(patient, s.conn)()
	m, err := s.message()
	if err != nil && ended(patient, err) && ctx.Err() == nil {
		return &check.MQTTMessageResult{ResponseTimeMs: precise(time.Since(start))}, nil
	}
	if err != nil {
		return nil, explain(ctx, err, "waiting for a message")
	}
	m.ResponseTimeMs = precise(time.Since(start))
	return m, nil
}

// subscribe asks for the messages of a topic, each sent at most once.
func (s *mqttSession) subscribe(topic string) error {
	s.packet++
	body := s.properties(binary.BigEndian.AppendUint16(nil, s.packet))
	if err := s.send(mqttSubscribe, append(mqttText(body, topic), 0)); err != nil {
		return err
	}
	for {
		kind, answer, err := s.receive()
		switch {
		case err != nil:
			return err
		case kind == mqttSubscribed && len(answer) > 2:
			if code := answer[len(answer)-1]; code >= 0x80 {
				return fmt.Errorf("the broker refused the subscription: %s", mqttReason(code))
			}
			return nil
		case kind&0xf0 != mqttPublish: // of an earlier subscription
			return s.unexpected(kind, answer)
		}
	}
}

// unexpected is what a packet out of turn means.
func (s *mqttSession) unexpected(kind byte, body []byte) error {
	if kind == mqttDisconnect && len(body) > 0 {
		return fmt.Errorf("the broker ended the connection: %s", mqttReason(body[0]))
	}
	return errNotMQTT
}

// message reads the next message.
func (s *mqttSession) message() (*check.MQTTMessageResult, error) {
	for {
		kind, body, err := s.receive()
		if err != nil {
			return nil, err
		}
		if kind == mqttSubscribed {
			continue
		}
		if kind&0xf0 != mqttPublish {
			return nil, s.unexpected(kind, body)
		}
		topic, rest, ok := mqttCut(body)
		if ok && s.five {
			n, size := binary.Uvarint(rest)
			if ok = size > 0 && n <= uint64(len(rest)-size); ok {
				rest = rest[size+int(n):]
			}
		}
		if !ok {
			return nil, errNotMQTT
		}
		return &check.MQTTMessageResult{HasMessage: true, Topic: s.run.keep(topic), Payload: s.run.keep(string(rest)), Retained: kind&1 != 0}, nil
	}
}

// mqttCut takes a text off the beginning of a body.
func mqttCut(body []byte) (text string, rest []byte, ok bool) {
	if len(body) < 2 {
		return "", nil, false
	}
	n := int(binary.BigEndian.Uint16(body))
	if len(body) < 2+n {
		return "", nil, false
	}
	return string(body[2 : 2+n]), body[2+n:], true
}

// close tells the broker that this is no accident, so that it logs none.
func (s *mqttSession) close() {
	_ = s.conn.SetDeadline(time.Now().Add(time.Second))
	_ = s.send(mqttDisconnect, nil) // a courtesy
	s.conn.Close()
}
