package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/redact"
)

// Message is what people are told.
type Message struct {
	// Key makes it one message however often it is tried.
	Key   string `json:"-"`
	Title string `json:"title"`
	Body  string `json:"body"`
	// Severity is info, warning or critical.
	Severity string `json:"severity"`
	// Link is where more is seen; "" for nowhere.
	Link string `json:"link,omitempty"`
}

// TopicDeliveries is rung when something is being sent, or was.
const TopicDeliveries = "deliveries"

// Delivery is a message and what became of it at a channel.
type Delivery struct {
	Key       string    `json:"key"`
	ChannelID string    `json:"channelId"`
	State     State     `json:"state" enum:"sending,delivered,failed"`
	Title     string    `json:"title"`
	Attempts  int       `json:"attempts"`
	Error     string    `json:"error"`
	At        time.Time `json:"at"`
}

// State is how far a delivery is.
type State string

const (
	// Sending was written before it was sent. One that stays so was cut short, and may or
	// may not have arrived.
	Sending   State = "sending"
	Delivered State = "delivered"
	Failed    State = "failed"
)

// Store is what the service reads outside of transactions.
type Store interface {
	Channel(ctx context.Context, id string) (Channel, error)
	ChannelByName(ctx context.Context, name string) (Channel, error)
	Channels(ctx context.Context) ([]Channel, error) // by name
	// Deliveries lists the newest of a channel.
	Deliveries(ctx context.Context, channelID string, limit int) ([]Delivery, error)
}

// Tx is what the service does inside a transaction.
type Tx interface {
	entity.Tx
	LockChannels(ctx context.Context) error
	ChannelForUpdate(ctx context.Context, id string) (Channel, error)
	CountChannels(ctx context.Context) (int, error)
	PutChannel(ctx context.Context, c Channel) error
	DeleteChannel(ctx context.Context, id string) error
	// DeliveryForUpdate is NotFound for none.
	DeliveryForUpdate(ctx context.Context, channelID, key string) (Delivery, error)
	PutDelivery(ctx context.Context, d Delivery) error
}

// Secrets puts values into texts that refer to them.
type Secrets interface {
	Fill(ctx context.Context, texts ...string) ([]string, *redact.Redactor, error)
}

// sendTimeout bounds one delivery.
const sendTimeout = 20 * time.Second

// Service keeps channels and sends by them.
type Service struct {
	store    Store
	recorder *entity.Recorder
	secrets  Secrets
	http     *http.Client
	log      *slog.Logger
}

// New makes the service.
func New(store Store, recorder *entity.Recorder, secrets Secrets, log *slog.Logger) *Service {
	return &Service{store: store, recorder: recorder, secrets: secrets, http: NewClient(), log: log}
}

// NewClient makes the client by which the core sends to addresses that people gave: it
// follows no redirection, and waits for nobody for long.
func NewClient() *http.Client {
	return &http.Client{
		Timeout:       sendTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:       http.ProxyFromEnvironment,
			DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, TLSHandshakeTimeout: 10 * time.Second,
			ResponseHeaderTimeout: sendTimeout, MaxIdleConns: 20, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

// Get gives a channel by id or name. Fault: NotFound.
func (s *Service) Get(ctx context.Context, ref string) (Channel, error) {
	if uuid.Validate(ref) == nil {
		c, err := s.store.Channel(ctx, ref)
		if !fault.Is(err, fault.NotFound) {
			return c, err
		}
	}
	return s.store.ChannelByName(ctx, ref)
}

// List lists by name.
func (s *Service) List(ctx context.Context) ([]Channel, error) { return s.store.Channels(ctx) }

// Deliveries lists the newest of a channel, by id or name.
func (s *Service) Deliveries(ctx context.Context, ref string, limit int) ([]Delivery, error) {
	c, err := s.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	return s.store.Deliveries(ctx, c.ID, limit)
}

// Create makes a channel. Faults: Invalid, Conflict.
func (s *Service) Create(ctx context.Context, actor entity.Actor, in Input) (Channel, error) {
	c := Channel{ID: uuid.Must(uuid.NewV7()).String()}
	return s.put(ctx, actor, in, func(tx Tx) (Channel, error) {
		n, err := tx.CountChannels(ctx)
		if err == nil && n >= MaxChannels {
			err = fault.New(fault.Conflict, "there are %d channels, and cannot be more", n)
		}
		return c, err
	})
}

// Update replaces a channel, by id or name. Faults: Invalid, NotFound, Conflict.
func (s *Service) Update(ctx context.Context, actor entity.Actor, ref string, in Input) (Channel, error) {
	known, err := s.Get(ctx, ref)
	if err != nil {
		return known, err
	}
	return s.put(ctx, actor, in, func(tx Tx) (Channel, error) { return tx.ChannelForUpdate(ctx, known.ID) })
}

func (s *Service) put(ctx context.Context, actor entity.Actor, in Input, find func(Tx) (Channel, error)) (c Channel, err error) {
	if err := in.validate(); err != nil {
		return c, err
	}
	if err := s.checkTarget(ctx, &in); err != nil {
		return c, err
	}
	err = entity.Record(ctx, s.recorder, func(tx Tx) ([]entity.Change, error) {
		if err := tx.LockChannels(ctx); err != nil {
			return nil, err
		}
		if c, err = find(tx); err != nil {
			return nil, err
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return nil, err
		}
		var prev entity.State
		if c.CreatedAt.IsZero() {
			c.CreatedAt = now
		} else {
			prev = c.state()
		}
		c.Name, c.Description, c.Type, c.Config = in.Name, in.Description, in.Type, in.Config
		c.Enabled, c.UpdatedAt = in.Enabled == nil || *in.Enabled, now
		return []entity.Change{{Kind: Kind, ID: c.ID, Prev: prev, Next: c.state(), Actor: actor}}, tx.PutChannel(ctx, c)
	})
	return c, err
}

// Delete removes a channel, by id or name. Fault: NotFound.
func (s *Service) Delete(ctx context.Context, actor entity.Actor, ref string) error {
	known, err := s.Get(ctx, ref)
	if err != nil {
		return err
	}
	return entity.Record(ctx, s.recorder, func(tx Tx) ([]entity.Change, error) {
		if err := tx.LockChannels(ctx); err != nil {
			return nil, err
		}
		c, err := tx.ChannelForUpdate(ctx, known.ID)
		if err != nil {
			return nil, err
		}
		return []entity.Change{{Kind: Kind, ID: c.ID, Prev: c.state(), Actor: actor}}, tx.DeleteChannel(ctx, c.ID)
	})
}

// Test sends a message that says it is a test, also by a channel that is disabled, and
// answers with what became of it.
func (s *Service) Test(ctx context.Context, actor entity.Actor, ref string) (Delivery, error) {
	c, err := s.Get(ctx, ref)
	if err != nil {
		return Delivery{}, err
	}
	key := "test/" + uuid.Must(uuid.NewV7()).String()
	who := actor.Name
	if who == "" {
		who = actor.ID
	}
	d, err := s.deliver(ctx, &c, Message{Key: key, Title: "Test of channel " + c.Name, Body: "This is a test that " + who + " asked for. Nothing is wrong.", Severity: "info"})
	if d.Key == "" { // it was not even written down
		return d, err
	}
	return d, nil
}

// Send sends a message by a channel, by id or name, unless that took it already. The
// error is Unavailable when another attempt may help. Faults besides: NotFound, Conflict
// for a channel that is disabled.
func (s *Service) Send(ctx context.Context, ref string, m Message) (Delivery, error) {
	c, err := s.Get(ctx, ref)
	if err != nil {
		return Delivery{}, err
	}
	if !c.Enabled {
		return Delivery{}, fault.New(fault.Conflict, "channel %q is disabled; enable it with: perigee channel enable %s", c.Name, c.Name)
	}
	return s.deliver(ctx, &c, m)
}

func (s *Service) deliver(ctx context.Context, c *Channel, m Message) (Delivery, error) {
	d, done, err := s.begin(ctx, c, m)
	if err != nil || done {
		return d, err
	}
	s.recorder.Ring(TopicDeliveries)
	defer s.recorder.Ring(TopicDeliveries)
	sending, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	failure := s.send(sending, c, m)
	// What became of it is written down even if the caller gave up meanwhile.
	ending, stop := context.WithTimeout(context.WithoutCancel(ctx), sendTimeout)
	defer stop()
	if err := s.end(ending, c.ID, &d, failure); err != nil {
		return d, errors.Join(failure, fmt.Errorf("writing down a delivery: %w", err))
	}
	if failure != nil {
		s.log.Warn("a message was not delivered", "channel", c.Name, "key", m.Key, "attempt", d.Attempts, "error", failure)
		return d, fault.Wrap(fault.Unavailable, failure, "channel %q did not take the message: %s", c.Name, d.Error)
	}
	return d, nil
}

// begin writes the delivery down before anything is sent; done when the channel took
// the message already.
func (s *Service) begin(ctx context.Context, c *Channel, m Message) (d Delivery, done bool, err error) {
	err = entity.InTx(ctx, s.recorder, func(tx Tx) error {
		if d, err = tx.DeliveryForUpdate(ctx, c.ID, m.Key); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		if done = d.State == Delivered; done {
			return nil
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		d = Delivery{Key: m.Key, ChannelID: c.ID, State: Sending, Title: m.Title, Attempts: d.Attempts + 1, At: now}
		return tx.PutDelivery(ctx, d)
	})
	return d, done, err
}

func (s *Service) end(ctx context.Context, channelID string, d *Delivery, failure error) error {
	return entity.Record(ctx, s.recorder, func(tx Tx) ([]entity.Change, error) {
		c, err := tx.ChannelForUpdate(ctx, channelID)
		if err != nil {
			return nil, err
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return nil, err
		}
		prev := c.state()
		d.At = now
		if failure == nil {
			d.State, d.Error = Delivered, ""
			c.DeliveredAt, c.FailingSince, c.LastError = &now, nil, ""
		} else {
			d.State, d.Error = Failed, shorten(failure.Error())
			c.LastError = d.Error
			if c.FailingSince == nil {
				c.FailingSince = &now
			}
		}
		if err := tx.PutDelivery(ctx, *d); err != nil {
			return nil, err
		}
		return []entity.Change{{Kind: Kind, ID: c.ID, Prev: prev, Next: c.state()}}, tx.PutChannel(ctx, c)
	})
}

// maxError bounds what is kept of a failure.
const maxError = 500

func shorten(text string) string {
	if len(text) <= maxError {
		return text
	}
	return text[:maxError] + "…"
}
