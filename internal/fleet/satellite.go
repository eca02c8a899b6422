package fleet

import (
	"context"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/protocol"
)

// Status is whether a satellite is heard. It is computed on read, never stored.
type Status string

const (
	Online  Status = "online"
	Offline Status = "offline"
)

// Edge is what last happened to a satellite's connection; "" is never connected.
type Edge string

const (
	Connected     Edge = "connected"
	Disconnected  Edge = "disconnected"
	HeartbeatLost Edge = "heartbeat_lost"
)

// Threshold bounds for Satellite.OfflineThresholdMs (spec C.1).
const (
	MinThreshold = 15 * time.Second
	MaxThreshold = 24 * time.Hour
)

// Satellite is a remote agent's record, as the API shows it. Status is filled in
// by the store from the database's clock.
type Satellite struct {
	ID                  string            `json:"id"`
	Name                string            `json:"name"`
	Region              string            `json:"region"`
	Tags                map[string]string `json:"tags"`
	Status              Status            `json:"status"`
	LastHeartbeatAt     *time.Time        `json:"lastHeartbeatAt"`
	LastConnectionEvent *Edge             `json:"lastConnectionEvent"`
	Version             *string           `json:"version"`
	CreatedAt           time.Time         `json:"createdAt"`
	// OfflineThresholdMs is the satellite's own threshold; nil means the default, 45 s.
	OfflineThresholdMs *int64 `json:"offlineThresholdMs"`
	// TokenExpiresAt is when the current token ends; nil for never. TokenLastUsedAt is
	// when it last opened a session.
	TokenExpiresAt  *time.Time `json:"tokenExpiresAt"`
	TokenLastUsedAt *time.Time `json:"tokenLastUsedAt"`
	// PreviousTokenValidUntil is the end of a rotation's overlap; nil when there is
	// none. PreviousTokenInUse: the satellite's session was opened with that token.
	PreviousTokenValidUntil *time.Time          `json:"previousTokenValidUntil"`
	PreviousTokenInUse      bool                `json:"previousTokenInUse"`
	Capabilities            []string            `json:"capabilities"`
	Inventory               *protocol.Inventory `json:"inventory"`
	// Epoch numbers its sessions; 0 is never connected.
	Epoch int64 `json:"epoch"`
	// DesiredRevision is what it should run, AppliedRevision what it reports to
	// run (ours only), AppliedErrors what it could not take in.
	DesiredRevision int64                   `json:"desiredRevision"`
	AppliedRevision *int64                  `json:"appliedRevision"`
	AppliedErrors   []protocol.AppliedError `json:"appliedErrors"`
	// Pulse is what its last heartbeat said of clock and spool (ours only).
	Pulse *protocol.Pulse `json:"pulse"`
	// Observer is how it fares itself, as far as it says (ours only); IllSince is since
	// when it has been ill, nil while it is well.
	Observer *ObserverHealth `json:"observer"`
	IllSince *time.Time      `json:"illSince"`
	// DuplicateUntil is set while it is known that two processes use its credentials;
	// until then the one that is connected stays, and others are held off.
	DuplicateUntil *time.Time `json:"duplicateUntil"`
	// Weight is its share of the seats of counted assignments in proportion to others,
	// from 1 to MaxWeight; 0 is as 1.
	Weight int64 `json:"weight"`
	// CordonedAt is since when it gets no new seats; nil when it does. Draining: those
	// that it has are moved away.
	CordonedAt *time.Time `json:"cordonedAt"`
	Draining   bool       `json:"draining"`
	// LeasedUntil is up to which slot it has been told that it may run its seats; nil
	// when it never was, as one that knows of no leases.
	LeasedUntil *time.Time `json:"leasedUntil"`
	// Seats is how many it runs, among them those that it is handing over.
	Seats int64 `json:"seats"`
}

// MaxWeight is the most that a satellite may weigh.
const MaxWeight = 1000

// Weighs is the weight as it counts.
func (s *Satellite) Weighs() int64 { return max(1, s.Weight) }

// Labels are what a selector sees: the tags, and name and region.
func (s *Satellite) Labels() map[string]string {
	labels := make(map[string]string, len(s.Tags)+2)
	for k, v := range s.Tags {
		labels[k] = v
	}
	labels["name"], labels["region"] = s.Name, s.Region
	return labels
}

// Connection is the part of a satellite's row that edges are about.
type Connection struct {
	SatelliteID     string
	Name            string
	Region          string
	Epoch           int64
	LastHeartbeatAt *time.Time
	LastEvent       Edge
	ThresholdMs     *int64
	// DuplicateUntil is as that of Satellite; it may have passed.
	DuplicateUntil *time.Time
	// Credential is the number of the token that opened the session of the epoch; 0
	// is not known. Opened says that it did so now, which is a use of the token.
	Credential int64
	Opened     bool
	// Core holds the session of the epoch, or held it; "" is not known.
	Core string
}

// Beat is a heartbeat as noted in memory, to be flushed. A beat of an older
// epoch than the row's changes nothing.
type Beat struct {
	SatelliteID string
	Epoch       int64
	// Age is how long before the flush it was heard; the row gets the database's
	// clock less Age, never an earlier time than it has.
	Age          time.Duration
	Version      string   // "" leaves the row's
	Capabilities []string // nil leaves the row's
	Pulse        *protocol.Pulse
	// Leases: it was heard itself and knows of leases, so that it is to get one.
	Leases bool
}

// Lease is up to which slot a satellite may run its seats, once it works by the
// revision. It stands in the row before the satellite gets to know of it, so that
// whoever moves a seat knows how far it may have been run (docs/adr, lease).
type Lease struct {
	SatelliteID string
	Epoch       int64
	Until       time.Time
	Revision    int64
}

// LeaseSpan is how far a lease reaches: as long as the default threshold, which is three
// heartbeats.
const LeaseSpan = protocol.OfflineThreshold

// Filter narrows a list of satellites. Zero fields do not narrow.
type Filter struct {
	Name   string
	Region string
	Status Status
	Tag    map[string]string
}

// Page asks for at most Limit items after Cursor ("" for the first page).
type Page struct {
	Cursor string
	Limit  int
}

// Observation is when the cores last looked, and since when they have without a
// gap. Deadlines do not count time before Since (design 2.7).
type Observation struct {
	Since time.Time
	At    time.Time
}

// Store is what fleet reads outside of transactions.
type Store interface {
	Satellite(ctx context.Context, id string) (Satellite, error) // NotFound
	SatelliteByName(ctx context.Context, name string) (Satellite, error)
	// Satellites lists by name; next is "" at the end.
	Satellites(ctx context.Context, f Filter, p Page) (items []Satellite, next string, err error)
	// Credentials gives how the satellites' tokens are stored, and the satellites;
	// unknown ids, also those that are no UUIDs, are left out.
	Credentials(ctx context.Context, ids []string) (map[string]Credential, error)
	// BcryptRows counts rows whose token is still stored as the original stored it.
	BcryptRows(ctx context.Context) (int, error)
	// Overdue reports whether MarkLost would flip a row: a read that spares the writer.
	Overdue(ctx context.Context) (bool, error)
	// IllToTell reports whether tellIll would have something to do: a read that spares
	// the writer. Illness is told once it has lasted for hold.
	IllToTell(ctx context.Context, hold time.Duration) (bool, error)
	// DesiredSets gives the satellites' enabled assignments, and in Grants every pair
	// they may still report for, among them pairs taken away (RemovedAt). Each set is
	// of its Revision; unknown ids are left out.
	DesiredSets(ctx context.Context, satelliteIDs []string) (map[string]Desired, error)
	// Revisions gives what each satellite should have; unknown (deleted) ids are left out.
	Revisions(ctx context.Context, satelliteIDs []string) (map[string]Revision, error)
	// Transitions of an entity, newest first.
	Transitions(ctx context.Context, kind, id string, p Page) (items []entity.Transition, next string, err error)
}

// Tx is what fleet does inside a transaction.
type Tx interface {
	entity.Tx
	// LockDefinitions makes the transactions that change definitions, placements or
	// the labels of satellites wait for each other until they end, so that none plans
	// with another's stale half. It is the first call of every such transaction,
	// before any row lock; a store with one writer does nothing.
	LockDefinitions(ctx context.Context) error
	// InsertSatellite makes the row; of the token's life only TokenExpiresAt is written.
	InsertSatellite(ctx context.Context, s Satellite, tokenHash string) error // Conflict: name taken
	// UpdateSatellite writes name, region, tags, threshold, weight, cordon and drain. NotFound, Conflict.
	UpdateSatellite(ctx context.Context, s Satellite) error
	// Tokens are the satellite's, NotFound. SetTokens stores them; the last use of the
	// current token is forgotten when its version is another.
	Tokens(ctx context.Context, id string) (Tokens, error)
	SetTokens(ctx context.Context, id string, t Tokens) error
	// MarkExpiring finds the satellites whose token expires within that time and has
	// not been found before.
	MarkExpiring(ctx context.Context, within time.Duration) (ids []string, err error)
	// UpgradeTokenHash stores another form of the same token, unless what is stored is
	// no longer the old form: a rotation in between must not be undone.
	UpgradeTokenHash(ctx context.Context, id, old, upgraded string) error
	DeleteSatellite(ctx context.Context, id string) error // NotFound
	SatelliteForUpdate(ctx context.Context, id string) (Satellite, error)
	// LockConnections reads and locks rows in id order; unknown ids are left out.
	LockConnections(ctx context.Context, ids []string) (map[string]Connection, error)
	// WriteConnections writes epoch, last heartbeat, last event, credential and core.
	WriteConnections(ctx context.Context, rows []Connection) error
	// MarkLost flips every overdue row from connected to heartbeat_lost in one
	// conditional statement and returns the rows as they are now.
	MarkLost(ctx context.Context) ([]Connection, error)
	// ReplacementsForUpdate gives the satellite's count, and locks it; NotFound.
	ReplacementsForUpdate(ctx context.Context, satelliteID string) (Replacements, error)
	PutReplacements(ctx context.Context, satelliteID string, r Replacements) error
	// SelfObservationForUpdate reads how the satellite fares and locks it; NotFound.
	SelfObservationForUpdate(ctx context.Context, id string) (SelfObservation, error)
	// LockIll reads and locks, in id order, satellites that are ill or were told to be.
	LockIll(ctx context.Context) ([]SelfObservation, error)
	// PutSelfObservations writes observer, since when it is ill, and by whom that was told.
	PutSelfObservations(ctx context.Context, rows []SelfObservation) error
	// ObservedRegions gives the regions of those rows, and those told to be ill.
	ObservedRegions(ctx context.Context) ([]ObservedRegion, error)
	PutIllRegions(ctx context.Context, turned []ObservedRegion) error
	// FlushBeats writes heartbeats and returns the ids, of matching epoch, that had been
	// given up as lost (spec M43). A session that has ended is not heard any more: its
	// late heartbeats change nothing. Those that ask for leases get them.
	FlushBeats(ctx context.Context, beats []Beat) (recovered []string, leases []Lease, err error)
	SetInventory(ctx context.Context, id string, inv protocol.Inventory) error
	SetApplied(ctx context.Context, id string, applied protocol.Applied) error
	SetSyncState(ctx context.Context, id string, s protocol.ScriptPackageSyncState) error
	// Observe notes that the core is looking now and returns what was noted before, of
	// all cores; the zero Observation at first. A gap longer than blindAfter moves Since
	// to now. Others says that the cores are others than they were: this one has come, or
	// some had been silent for [CoreGone] and were forgotten.
	Observe(ctx context.Context, core string, blindAfter time.Duration) (before Observation, others bool, err error)
	// LeaveCore forgets a core that stops; what it held is connected no more.
	LeaveCore(ctx context.Context, core string) error
}

// Desired is what a satellite should run.
type Desired struct {
	SatelliteID string
	Revision    int64
	Assignments []protocol.Assignment
	Grants      []Grant
	// Asked are runs that were asked for and may still be answered.
	Asked []RunRequest
}

// Credential is how a satellite's tokens are stored, whose they are, and when by
// the database's clock that was read.
type Credential struct {
	Tokens
	Satellite Satellite
	At        time.Time
}

// Revision is what a session compares itself with: the desired set, the
// credential it was opened with, and the epoch, which is higher once another
// session of the satellite was opened, on whichever core. An Epoch of 0 is not known.
type Revision struct {
	Desired    int64
	Credential int64
	Epoch      int64
	// ExpiresIn is how long the credential is valid yet: nil without end, not positive
	// once it has expired.
	ExpiresIn *time.Duration
	// Previous is the credential before, for PreviousIn; 0 when it is not valid any more.
	Previous   int64
	PreviousIn time.Duration
}

// Grant is a pair that a satellite may report for; after RemovedAt only runs that
// were due before it.
type Grant struct {
	protocol.Pair
	RemovedAt *time.Time
}
