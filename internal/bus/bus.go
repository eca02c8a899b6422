// Package bus rings bells. A bell says only "look at this topic now"; the table
// is the truth. Rings may be lost, doubled or late, so every consumer also looks
// by itself from time to time.
//
// [Local] is for one core. Several cores on one database ring each other through
// [Postgres], which needs nothing but that database, or through [NATS] where
// notifications cannot pass (a pooler in between) or the fleet is very large.
package bus

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Topic is rung, here alone, when the other processes are not heard any more. When they
// are again, everything rings.
const Topic = "bus"

// Bus is a bell for every topic, in this process and in those of the other cores.
type Bus interface {
	// Ring wakes the subscribers of topic. It never blocks.
	Ring(topic string)
	// Subscribe returns a channel on which any of the topics rings, and the function
	// that ends it.
	Subscribe(topics ...string) (<-chan struct{}, func())
	// Listen hears topics of which it matters which one rang.
	Listen(topics ...string) *Listener
	// Run carries rings between processes until ctx ends.
	Run(ctx context.Context) error
	// Status is how it goes.
	Status() Status
}

// Status says how a bus does.
type Status struct {
	Kind string `json:"kind"` // local, postgres, nats
	// Connected: rings of other cores arrive. While not, the slow polls carry.
	Connected  bool  `json:"connected"`
	Sent       int64 `json:"sent"`     // messages
	Received   int64 `json:"received"` // messages of other cores
	Lost       int64 `json:"lost"`     // messages that could not be sent, until a later one was
	Coalesced  int64 `json:"coalesced"`
	Reconnects int64 `json:"reconnects"`
}

const (
	// coalesce is how long rings are gathered before they are sent as one message:
	// short for people, long for a burst of commits.
	coalesce = 20 * time.Millisecond
	// sendTimeout bounds the sending of one message, and resend is how long after a
	// failure it is tried again.
	sendTimeout = 5 * time.Second
	resend      = time.Second
)

// message is what travels. Names of topics are few and short: well below the 8,000
// bytes that a notification may have.
type message struct {
	From   string   `json:"from"`
	Topics []string `json:"topics"`
}

// shared is what buses between processes have in common: rings are delivered in
// this process at once, gathered for the others, and told apart by their sender.
type shared struct {
	Local
	kind string
	id   string // of this process
	log  *slog.Logger

	wake    chan struct{}
	pendMu  sync.Mutex
	pending map[string]struct{} // guarded by pendMu: topics not yet sent

	connected                                   atomic.Bool
	sent, received, lost, coalesced, reconnects atomic.Int64
}

func newShared(kind string, log *slog.Logger) *shared {
	return &shared{
		kind: kind, id: uuid.NewString(), log: log.With("bus", kind),
		wake: make(chan struct{}, 1), pending: map[string]struct{}{},
	}
}

// Ring rings here now and in the other processes soon.
func (s *shared) Ring(topic string) {
	s.Local.Ring(topic)
	s.pendMu.Lock()
	if _, waits := s.pending[topic]; waits {
		s.coalesced.Add(1)
	}
	s.pending[topic] = struct{}{}
	s.pendMu.Unlock()
	ring(s.wake)
}

// Status is how it goes.
func (s *shared) Status() Status {
	return Status{
		Kind: s.kind, Connected: s.connected.Load(), Sent: s.sent.Load(), Received: s.received.Load(),
		Lost: s.lost.Load(), Coalesced: s.coalesced.Load(), Reconnects: s.reconnects.Load(),
	}
}

// forward sends what was rung here until ctx ends. What cannot be sent is sent later,
// with what is rung meanwhile.
func (s *shared) forward(ctx context.Context, send func(ctx context.Context, payload []byte) error) error {
	for failing := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		}
		if !waits(ctx, coalesce) {
			return nil
		}
		s.pendMu.Lock()
		topics := slices.Sorted(maps.Keys(s.pending))
		clear(s.pending)
		s.pendMu.Unlock()
		if len(topics) == 0 {
			continue
		}
		payload, err := json.Marshal(message{From: s.id, Topics: topics})
		if err != nil { // strings only
			return err
		}
		timed, cancel := context.WithTimeout(ctx, sendTimeout)
		err = send(timed, payload)
		cancel()
		if err == nil {
			s.sent.Add(1)
			if failing {
				failing = false
				s.log.Info("the other cores are told to look again")
			}
			continue
		}
		s.lost.Add(1)
		if !failing && ctx.Err() == nil {
			failing = true
			s.log.Warn("the other cores could not be told to look; trying again until they can", "topics", topics, "error", err, "every", resend)
		}
		if !waits(ctx, resend) {
			return nil
		}
		s.again(topics)
	}
}

// again has topics sent with the next message.
func (s *shared) again(topics []string) {
	s.pendMu.Lock()
	for _, topic := range topics {
		s.pending[topic] = struct{}{}
	}
	s.pendMu.Unlock()
	ring(s.wake)
}

// waits reports whether ctx lasted that long.
func waits(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// deliver rings what another process has sent.
func (s *shared) deliver(payload []byte) {
	var m message
	if err := json.Unmarshal(payload, &m); err != nil {
		s.log.Warn("ignored a bell that cannot be read", "bytes", len(payload))
		return
	}
	if m.From == s.id {
		return
	}
	s.received.Add(1)
	for _, topic := range m.Topics {
		s.Local.Ring(topic)
	}
}

// parted notes that rings of the others do not arrive for now.
func (s *shared) parted() {
	if s.connected.Swap(false) {
		s.Local.Ring(Topic)
	}
}

// joined notes that rings of the others arrive from now on. What rang before was
// missed, so everything rings.
func (s *shared) joined(again bool) {
	if again {
		s.reconnects.Add(1)
		s.log.Info("the bells of the other cores are heard again")
	}
	s.ringAll()
	s.connected.Store(true) // and not before: who subscribes to what is connected hears what rings from then on
}
