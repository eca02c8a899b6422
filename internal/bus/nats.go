package bus

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// subject is the one subject of all cores of a fleet.
const subject = "perigee.bells"

// NATS rings through a NATS server (core publish and subscribe; nothing is stored
// there). Its client connects anew by itself.
type NATS struct {
	*shared
	url string
}

// NewNATS makes a bus on the server, nats://… or tls://…, several after commas. It
// connects in Run. Cores of one database share a server with nobody else's, or use
// an account of their own: every bell of every topic is heard by all.
func NewNATS(url string, log *slog.Logger) (*NATS, error) {
	for one := range strings.SplitSeq(url, ",") {
		if !strings.HasPrefix(one, "nats://") && !strings.HasPrefix(one, "tls://") {
			return nil, fmt.Errorf("a NATS server is named as nats://host:4222 or tls://host:4222")
		}
	}
	return &NATS{shared: newShared("nats", log), url: url}, nil
}

// Run listens and publishes until ctx ends.
func (n *NATS) Run(ctx context.Context) error {
	conn, err := nats.Connect(n.url,
		nats.Name("perigee"), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(retryMin), nats.ReconnectJitter(retryMin, retryMin), nats.Timeout(connectTimeout),
		nats.PingInterval(quiet), nats.MaxPingsOutstanding(1),
		// Rings that wait for a server to come back are late; everything rings then anyway.
		nats.ReconnectBufSize(-1),
		nats.ConnectHandler(func(*nats.Conn) { n.joined(false) }),
		nats.ReconnectHandler(func(*nats.Conn) { n.joined(true) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			n.parted()
			if err != nil {
				n.log.Warn("the bells of the other cores are not heard; trying again", "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { n.log.Warn("NATS reports an error", "error", err) }),
	)
	if err != nil {
		return fmt.Errorf("connecting to NATS: %w", err)
	}
	closed := make(chan struct{})
	conn.SetClosedHandler(func(*nats.Conn) { close(closed) })
	defer func() {
		conn.Close()
		<-closed
		n.parted()
	}()
	if _, err := conn.Subscribe(subject, func(m *nats.Msg) { n.deliver(m.Data) }); err != nil {
		return fmt.Errorf("subscribing to the bells: %w", err)
	}
	return n.forward(ctx, func(ctx context.Context, payload []byte) error {
		if !conn.IsConnected() {
			return nats.ErrConnectionReconnecting
		}
		if err := conn.Publish(subject, payload); err != nil {
			return err
		}
		flushed, cancel := context.WithTimeout(ctx, sendTimeout-time.Second)
		defer cancel()
		return conn.FlushWithContext(flushed)
	})
}
