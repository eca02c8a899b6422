package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

const automationRunColumns = `id, automation_id, revision, trigger_id, context_key, status, event, key, created_at, started_at, ended_at, reason`

// automationRunBrief leaves the event out.
var automationRunBrief = strings.Replace(automationRunColumns, "event", "'null'", 1)

func automationRunFields(r *automation.Run) []any {
	return []any{
		&r.ID, &r.Automation, &r.Revision, &r.Trigger, &r.ContextKey, &r.Status,
		document{&r.Event},
		&r.Key,
		moment{&r.CreatedAt},
		momentOrNil{&r.StartedAt},
		momentOrNil{&r.EndedAt},
		&r.Reason,
	}
}

func scanAutomationRun(row scanner) (r automation.Run, err error) {
	return r, row.Scan(automationRunFields(&r)...)
}

func (db *DB) AutomationRun(ctx context.Context, id string) (automation.Run, error) {
	return one(ctx, db.reads(), fmt.Sprintf("automation run %q", id), scanAutomationRun, `SELECT `+automationRunColumns+` FROM automation_runs WHERE id = $1`, id)
}

func (db *DB) AutomationRuns(ctx context.Context, f automation.RunFilter, p fleet.Page) ([]automation.Run, string, error) {
	last, err := after(p)
	if err != nil {
		return nil, "", err
	}
	var w where
	if f.Automation != "" {
		w.and(`automation_id = $$`, f.Automation)
	}
	if f.Status != "" {
		w.and(`status = $$`, string(f.Status))
	}
	if last != "" {
		stamp, id, _ := strings.Cut(last, "/")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil {
			return nil, "", fault.New(fault.Invalid, "the cursor is not one of ours")
		}
		us := at.UnixMicro()
		w.conds = append(w.conds, `(created_at < `+w.arg(us)+` OR created_at = `+w.arg(us)+` AND id < `+w.arg(id)+`)`)
	}
	rows, err := all(ctx, db.reads(), scanAutomationRun, `SELECT `+automationRunColumns+` FROM automation_runs`+w.String()+
		` ORDER BY created_at DESC, id DESC LIMIT `+w.arg(limit(p)+1), w.args...)
	if err != nil {
		return nil, "", err
	}
	items, next := paged(rows, p, func(r automation.Run) string { return r.CreatedAt.Format(time.RFC3339Nano) + "/" + r.ID })
	return items, next, nil
}

func (tx *Tx) ActiveAutomationRuns(ctx context.Context, id, contextKey string) ([]automation.Run, error) {
	var w where
	w.and(`automation_id = $$`, id)
	if contextKey != "" {
		w.and(`context_key = $$`, stored(contextKey))
	}
	w.conds = append(w.conds, `ended_at IS NULL`)
	return all(ctx, tx.conn, scanAutomationRun, `SELECT `+automationRunBrief+` FROM automation_runs`+w.String()+` ORDER BY created_at, id`, w.args...)
}

func (tx *Tx) AddAutomationRun(ctx context.Context, r automation.Run) (bool, error) {
	if err := tx.touch(ctx, "automation-runs", r.ID); err != nil {
		return false, err
	}
	event, err := jsonText(r.Event)
	if err != nil {
		return false, err
	}
	var wake *int64
	if r.Status != automation.RunPending {
		wake = microsOrNil(&r.CreatedAt)
	}
	n, err := tx.exec(ctx, `INSERT INTO automation_runs (`+automationRunColumns+`, wake_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		ON CONFLICT (key) DO NOTHING`, r.ID, r.Automation, r.Revision, r.Trigger, stored(r.ContextKey), string(r.Status), event, stored(r.Key),
		r.CreatedAt.UnixMicro(), microsOrNil(r.StartedAt), microsOrNil(r.EndedAt), r.Reason, wake)
	return n > 0, err
}

// ClaimAutomationRuns takes what is due and nobody's, and what was somebody's whose
// lease is over: that core has died, or is cut off and has given up by its own clock.
func (db *DB) ClaimAutomationRuns(ctx context.Context, owner string, lease time.Duration, n int) ([]automation.Run, error) {
	return all(ctx, db.writes(), scanAutomationRun, `UPDATE automation_runs SET owner = $1, lease_until = {now} + $2
		WHERE id IN (SELECT id FROM automation_runs WHERE ended_at IS NULL AND wake_at <= {now} AND lease_until <= {now}
			ORDER BY wake_at LIMIT $3 FOR UPDATE SKIP LOCKED)
		RETURNING `+automationRunColumns, owner, lease.Microseconds(), n)
}

func (db *DB) RenewAutomationRuns(ctx context.Context, owner string, lease time.Duration, ids []string) ([]string, error) {
	return all(ctx, db.writes(), func(row scanner) (id string, err error) { return id, row.Scan(&id) },
		`UPDATE automation_runs SET lease_until = {now} + $2
		WHERE id IN (SELECT id FROM automation_runs WHERE id = ANY($3) AND owner = $1 AND ended_at IS NULL ORDER BY id FOR UPDATE) RETURNING id`,
		owner, lease.Microseconds(), ids)
}

func (db *DB) FreeAutomationRuns(ctx context.Context) error {
	_, err := db.writes().exec(ctx, `UPDATE automation_runs SET lease_until = 0 WHERE ended_at IS NULL AND lease_until > 0`)
	return err
}

type ownedRun struct {
	run   automation.Run
	owner string
}

func (tx *Tx) AutomationRunForUpdate(ctx context.Context, id string) (automation.Run, string, error) {
	o, err := one(ctx, tx.conn, fmt.Sprintf("automation run %q", id), scanOwnedRun, `SELECT `+automationRunColumns+`, owner FROM automation_runs WHERE id = $1 FOR UPDATE`, id)
	return o.run, o.owner, err
}

func (tx *Tx) PutAutomationRun(ctx context.Context, r automation.Run, wake *time.Time, keep bool) error {
	if err := tx.touch(ctx, "automation-runs", r.ID); err != nil {
		return err
	}
	release := ``
	if !keep {
		release = `, owner = '', lease_until = 0`
	}
	if _, err := tx.exec(ctx, `UPDATE automation_runs SET status = $2, started_at = $3, ended_at = $4, reason = $5, wake_at = $6`+release+` WHERE id = $1`,
		r.ID, string(r.Status), microsOrNil(r.StartedAt), microsOrNil(r.EndedAt), stored(r.Reason), microsOrNil(wake)); err != nil {
		return err
	}
	if r.EndedAt == nil {
		return nil
	}
	for _, table := range []string{"automation_waits", "automation_wakes"} {
		if _, err := tx.exec(ctx, `DELETE FROM `+table+` WHERE run_id = $1`, r.ID); err != nil {
			return err
		}
	}
	return nil
}

const stepRows = `SELECT run_id, path, step_id, kind, action, status, attempt, input, output, error, final, due_at, started_at, ended_at FROM automation_steps WHERE `

func scanStep(row scanner) (automation.Step, error) {
	var s automation.Step
	return s, row.Scan(&s.Run, &s.Path, &s.ID, &s.Kind, &s.Action, &s.Status, &s.Attempt, rawOrNil{&s.Input}, rawOrNil{&s.Output}, &s.Error, &s.Final,
		momentOrNil{&s.Due}, moment{&s.StartedAt}, momentOrNil{&s.EndedAt})
}

func (db *DB) AutomationSteps(ctx context.Context, runID string) ([]automation.Step, error) {
	return all(ctx, db.reads(), scanStep, stepRows+`run_id = $1 ORDER BY position, path`, runID)
}

func scanOwnedRun(row scanner) (o ownedRun, err error) {
	return o, row.Scan(append(automationRunFields(&o.run), &o.owner)...)
}

// wakesAtOnce is how many events a run hears in one transaction.
const wakesAtOnce = 1000

// runNumber is a number of a run: of an event that woke it, or of its steps.
type runNumber struct {
	run string
	n   int64
}

func (tx *Tx) AutomationStandings(ctx context.Context, ids []string) (map[string]automation.Standing, error) {
	// In the order of their ids, so that two that lock the same do not wait for each other.
	runs, err := all(ctx, tx.conn, scanOwnedRun, `SELECT `+automationRunBrief+`, owner FROM automation_runs WHERE id = ANY($1) ORDER BY id FOR UPDATE`, ids)
	if err != nil {
		return nil, err
	}
	standings := make(map[string]automation.Standing, len(runs))
	for _, o := range runs {
		standings[o.run.ID] = automation.Standing{Run: o.run, Owner: o.owner}
	}
	steps, err := all(ctx, tx.conn, scanStep, stepRows+`run_id = ANY($1) ORDER BY run_id, position, path`, ids)
	if err != nil {
		return nil, err
	}
	for _, step := range steps {
		s := standings[step.Run]
		s.Journal = append(s.Journal, step)
		standings[step.Run] = s
	}
	wakes, err := all(ctx, tx.conn, func(row scanner) (w runNumber, err error) { return w, row.Scan(&w.run, &w.n) },
		`SELECT run_id, seq FROM automation_wakes WHERE run_id = ANY($1) ORDER BY run_id, seq`, ids)
	if err != nil {
		return nil, err
	}
	for _, w := range wakes {
		s := standings[w.run]
		if len(s.Wakes) == wakesAtOnce {
			continue
		}
		events, err := all(ctx, tx.conn, scanEvent, eventRows+` WHERE seq = $1`, w.n)
		if err != nil {
			return nil, err
		}
		s.Wakes = append(s.Wakes, events...)
		standings[w.run] = s
	}
	return standings, nil
}

func (tx *Tx) PutAutomationSteps(ctx context.Context, steps []automation.Step) error {
	if len(steps) == 0 {
		return nil
	}
	var runs []string
	for _, s := range steps {
		if !slices.Contains(runs, s.Run) {
			runs = append(runs, s.Run)
		}
	}
	counts, err := all(ctx, tx.conn, func(row scanner) (w runNumber, err error) { return w, row.Scan(&w.run, &w.n) },
		`SELECT run_id, count(*) FROM automation_steps WHERE run_id = ANY($1) GROUP BY run_id`, runs)
	if err != nil {
		return err
	}
	begun := map[string]int64{}
	for _, n := range counts {
		begun[n.run] = n.n
	}
	position := func(s *automation.Step) int64 { // those that are there keep theirs
		begun[s.Run]++
		return begun[s.Run]
	}
	return chunks(steps, func(rows []automation.Step) error {
		cols := []column{
			col("run_id", "text", rows, func(s *automation.Step) string { return s.Run }),
			col("path", "text", rows, func(s *automation.Step) string { return s.Path }),
			col("step_id", "text", rows, func(s *automation.Step) string { return s.ID }),
			col("kind", "text", rows, func(s *automation.Step) string { return s.Kind }),
			col("action", "text", rows, func(s *automation.Step) string { return s.Action }),
			col("status", "text", rows, func(s *automation.Step) string { return string(s.Status) }),
			col("error", "text", rows, func(s *automation.Step) string { return stored(s.Error) }),
			col("position", "bigint", rows, position),
			col("attempt", "bigint", rows, func(s *automation.Step) int64 { return int64(s.Attempt) }),
			col("input", "text", rows, func(s *automation.Step) *string { return rawText(s.Input) }),
			col("output", "text", rows, func(s *automation.Step) *string { return rawText(s.Output) }),
			col("final", "boolean", rows, func(s *automation.Step) bool { return s.Final }),
			col("due_at", "bigint", rows, func(s *automation.Step) *int64 { return microsOrNil(s.Due) }),
			col("started_at", "bigint", rows, func(s *automation.Step) int64 { return s.StartedAt.UnixMicro() }),
			col("ended_at", "bigint", rows, func(s *automation.Step) *int64 { return microsOrNil(s.EndedAt) }),
		}
		return tx.insertMany(ctx, "automation_steps", `ON CONFLICT (run_id, path) DO UPDATE SET status = excluded.status, attempt = excluded.attempt,
			input = excluded.input, output = excluded.output, error = excluded.error, final = excluded.final, due_at = excluded.due_at, ended_at = excluded.ended_at`,
			len(rows), cols)
	})
}

func (tx *Tx) PutAutomationWaits(ctx context.Context, runID string, topics []string) error {
	if _, err := tx.exec(ctx, `DELETE FROM automation_waits WHERE run_id = $1`, runID); err != nil {
		return err
	}
	for _, topic := range topics {
		if _, err := tx.exec(ctx, `INSERT INTO automation_waits (topic, run_id) VALUES ($1, $2) ON CONFLICT (topic, run_id) DO NOTHING`, stored(topic), runID); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) AwaitedAutomationTopics(ctx context.Context, topics []string) ([]string, error) {
	return all(ctx, tx.conn, func(row scanner) (topic string, err error) { return topic, row.Scan(&topic) },
		`SELECT DISTINCT topic FROM automation_waits WHERE topic = ANY($1)`, topics)
}

func (tx *Tx) WakeAutomationRuns(ctx context.Context, topics []string, seq int64) error {
	n, err := tx.exec(ctx, `INSERT INTO automation_wakes (run_id, seq) SELECT DISTINCT run_id, $2::bigint FROM automation_waits WHERE topic = ANY($1)
		ON CONFLICT (run_id, seq) DO NOTHING`, topics, seq)
	if err != nil || n == 0 {
		return err
	}
	_, err = tx.exec(ctx, `UPDATE automation_runs SET wake_at = {now} WHERE ended_at IS NULL AND id IN (SELECT run_id FROM automation_wakes WHERE seq = $1)`, seq)
	return err
}

func (tx *Tx) DropAutomationWake(ctx context.Context, runID string, seq int64) error {
	_, err := tx.exec(ctx, `DELETE FROM automation_wakes WHERE run_id = $1 AND seq = $2`, runID, seq)
	return err
}

func (db *DB) NextAutomation(ctx context.Context) (time.Time, error) {
	next, err := one(ctx, db.reads(), "", func(row scanner) (t *time.Time, err error) { return t, row.Scan(momentOrNil{&t}) },
		`SELECT min(at) FROM (
			SELECT min(CASE WHEN wake_at > lease_until THEN wake_at ELSE lease_until END) AS at FROM automation_runs WHERE ended_at IS NULL AND wake_at IS NOT NULL
			UNION ALL SELECT min(due_at) FROM automation_dwells
			UNION ALL SELECT min(due_at) FROM automation_timers) AS due`)
	if err != nil || next == nil {
		return time.Time{}, err
	}
	return *next, nil
}

func (db *DB) PurgeAutomationRuns(ctx context.Context, before time.Time) (gone int64, err error) {
	for {
		n, err := db.writes().exec(ctx, `DELETE FROM automation_runs WHERE id IN (SELECT id FROM automation_runs WHERE ended_at < $1 LIMIT $2)`, before.UnixMicro(), purgePiece)
		gone += n
		if err != nil {
			return gone, err
		}
		if n < purgePiece {
			break
		}
	}
	// A window is a day at most.
	for _, table := range []string{"automation_occurrences", "automation_calls"} {
		if _, err := db.writes().exec(ctx, `DELETE FROM `+table+` WHERE at < {now} - $1`, (25 * time.Hour).Microseconds()); err != nil {
			return gone, err
		}
	}
	_, err = db.writes().exec(ctx, `DELETE FROM automation_revisions WHERE at < $1
		AND NOT EXISTS (SELECT 1 FROM automations AS a WHERE a.id = automation_id AND a.revision = automation_revisions.revision)
		AND NOT EXISTS (SELECT 1 FROM automation_runs AS r WHERE r.automation_id = automation_revisions.automation_id AND r.revision = automation_revisions.revision)`, before.UnixMicro())
	return gone, err
}
