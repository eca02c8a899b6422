package automation

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// hookSkew is how far the time of a signature may be off, so that a call that somebody
// has overheard is of no use later.
const hookSkew = 5 * time.Minute

// Secret gives the value of a secret by its name.
type Secret func(ctx context.Context, name string) (string, error)

// Call is a webhook that came in.
type Call struct {
	Hook string
	// Timestamp is in seconds since 1970, and Signature "sha256=" with the HMAC-SHA256, in
	// hex, of the timestamp, a dot and the body.
	Timestamp, Signature string
	// ID makes a call that is repeated one; "" takes the signature for it.
	ID   string
	Body []byte
}

// Hook makes a call that is signed rightly an event, which the hook's automations decide.
// One that is repeated within a day is no second event. What is wrong with a call is not
// told to whoever cannot sign. Faults: Invalid, Unauthenticated.
func (s *Service) Hook(ctx context.Context, secret Secret, call Call) error {
	if len(call.Body) > maxPayload {
		return fault.New(fault.Invalid, "the body must be at most %d KiB", maxPayload>>10)
	}
	refused := fault.New(fault.Unauthenticated, "there is no such hook, or the call is not signed with its secret")
	now, err := s.store.Now(ctx)
	if err != nil {
		return err
	}
	stamp, err := strconv.ParseInt(call.Timestamp, 10, 64)
	if err != nil || now.Sub(time.Unix(stamp, 0)).Abs() > hookSkew {
		return refused
	}
	names, err := s.hookSecrets(ctx, call.Hook)
	if err != nil {
		return err
	}
	signed := false
	for _, name := range names {
		key, err := secret(ctx, name)
		if err != nil || key == "" {
			continue // who holds another secret of the hook may be right all the same
		}
		signed = signed || hmac.Equal([]byte(call.Signature), []byte(Sign(key, call.Timestamp, call.Body)))
	}
	if !signed {
		return refused
	}
	payload := json.RawMessage(call.Body)
	if len(payload) == 0 {
		payload = json.RawMessage("null")
	}
	if !json.Valid(payload) {
		return fault.New(fault.Invalid, "the body must be JSON")
	}
	id := call.ID
	if id == "" {
		id = call.Signature
	}
	event := entity.Event{
		Type: EventWebhook, Kind: "hook", EntityID: call.Hook, ChangeID: uuid.NewSHA1(namespace, []byte(call.Hook+"/"+id)).String(),
		Changed: []string{}, Prev: json.RawMessage("null"), Next: json.RawMessage("null"), Payload: payload,
		Actor: entity.Actor{Type: "application", ID: "hook/" + call.Hook, Name: call.Hook}, At: now,
	}
	err = entity.InTx(ctx, s.recorder, func(tx Tx) error {
		if first, err := tx.AddAutomationCall(ctx, call.Hook, event.ChangeID); err != nil || !first {
			return err
		}
		return tx.AppendEvents(ctx, []entity.Event{event})
	})
	if err == nil {
		s.recorder.Ring(entity.TopicEvents)
	}
	return err
}

// Sign is the signature of a call.
func Sign(key, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// hookSecrets names the secrets of the enabled triggers of a hook.
func (s *Service) hookSecrets(ctx context.Context, hook string) ([]string, error) {
	var names []string
	p := fleet.Page{Limit: 1000}
	for {
		all, next, err := s.store.Automations(ctx, p)
		if err != nil {
			return nil, err
		}
		for _, a := range all {
			for _, t := range a.Definition.Triggers {
				var c WebhookConfig
				if a.Enabled && t.Event == EventWebhook && json.Unmarshal(t.Config, &c) == nil && c.Hook == hook && c.Secret != "" {
					names = append(names, c.Secret)
				}
			}
		}
		if next == "" {
			return names, nil
		}
		p.Cursor = next
	}
}
