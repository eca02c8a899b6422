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
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/perigee-monitoring/perigee/check"
)

// websocketSession is one open socket; its collectors wait for each other.
type websocketSession struct {
	plain
	run run

	mu   sync.Mutex
	conn *websocket.Conn
	late bool // an answer has not come in time, and may come

	reader sync.WaitGroup
	ended  chan struct{}
	heard  chan *string // messages, nil for the answer to a ping; closed after lost is set
	lost   error
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
	s := &websocketSession{plain: plain{clock}, run: r, conn: conn, ended: make(chan struct{}), heard: make(chan *string)}
	s.reader.Go(s.read)
	return s, nil
}

func (s *websocketSession) collect(ctx context.Context, _ string, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.WebSocketMessageConfig])
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.late {
		return nil, told{unanswered, context.DeadlineExceeded}
	}
	ctx, cancel := within(ctx, timeout(config.Timeout))
	defer cancel()
	deadline, _ := ctx.Deadline()
	_ = s.conn.SetWriteDeadline(deadline)
	result, start := &check.WebSocketMessageResult{Subprotocol: cut(s.conn.Subprotocol(), 200)}, time.Now()
	text, err := s.exchange(ctx, config)
	if err != nil {
		return result, explain(ctx, websocketError(err), "waiting for a message")
	}
	result.Message, result.ResponseTimeMs, result.Success = text, precise(time.Since(start)), true
	return result, nil
}

// exchange sends what is to be sent and waits for what is to come.
func (s *websocketSession) exchange(ctx context.Context, c check.WebSocketMessageConfig) (*string, error) {
	if c.Send != "" {
		if err := s.conn.WriteMessage(websocket.TextMessage, []byte(c.Send)); err != nil {
			return nil, err
		}
	}
	if !c.Receive {
		if err := s.conn.WriteMessage(websocket.PingMessage, nil); err != nil {
			return nil, err
		}
	}
	for {
		select {
		case text, ok := <-s.heard:
			if !ok {
				return nil, s.lost
			}
			if (text == nil) != c.Receive { // else it is not asked about
				return text, nil
			}
		case <-ctx.Done():
			s.late = true
			return nil, ctx.Err()
		}
	}
}

// read hears what comes until the socket ends. The library reads no more once it was kept from
// reading on, which a ping would do: its answer is no message.
func (s *websocketSession) read() {
	defer close(s.heard)
	s.conn.SetPongHandler(func(string) error {
		s.tell(nil)
		return nil
	})
	for {
		_, message, err := s.conn.NextReader()
		var text []byte
		if err == nil {
			text, err = io.ReadAll(io.LimitReader(message, int64(min(s.run.bodyCap, maxText))+1))
		}
		if err != nil {
			s.lost = err
			return
		}
		kept := s.run.keep(string(text))
		s.tell(&kept)
	}
}

// tell waits until it is heard, or nobody listens any more.
func (s *websocketSession) tell(text *string) {
	select {
	case s.heard <- text:
	case <-s.ended:
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
	close(s.ended)
	s.conn.Close()
	s.reader.Wait()
}
