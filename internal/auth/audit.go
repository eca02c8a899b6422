package auth

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/perigee-monitoring/perigee/internal/diff"
	"github.com/perigee-monitoring/perigee/internal/entity"
)

// Outcome is what became of what somebody wanted to do.
type Outcome string

const (
	Allowed Outcome = "allowed" // and done
	Refused Outcome = "refused" // not them
	Failed  Outcome = "failed"  // they may; it could not be done, or not to its end: what was is in the entry
)

// AuditEntry is one line of the audit log: who wanted to do what, and what became of it.
// It holds no values of secrets, passwords or tokens: of what was sent it names the
// fields, and says the value of few; of what was changed it says what people may read.
type AuditEntry struct {
	ID        int64     `json:"id"`
	At        time.Time `json:"at"`
	ActorType string    `json:"actorType" doc:"user, application (a token), or empty for somebody unknown."`
	ActorID   string    `json:"actorId"`
	Actor     string    `json:"actor" doc:"The name of the user or token."`
	Source    string    `json:"source" doc:"The address that the request came from."`
	Operation string    `json:"operation" doc:"Of the API, such as create-satellite; or sign-in, sign-out and set-up."`
	Object    string    `json:"object" doc:"What it was about, such as satellites/eu-1."`
	ObjectID  string    `json:"objectId" doc:"Its id, which it keeps when it is renamed; empty when it is not known."`
	Change    string    `json:"change" doc:"In short what was changed, or was to be."`
	// Changes are the fields that were changed, as the transactions of the change found and
	// left them (see Draft).
	Changes   []diff.Field `json:"changes" doc:"The fields that are otherwise than before, without secrets; of something new or deleted all that it has or had."`
	Outcome   Outcome      `json:"outcome" enum:"allowed,refused,failed"`
	Status    int          `json:"status" doc:"The HTTP status of the answer."`
	Reason    string       `json:"reason" doc:"Why it was refused or failed."`
	RequestID string       `json:"requestId" doc:"Under which the core's log has it."`
	// Missed are the refusals before this one that were too many to be written down.
	Missed int64 `json:"missed" doc:"Refusals before it that were too many to be written down."`
}

// AuditFilter chooses entries; what is zero chooses all.
type AuditFilter struct {
	Actor     string // a part of the name
	Operation string // a part of the operation, such as "delete"
	Object    string // a part of the object
	Outcome   Outcome
	From, To  time.Time // To is not in it
}

// AuditStore keeps the log.
type AuditStore interface {
	// InsertAudit writes entries, and those that have an id over what they were.
	InsertAudit(ctx context.Context, entries []AuditEntry) error
	// AuditEntries are the newest that are older than the id; 0 is none.
	AuditEntries(ctx context.Context, f AuditFilter, before int64, limit int) ([]AuditEntry, error)
}

const (
	// auditQueue bounds the entries that wait, and auditBatch those of one transaction.
	auditQueue = 1024
	auditBatch = 256
	// auditWait bounds how long a request waits for its entry.
	auditWait = 5 * time.Second
	// Refusals cost who makes them nothing, so that their writing is bounded.
	refusalRate, refusalBurst = 2, 100
)

// Audit is the audit log. What was changed is written with the change (see Draft). What
// was refused, failed or changes nothing that lasts is written here, before the request is
// answered; when it cannot be, the core's log has it.
type Audit struct {
	store    AuditStore
	group    *entity.Group[AuditEntry]
	refusals *rate.Limiter
	missed   atomic.Int64
	log      *slog.Logger
}

// NewAudit makes the log. Run must run for it to write.
func NewAudit(store AuditStore, log *slog.Logger) *Audit {
	one := func(AuditEntry) int { return 1 }
	return &Audit{store: store, group: entity.NewGroup(auditQueue, auditBatch, one, store.InsertAudit), refusals: rate.NewLimiter(refusalRate, refusalBurst), log: log}
}

// Run writes until ctx ends.
func (a *Audit) Run(ctx context.Context) error { return a.group.Run(ctx) }

// Note writes an entry, though the request that it is of may have ended. Of refusals that
// come faster than anybody could read them it counts some only.
func (a *Audit) Note(ctx context.Context, e AuditEntry) {
	if e.Outcome == Refused && e.ID == 0 {
		if !a.refusals.Allow() {
			a.missed.Add(1)
			return
		}
		e.Missed = a.missed.Swap(0)
	}
	if e.ID == 0 {
		e.At = time.Now().UTC()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditWait)
	defer cancel()
	if err := a.group.Do(ctx, e); err != nil {
		a.log.Error("an entry of the audit log could not be written", "actor", e.Actor, "source", e.Source, "operation", e.Operation,
			"object", e.Object, "outcome", string(e.Outcome), "request_id", e.RequestID, "error", err)
	}
}

// List are entries, the newest first.
func (a *Audit) List(ctx context.Context, f AuditFilter, before int64, limit int) ([]AuditEntry, error) {
	return a.store.AuditEntries(ctx, f, before, limit)
}
