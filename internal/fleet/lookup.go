package fleet

import (
	"context"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// readBatch bounds what one question to the database asks for.
const readBatch = 200

// When a core comes back, its whole fleet signs in within seconds. What each
// handshake has to read is gathered with what the others read at that moment, as
// edges are; a satellite that comes alone waits for nobody (spec M27).

// lookup is one wish for a credential.
type lookup struct {
	id    string
	cred  Credential
	known bool
}

func (f *Fleet) credential(ctx context.Context, id string) (Credential, bool, error) {
	l := &lookup{id: id}
	if err := f.lookups.Do(ctx, l); err != nil {
		return Credential{}, false, err
	}
	return l.cred, l.known, nil
}

func (f *Fleet) readCredentials(ctx context.Context, wishes []*lookup) error {
	ids := make([]string, len(wishes))
	for i, l := range wishes {
		ids[i] = l.id
	}
	found, err := f.store.Credentials(ctx, ids)
	if err != nil {
		return err
	}
	for _, l := range wishes {
		l.cred, l.known = found[l.id]
	}
	return nil
}

// desiredLookup is one wish for a desired set.
type desiredLookup struct {
	id    string
	set   Desired
	known bool
}

// Desired is what the satellite should run. NotFound when there is no such satellite.
func (f *Fleet) Desired(ctx context.Context, satelliteID string) (Desired, error) {
	l := &desiredLookup{id: satelliteID}
	if err := f.desired.Do(ctx, l); err != nil {
		return Desired{}, err
	}
	if !l.known {
		return Desired{}, fault.New(fault.NotFound, "there is no satellite %s", satelliteID)
	}
	return l.set, nil
}

func (f *Fleet) readDesired(ctx context.Context, wishes []*desiredLookup) error {
	ids := make([]string, len(wishes))
	for i, l := range wishes {
		ids[i] = l.id
	}
	found, err := f.store.DesiredSets(ctx, ids)
	if err != nil {
		return err
	}
	for _, l := range wishes {
		l.set, l.known = found[l.id]
	}
	return nil
}
