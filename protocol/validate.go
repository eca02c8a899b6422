package protocol

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/perigee-monitoring/perigee/check"
)

// The limits of limits.go and the closed sets of A.5, message by message. What
// the base protocol lets through is let through here as well: an empty id, a
// fractional latency, a time that is none (N.3); whoever uses the value judges it.

func (m *Authenticate) Validate() error {
	return first(m, id("clientId", m.ClientID), bounded("token", m.Token, MaxToken),
		ids("capabilities", m.Capabilities), m.Perigee.validate().at("perigee"))
}

func (h *Hello) validate() *InvalidError {
	if h == nil {
		return nil
	}
	return anyOf(ids("features", h.Features), id("bootId", h.BootID), h.Inventory.validate().at("inventory"),
		bounded("sealKey", h.SealKey, maxSealKey))
}

func (m *Inventory) Validate() error { return first(m, m.validate()) }

func (m *Inventory) validate() *InvalidError {
	if m == nil {
		return nil
	}
	if m.Fence != nil {
		if err := anyOf(name("level", m.Fence.Level), name("missing", m.Fence.Missing)).at("fence"); err != nil {
			return err
		}
	}
	return anyOf(name("version", m.Version), id("os", m.OS), id("arch", m.Arch), name("hostname", m.Hostname),
		ids("strategies", m.Strategies), ids("collectors", m.Collectors), ids("runtimes", m.Runtimes), dictionary("missing", m.Missing), ids("features", m.Features))
}

func (m *Heartbeat) Validate() error {
	return first(m, name("version", m.Version), ids("capabilities", m.Capabilities), m.Perigee.validate().at("perigee"))
}

func (p *Pulse) validate() *InvalidError {
	if p == nil {
		return nil
	}
	return p.Observer.validate().at("observer")
}

// validate leaves kinds an open set, as Skip's does reasons.
func (o *Observer) validate() *InvalidError {
	if o == nil {
		return nil
	}
	if len(o.Ill) > maxIll {
		return tooMany("ill", maxIll)
	}
	for i := range o.Ill {
		if err := anyOf(id("kind", string(o.Ill[i].Kind)), notNegative("since", o.Ill[i].Since), name("detail", o.Ill[i].Detail)); err != nil {
			return err.in("ill", i)
		}
	}
	return nil
}

func (m *Result) Validate() error { return first(m, m.validate()) }

func (m *Result) validate() *InvalidError {
	return anyOf(id("configId", m.ConfigID), id("systemId", m.SystemID), status("status", m.Status),
		id("executedAt", m.ExecutedAt), id("environmentId", m.EnvironmentID.OrZero()),
		name("inconclusive", m.Inconclusive), evidence(m.Result).at("result"))
}

// evidence checks the RunResult of a result (F.1).
func evidence(r *check.Result) *InvalidError {
	if r == nil {
		return nil
	}
	size := 0
	for entry, found := range r.Metadata.Collectors {
		if err := id("metadata.collectors."+shorten([]byte(entry)), entry); err != nil {
			return err
		}
		size += len(found)
	}
	if size > MaxResult {
		return &InvalidError{Path: "metadata.collectors", Reason: "is more than " + strconv.Itoa(MaxResult) + " bytes"}
	}
	return anyOf(status("status", r.Status), words("message", r.Message), words("metadata.error", r.Metadata.Error))
}

// validate leaves Reason an open set: a newer satellite may know more reasons,
// and an account of a slot is worth more than a word that we know.
func (s *Skip) validate() *InvalidError {
	err := anyOf(id("configId", s.ConfigID), id("systemId", s.SystemID),
		id("environmentId", s.EnvironmentID), id("reason", string(s.Reason)))
	switch {
	case err != nil:
		return err
	case s.To < s.From:
		return &InvalidError{Path: "to", Reason: "is before from"}
	case s.Count < 1:
		return &InvalidError{Path: "count", Reason: "must be at least 1"}
	}
	return nil
}

func (m *Results) Validate() error {
	if len(m.Records) > MaxBatchRecords {
		return first(m, tooMany("records", MaxBatchRecords))
	}
	last := int64(0)
	for i := range m.Records {
		if m.Records[i].Seq <= last {
			return first(m, (&InvalidError{Path: "seq", Reason: "must rise from record to record, and begin above 0"}).in("records", i))
		}
		last = m.Records[i].Seq
	}
	return nil
}

// Validate checks one record. Results.Validate does not: see Record.Invalid.
func (r *Record) Validate() error {
	if err := r.validate(); err != nil {
		return err
	}
	return nil
}

func (r *Record) validate() *InvalidError {
	switch {
	case r.Seq < 1:
		return &InvalidError{Path: "seq", Reason: "must be at least 1"}
	case (r.Result == nil) == (r.Skip == nil):
		return &InvalidError{Reason: "must hold a result or a skip, and not both"}
	case r.Result != nil:
		return r.Result.validate().at("result")
	}
	return r.Skip.validate().at("skip")
}

func (m *StrategyError) Validate() error {
	return first(m, id("strategyId", m.StrategyID), words("message", m.Message))
}

func (m *ScriptPackageSyncState) Validate() error {
	var hash string
	if m.LockfileHash != nil {
		hash = *m.LockfileHash
	}
	err := anyOf(id("lockfileHash", hash), words("errorMessage", m.ErrorMessage))
	switch m.Status {
	case SyncPending, SyncSyncing, SyncReady, SyncError:
		return first(m, err)
	}
	return first(m, err, &InvalidError{Path: "status", Reason: "must be pending, syncing, ready or error"})
}

func (m *RequestScriptPackageManifest) Validate() error {
	return first(m, id("lockfileHash", m.LockfileHash))
}

func (m *RequestScriptPackageBlob) Validate() error {
	return first(m, name("integrity", m.Integrity))
}

func (m *RequestRunSecrets) Validate() error {
	return first(m, id("requestId", m.RequestID), id("configId", m.ConfigID),
		id("collectorId", m.CollectorID), id("runId", m.RunID))
}

func (m *RequestConfigSecrets) Validate() error {
	return first(m, id("requestId", m.RequestID), id("configId", m.ConfigID), id("runId", m.RunID))
}

func (m *TelemetryBatch) Validate() error {
	if len(m.DroppedByGroup) > MaxList {
		return first(m, tooMany("droppedByGroup", MaxList))
	}
	return first(m, id("batchId", m.BatchID), id("kind", m.Kind))
}

func (m *CapabilityStatus) Validate() error { return first(m, id("kind", m.Kind)) }

func (m *CapabilitySecretRequest) Validate() error {
	return first(m, id("requestId", m.RequestID), id("kind", m.Kind))
}

func (m *Applied) Validate() error {
	if len(m.Errors) > MaxAssignments {
		return first(m, tooMany("errors", MaxAssignments))
	}
	for i := range m.Errors {
		e := &m.Errors[i]
		if err := anyOf(e.validate(), words("message", e.Message)); err != nil {
			return first(m, err.in("errors", i))
		}
	}
	return first(m, notNegative("revision", m.Revision))
}

func (m *Authenticated) Validate() error {
	return first(m, id("satelliteId", m.SatelliteID), assignments("assignments", m.Assignments),
		id("scriptPackagesLockfileHash", m.ScriptPackagesLockfileHash.OrZero()), m.Perigee.validate().at("perigee"))
}

func (w *Welcome) validate() *InvalidError {
	if w == nil {
		return nil
	}
	return anyOf(ids("features", w.Features), notNegative("epoch", w.Epoch),
		notNegative("revision", w.Revision), notNegative("credit", w.Credit))
}

func (m *AuthFailed) Validate() error { return first(m, words("reason", m.Reason)) }
func (m *Shutdown) Validate() error   { return first(m, words("reason", m.Reason)) }

func (m *ConfigUpdated) Validate() error {
	return first(m, assignments("assignments", m.Assignments), notNegative("perigeeRevision", m.Revision),
		id("scriptPackagesLockfileHash", m.ScriptPackagesLockfileHash.OrZero()))
}

func (m *Delta) Validate() error {
	if m.Base < 0 || m.Revision <= m.Base {
		return first(m, &InvalidError{Path: "revision", Reason: "must be above base"})
	}
	if len(m.Removals) > MaxAssignments {
		return first(m, tooMany("removals", MaxAssignments))
	}
	for i := range m.Removals {
		if err := m.Removals[i].validate(); err != nil {
			return first(m, err.in("removals", i))
		}
	}
	return first(m, assignments("upserts", m.Upserts))
}

func assignments(path string, all []Assignment) *InvalidError {
	if len(all) > MaxAssignments {
		return tooMany(path, MaxAssignments)
	}
	for i := range all {
		if err := all[i].validate(); err != nil {
			return err.in(path, i)
		}
	}
	return nil
}

// Validate checks the limits of one assignment. What it asks for is judged where
// it is to be run: an unknown strategy is a reason to say so, not to refuse a set.
func (a *Assignment) Validate() error {
	if err := a.validate(); err != nil {
		return err
	}
	return nil
}

func (a *Assignment) validate() *InvalidError {
	if len(a.Collectors) > MaxCollectors {
		return tooMany("collectors", MaxCollectors)
	}
	for i := range a.Collectors {
		if err := a.Collectors[i].validate(); err != nil {
			return err.in("collectors", i)
		}
	}
	if len(a.Environments) > MaxList {
		return tooMany("environments", MaxList)
	}
	if err := a.Seat.validate().at("perigeeSeat"); err != nil {
		return err
	}
	for i, e := range a.Environments {
		if err := anyOf(id("id", e.ID), name("name", e.Name)); err != nil {
			return err.in("environments", i)
		}
	}
	return anyOf(id("configId", a.ConfigID), id("systemId", a.SystemID), id("strategyId", a.StrategyID),
		name("configName", a.ConfigName), name("systemName", a.SystemName))
}

func (c *Collector) validate() *InvalidError {
	if len(c.Assertions) > MaxList {
		return tooMany("assertions", MaxList)
	}
	for i, a := range c.Assertions {
		if err := anyOf(name("field", a.Field), words("jsonPath", a.JSONPath), id("operator", a.Operator), words("expression", a.Expression)); err != nil {
			return err.in("assertions", i)
		}
	}
	return anyOf(id("id", c.ID), id("collectorId", c.CollectorID))
}

func (p *Pair) validate() *InvalidError {
	return anyOf(id("configId", p.ConfigID), id("systemId", p.SystemID))
}

func (m *RefreshScriptPackages) Validate() error { return first(m, id("lockfileHash", m.LockfileHash)) }

func (m *ScriptPackageManifest) Validate() error {
	if len(m.Entries) > MaxEntries {
		return first(m, tooMany("entries", MaxEntries))
	}
	for i, e := range m.Entries {
		if err := anyOf(name("name", e.Name), id("version", e.Version),
			name("integrity", e.Integrity), id("blobSha256", e.BlobSha256), paths("perigeePaths", e.Paths)); err != nil {
			return first(m, err.in("entries", i))
		}
	}
	return first(m, id("lockfileHash", m.LockfileHash), words("perigeeError", m.Error))
}

func (m *ScriptPackageBlob) Validate() error { return first(m, name("integrity", m.Integrity)) }

func (m *RunSecrets) Validate() error {
	return first(m, id("requestId", m.RequestID), dictionary("env", m.Env), words("error", m.Error), bounded("perigeeSealed", m.Sealed, MaxSealed))
}

func (m *ConfigSecrets) Validate() error {
	if len(m.Collectors) > MaxCollectors {
		return first(m, tooMany("collectors", MaxCollectors))
	}
	for entry, values := range m.Collectors {
		if err := anyOf(id("", entry), dictionary("", values)); err != nil {
			return first(m, err.at("collectors"))
		}
	}
	return first(m, id("requestId", m.RequestID), dictionary("strategy", m.Strategy), words("error", m.Error), bounded("perigeeSealed", m.Sealed, MaxSealed))
}

// Validate leaves the policy itself to the sandbox (G.8).
func (m *SandboxPolicy) Validate() error { return nil }

func (m *TelemetryAck) Validate() error { return first(m, id("batchId", m.BatchID)) }

func (m *CapabilityConfig) Validate() error { return first(m, id("kind", m.Kind)) }

func (m *CapabilitySecretResponse) Validate() error {
	return first(m, id("requestId", m.RequestID), words("error", m.Error))
}

func (m *Ack) Validate() error {
	if len(m.Refused) > MaxEntries {
		return first(m, tooMany("refused", MaxEntries))
	}
	for i, r := range m.Refused {
		if err := words("reason", r.Reason); err != nil {
			return first(m, err.in("refused", i))
		}
	}
	return first(m, notNegative("upTo", m.UpTo), notNegative("credit", m.Credit))
}

// Validate has nothing to say: any three numbers are a clock reading.
func (m *Clock) Validate() error { return nil }

func (m *BlobRequest) Validate() error {
	if m.Length < 1 || m.Length > MaxChunk {
		return first(m, &InvalidError{Path: "length", Reason: "must be from 1 to " + strconv.Itoa(MaxChunk)})
	}
	return first(m, id("requestId", m.RequestID), name("integrity", m.Integrity), notNegative("offset", m.Offset))
}

func (m *BlobChunk) Validate() error {
	return first(m, id("requestId", m.RequestID), notNegative("offset", m.Offset), notNegative("total", m.Total),
		id("sha256", m.Sha256), bounded("data", m.Data, base64.StdEncoding.EncodedLen(MaxChunk)), words("error", m.Error))
}

func (m *Drain) Validate() error {
	return first(m, notNegative("spanMs", m.SpanMs), words("reason", m.Reason))
}

func (m *RunNow) Validate() error {
	err := anyOf(m.Pair.validate(), id("environmentId", m.EnvironmentID), notNegative("slot", m.Slot), notNegative("deadlineMs", m.DeadlineMs))
	if err == nil && m.Assignment != nil {
		err = m.Assignment.validate().at("assignment")
		if err == nil && m.Assignment.Pair() != m.Pair {
			err = &InvalidError{Path: "assignment", Reason: "is of another pair"}
		}
	}
	return first(m, err)
}

func (m *Try) Validate() error {
	err := m.Assignment.validate().at("assignment")
	if err == nil && len(m.Assignment.Environments) > 1 {
		err = tooMany("assignment.environments", 1)
	}
	return first(m, id("requestId", m.RequestID), err, notNegative("deadlineMs", m.DeadlineMs))
}

func (m *Tried) Validate() error {
	if len(m.TookMs) > MaxCollectors {
		return first(m, tooMany("tookMs", MaxCollectors))
	}
	if len(m.Fences) > MaxCollectors {
		return first(m, tooMany("fences", MaxCollectors))
	}
	for _, held := range m.Fences {
		if err := words("fences", held); err != nil {
			return first(m, err)
		}
	}
	err := anyOf(id("requestId", m.RequestID), evidence(m.Result).at("result"), id("executedAt", m.ExecutedAt),
		name("inconclusive", m.Inconclusive), words("error", m.Error))
	if err == nil && (m.Result == nil) == (m.Error == "") {
		err = &InvalidError{Reason: "must hold a result or an error, and not both"}
	}
	return first(m, err)
}

func (m *Lease) Validate() error {
	return first(m, notNegative("until", m.Until), notNegative("revision", m.Revision))
}

func (s *Seat) validate() *InvalidError {
	switch {
	case s == nil:
		return nil
	case s.Number < 1 || s.Number > MaxSeats:
		return &InvalidError{Path: "number", Reason: "must be from 1 to " + strconv.Itoa(MaxSeats)}
	}
	return anyOf(notNegative("after", s.After), notNegative("until", s.Until))
}

// The rules that the messages above are made of. Each returns nil or what is
// wrong at the path.

// id is an identifier or a word from a set: short, and without the NUL that a
// PostgreSQL text cannot hold.
func id(path, s string) *InvalidError { return label(path, s, MaxID) }

// name is a name or a version that is shown to people.
func name(path, s string) *InvalidError { return label(path, s, MaxName) }

func label(path, s string, most int) *InvalidError {
	if strings.IndexByte(s, 0) >= 0 {
		return &InvalidError{Path: path, Reason: "holds a NUL"}
	}
	return bounded(path, s, most)
}

// words is a message or an error text.
func words(path, s string) *InvalidError { return bounded(path, s, MaxText) }

func bounded(path, s string, most int) *InvalidError {
	if len(s) > most {
		return &InvalidError{Path: path, Reason: "is longer than " + strconv.Itoa(most) + " bytes"}
	}
	return nil
}

// paths are places in a tree of packages: long, as packages nest.
func paths(path string, all []string) *InvalidError {
	if len(all) > MaxList {
		return tooMany(path, MaxList)
	}
	for i, s := range all {
		if err := label("", s, maxPath); err != nil {
			return err.in(path, i)
		}
	}
	return nil
}

func ids(path string, all []string) *InvalidError {
	if len(all) > MaxList {
		return tooMany(path, MaxList)
	}
	for i, s := range all {
		if err := id("", s); err != nil {
			return err.in(path, i)
		}
	}
	return nil
}

func dictionary(path string, all map[string]string) *InvalidError {
	if len(all) > MaxList {
		return tooMany(path, MaxList)
	}
	for key, value := range all {
		if err := anyOf(name("", key), words(shorten([]byte(key)), value)); err != nil {
			return err.at(path)
		}
	}
	return nil
}

func status(path string, s check.Status) *InvalidError {
	if !s.ValidRun() {
		return &InvalidError{Path: path, Reason: "must be healthy, degraded or unhealthy"}
	}
	return nil
}

func notNegative(path string, n int64) *InvalidError {
	if n < 0 {
		return &InvalidError{Path: path, Reason: "must not be negative"}
	}
	return nil
}

func tooMany(path string, most int) *InvalidError {
	return &InvalidError{Path: path, Reason: "has more than " + strconv.Itoa(most) + " entries"}
}

// at puts the error, if it is one, below a member.
func (e *InvalidError) at(member string) *InvalidError {
	if e == nil || member == "" {
		return e
	}
	return e.under(member)
}

// in puts the error, if it is one, below an element of a list.
func (e *InvalidError) in(list string, index int) *InvalidError {
	return e.under("[" + strconv.Itoa(index) + "]").under(list)
}

func anyOf(errs ...*InvalidError) *InvalidError {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// first is anyOf as an error of the message.
func first(m Message, errs ...*InvalidError) error {
	if err := anyOf(errs...); err != nil {
		err.Type = m.Type()
		return err
	}
	return nil
}
