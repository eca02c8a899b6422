package secret

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/redact"
	"github.com/perigee-monitoring/perigee/protocol"
)

// Trial is a check that is tried and not saved, on its way to a satellite. It may have
// the secrets that it refers to by name, as a check that is saved may; those that are
// written out in it; and, when it is an edit of a saved check, the credentials that are
// kept for that check, in the places where they stand. It never has those of another.
type Trial struct {
	// Assignment has a marker in place of each credential. Its ConfigID is the trial's own.
	Assignment *protocol.Assignment `json:"assignment"`
	// Owner is the saved check whose credentials markers stand for; "" for none.
	Owner string `json:"owner,omitempty"`
	// Credentials are those that were written out, by name.
	Credentials map[string]string `json:"credentials,omitempty"`
}

// Borrow is Conceal for a check that is not saved: the spec with markers in their places,
// the credentials that were written out, by name, and what is wrong with any of them.
// Owner is the saved check that it is an edit of, "" for none.
func (s *Service) Borrow(ctx context.Context, trialID, owner string, spec check.Spec) (check.Spec, map[string]string, []fault.Field, error) {
	var wrong []fault.Field
	written := map[string]string{}
	markers := map[int]map[string]string{}
	t := &Trial{Assignment: &protocol.Assignment{ConfigID: trialID}, Owner: owner, Credentials: written}
	wanted := credentials(trialID, spec)
	var kept []string
	for _, c := range wanted {
		if c.marker() && owner != "" {
			kept = append(kept, t.stored(c.name))
		}
	}
	records, err := s.Store.SecretsNamed(ctx, kept)
	if err != nil {
		return spec, nil, nil, err
	}
	for _, c := range wanted {
		if _, had := records[t.stored(c.name)]; c.marker() && had {
			continue
		}
		switch {
		case c.marker():
			wrong = append(wrong, fault.Field{Path: c.at, Message: "stands for a credential of another check; write the credential itself, refer to a secret as ${{ secrets.NAME }}, or say which saved check this is an edit of"})
		case len(c.text) > MaxValue || !utf8.ValidString(c.text) || strings.ContainsRune(c.text, 0):
			wrong = append(wrong, fault.Field{Path: c.at, Message: fmt.Sprintf("must be UTF-8 text without NUL of at most %d bytes", MaxValue)})
		default:
			written[c.name] = c.text
			mark(markers, c, Marker)
		}
	}
	after, err := marked(spec, markers)
	return after, written, wrong, err
}

// stored is the name under which a credential of the trial's is kept for its owner.
func (t *Trial) stored(name string) string {
	if t.Owner == "" {
		return name
	}
	if rest, own := strings.CutPrefix(name, ownPrefix(t.Assignment.ConfigID)); own {
		return ownPrefix(t.Owner) + rest
	}
	return name
}

// kept are the names of what is not written out in the trial.
func (t *Trial) kept(names []string) []string {
	var all []string
	for _, n := range names {
		if _, written := t.Credentials[n]; !written {
			all = append(all, t.stored(n))
		}
	}
	return all
}

// resolveFor is resolve for a trial; nil is for what is assigned.
func (s *Service) resolveFor(ctx context.Context, t *Trial, names []string) (values map[string]string, versions []string, err error) {
	if t == nil {
		return s.resolve(ctx, names)
	}
	found, versions, err := s.resolve(ctx, t.kept(names))
	if err != nil {
		return nil, versions, err
	}
	values = make(map[string]string, len(names))
	for _, n := range names {
		if text, written := t.Credentials[n]; written {
			values[n] = text
			continue
		}
		values[n] = found[t.stored(n)]
	}
	return values, versions, nil
}

// TrialRedactor is Redactor for a trial.
func (s *Service) TrialRedactor(ctx context.Context, t *Trial) (*redact.Redactor, error) {
	found, err := s.open(ctx, t.kept(declared(t.Assignment)))
	if err != nil {
		return nil, fmt.Errorf("opening the values to be taken out: %w", err)
	}
	values := slices.Collect(maps.Values(t.Credentials))
	for _, v := range found {
		values = append(append(values, v.text), v.former...)
	}
	return redact.New(values...), nil
}

// Seal seals what waits in the database for a moment only, such as a trial. It opens
// under the same id alone, and no more once the keys were rotated.
//
// Fault: Unavailable when the root key does not open the keyset.
func (s *Service) Seal(ctx context.Context, id string, plain []byte) (string, error) {
	k, err := s.present(ctx)
	if err != nil {
		return "", err
	}
	text, err := k.sealing.Encrypt(plain, boundMoment(id))
	if err != nil {
		return "", fmt.Errorf("sealing: %w", err)
	}
	return base64.StdEncoding.EncodeToString(text), nil
}

// Open opens what Seal gave.
func (s *Service) Open(ctx context.Context, id, sealed string) ([]byte, error) {
	k, err := s.present(ctx)
	if err != nil {
		return nil, err
	}
	text, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		return nil, errors.New("what was sealed is not base64")
	}
	plain, err := k.sealing.Decrypt(text, boundMoment(id))
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "it was sealed with keys that are gone; try again")
	}
	return plain, nil
}

// boundMoment is bound for what Seal seals.
func boundMoment(id string) []byte { return fmt.Appendf(nil, "moment/v1|%s", id) }

// present gives the keys as they are now, and makes them when there are none yet.
func (s *Service) present(ctx context.Context) (*keys, error) {
	wrapped, err := s.Store.SecretKeyset(ctx)
	if err != nil {
		return nil, err
	}
	if wrapped != "" {
		return s.keys.unwrap(wrapped)
	}
	var k *keys
	err = entity.InTx(ctx, s.Recorder, func(tx Tx) error {
		if err := tx.LockSecrets(ctx); err != nil {
			return err
		}
		var err error
		k, err = s.keys.forWriting(ctx, tx)
		return err
	})
	return k, err
}
