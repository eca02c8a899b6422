package probe

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/perigee-monitoring/perigee/check"
)

// grpcSession is one connection. A question of the health checking protocol is one
// request of HTTP/2 with a message of one field, so net/http asks it: the library
// would bring resolvers, balancers and reconnecting, which a check must not have.
type grpcSession struct {
	plain
	run    run
	limit  time.Duration
	config check.GRPCConfig
	base   string
	conn   *http.ClientConn
}

func init() { offers[check.GRPC] = offer{connect: (*Prober).connectGRPC} }

func (p *Prober) connectGRPC(ctx context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.GRPCConfig])
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := p.dialer(nil).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return bound(conn), nil
		},
		TLSClientConfig:        p.trust(config.Host, config.RejectUnauthorized),
		Protocols:              &http.Protocols{},
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true,
	}
	scheme := "http"
	if config.UseTLS {
		scheme = "https"
	}
	transport.Protocols.SetHTTP2(config.UseTLS)
	transport.Protocols.SetUnencryptedHTTP2(!config.UseTLS)
	s := &grpcSession{plain: plain{&phases{}}, run: r, limit: timeout(config.Timeout), config: config}
	address := net.JoinHostPort(config.Host, strconv.Itoa(config.Port))
	s.base = scheme + "://" + address
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	if s.conn, err = transport.NewClientConn(s.phases.trace(ctx), scheme, address); err != nil {
		return nil, explain(ctx, err, s.phases.doing())
	}
	return s, nil
}

func (s *grpcSession) collect(ctx context.Context, _ string, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.GRPCHealthConfig])
	if err != nil {
		return nil, err
	}
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	start := time.Now()
	status, err := s.ask(ctx, cmp.Or(config.Service, s.config.Service))
	result := &check.GRPCHealthResult{Status: status, Serving: status == "SERVING", ResponseTimeMs: precise(time.Since(start))}
	if err != nil {
		return result, explain(ctx, err, "waiting for the answer")
	}
	if !result.Serving {
		return result, fmt.Errorf("the server says that it is %s", status)
	}
	return result, nil
}

// ask is one call of grpc.health.v1.Health/Check.
func (s *grpcSession) ask(ctx context.Context, service string) (string, error) {
	question := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), service)
	if service == "" {
		question = nil
	}
	frame := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(question))), question...)
	target, err := url.Parse(s.base + "/grpc.health.v1.Health/Check")
	if err != nil {
		return "UNKNOWN", fmt.Errorf("the request cannot be made: %w", describe(err))
	}
	request := (&http.Request{
		Method: http.MethodPost, URL: target, Host: target.Host, Body: io.NopCloser(bytes.NewReader(frame)), ContentLength: int64(len(frame)),
		Header: http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {"grpc-go-perigee"}},
	}).WithContext(ctx)
	response, err := s.conn.RoundTrip(request)
	if err != nil {
		return "UNKNOWN", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxText))
	if err != nil {
		return "UNKNOWN", err
	}
	if response.StatusCode != http.StatusOK {
		return "UNKNOWN", fmt.Errorf("the other side is no server of gRPC: %w", statusError{response.StatusCode, ""})
	}
	code := cmp.Or(response.Trailer.Get("Grpc-Status"), response.Header.Get("Grpc-Status"))
	words := cut(cmp.Or(response.Trailer.Get("Grpc-Message"), response.Header.Get("Grpc-Message")), 300)
	if plain, err := url.PathUnescape(words); err == nil {
		words = plain
	}
	switch code {
	case "0":
		return servingStatus(text)
	case "5":
		return "SERVICE_UNKNOWN", fmt.Errorf("the server does not know the service: %s", words)
	case "12":
		return "UNKNOWN", errors.New("the server does not implement the health checking protocol of gRPC")
	case "":
		return "UNKNOWN", errors.New("the other side is no server of gRPC: there is no grpc-status")
	}
	return "UNKNOWN", fmt.Errorf("the server answered with gRPC's status %s: %s", cut(code, 20), words)
}

// servingStatus reads the one field of the answer.
func servingStatus(frame []byte) (string, error) {
	odd := errors.New("the answer is not that of the health checking protocol")
	if len(frame) < 5 || frame[0] != 0 || int(binary.BigEndian.Uint32(frame[1:])) != len(frame)-5 {
		return "UNKNOWN", odd
	}
	for message := frame[5:]; len(message) > 0; {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return "UNKNOWN", odd
		}
		message = message[n:]
		if number == 1 && kind == protowire.VarintType {
			status, n := protowire.ConsumeVarint(message)
			names := []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}
			if n < 0 || status >= uint64(len(names)) {
				return "UNKNOWN", odd
			}
			return names[status], nil
		}
		if n = protowire.ConsumeFieldValue(number, kind, message); n < 0 {
			return "UNKNOWN", odd
		}
		message = message[n:]
	}
	return "UNKNOWN", nil
}

func (s *grpcSession) close() { s.conn.Close() }
