package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/perigee-monitoring/perigee/check"
)

// websocketSession is one open socket.
type websocketSession struct {
	plain
	run  run
	conn *websocket.Conn
}

func init() { offers[check.WebSocket] = offer{connect: (*Prober).connectWebSocket} }

func (p *Prober) connectWebSocket(ctx context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.WebSocketConfig])
	if err != nil {
		return nil, err
	}
	header := http.Header{"User-Agent": {strings.TrimSuffix("Perigee/"+p.options.Version, "/")}}
	if config.Token != "" {
		header.Set("Authorization", "Bearer "+config.Token)
	}
	for _, h := range config.Headers {
		header.Set(h.Name, h.Value)
	}
	clock := &phases{}
	dialer := websocket.Dialer{
		NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := p.dialer(nil).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return bound(conn), nil
		},
		TLSClientConfig: p.trust("", config.RejectUnauthorized), ReadBufferSize: 4096, WriteBufferSize: 4096,
	}
	if config.Subprotocol != "" {
		dialer.Subprotocols = []string{config.Subprotocol}
	}
	ctx, cancel := within(ctx, timeout(config.Timeout))
	defer cancel()
	conn, response, err := dialer.DialContext(clock.trace(ctx), config.URL, header)
	if err != nil && response != nil && errors.Is(err, websocket.ErrBadHandshake) {
		return nil, fmt.Errorf("the server opened no socket: %w", statusError{response.StatusCode, ""})
	}
	if err != nil {
		return nil, explain(ctx, err, clock.doing())
	}
	conn.SetReadLimit(maxRead)
	return &websocketSession{plain{clock}, r, conn}, nil
}

func (s *websocketSession) collect(ctx context.Context, _ string, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.WebSocketMessageConfig])
	if err != nil {
		return nil, err
	}
	ctx, cancel := within(ctx, timeout(config.Timeout))
	defer cancel()
	defer during(ctx, s.conn.NetConn())()
	result, start := &check.WebSocketMessageResult{Subprotocol: cut(s.conn.Subprotocol(), 200)}, time.Now()
	text, err := s.exchange(config)
	if err != nil {
		return result, explain(ctx, websocketError(err), "waiting for a message")
	}
	result.Message, result.ResponseTimeMs, result.Success = text, precise(time.Since(start)), true
	return result, nil
}

// exchange sends what is to be sent and waits for what is to come.
func (s *websocketSession) exchange(c check.WebSocketMessageConfig) (*string, error) {
	if c.Send != "" {
		if err := s.conn.WriteMessage(websocket.TextMessage, []byte(c.Send)); err != nil {
			return nil, err
		}
	}
	answered := errors.New("the ping was answered")
	if !c.Receive {
		s.conn.SetPongHandler(func(string) error { return answered })
		if err := s.conn.WriteMessage(websocket.PingMessage, nil); err != nil {
			return nil, err
		}
	}
	for {
		_, message, err := s.conn.NextReader()
		if errors.Is(err, answered) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if !c.Receive {
			continue // not asked about; the pong comes after it
		}
		text, err := io.ReadAll(io.LimitReader(message, int64(min(s.run.bodyCap, maxText))+1))
		if err != nil {
			return nil, err
		}
		kept := s.run.keep(string(text))
		return &kept, nil
	}
}

// websocketError says what a closing handshake means.
func websocketError(err error) error {
	if closed, ok := errors.AsType[*websocket.CloseError](err); ok && closed.Code != websocket.CloseAbnormalClosure {
		return fmt.Errorf("the server closed the socket: %d %s", closed.Code, cut(closed.Text, 200))
	}
	if errors.Is(err, websocket.ErrReadLimit) {
		return errFlood
	}
	return err
}

func (s *websocketSession) close() {
	message := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = s.conn.WriteControl(websocket.CloseMessage, message, time.Now().Add(time.Second)) // a courtesy
	s.conn.Close()
}
