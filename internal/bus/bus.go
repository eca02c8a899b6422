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

// Bus is a bell for every topic, in this process and in those of the other cores.
type Bus interface {
	// Ring wakes the subscribers of topic. It never blocks.
	Ring(topic string)
	// Subscribe returns a channel on which any of the topics rings, and the function
	// that ends it.
	Subscribe(topics ...string) (<-chan struct{}, func())
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
	Lost       int64 `json:"lost"`     // messages that could not be sent
	Coalesced  int64 `json:"coalesced"`
	Reconnects int64 `json:"reconnects"`
}

const (
	// coalesce is how long rings are gathered before they are sent as one message:
	// short for people, long for a burst of commits.
	coalesce = 20 * time.Millisecond
	// sendTimeout bounds the sending of one message.
	sendTimeout = 5 * time.Second
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
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Status is how it goes.
func (s *shared) Status() Status {
	return Status{
		Kind: s.kind, Connected: s.connected.Load(), Sent: s.sent.Load(), Received: s.received.Load(),
		Lost: s.lost.Load(), Coalesced: s.coalesced.Load(), Reconnects: s.reconnects.Load(),
	}
}

// forward sends what was rung here until ctx ends. A message that cannot be sent is
// lost: the others will look by themselves.
func (s *shared) forward(ctx context.Context, send func(ctx context.Context, payload []byte) error) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(coalesce):
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
		if err != nil {
			s.lost.Add(1)
			if ctx.Err() == nil {
				s.log.Warn("the other cores could not be told to look; they will by themselves", "topics", topics, "error", err)
			}
			continue
		}
		s.sent.Add(1)
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

// joined notes that rings of the others arrive from now on. What rang before was
// missed, so everything rings.
func (s *shared) joined(again bool) {
	if again {
		s.reconnects.Add(1)
		s.log.Info("the bells of the other cores are heard again")
	}
	s.connected.Store(true)
	s.ringAll()
}
