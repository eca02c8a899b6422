-- The same as PostgreSQL's migration of this number; what it means is said there.

-- +goose Up

CREATE TABLE automations (
    id         TEXT NOT NULL PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    labels     TEXT NOT NULL,
    enabled    INTEGER NOT NULL,
    revision   INTEGER NOT NULL,
    spec       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE automation_revisions (
    automation_id TEXT NOT NULL REFERENCES automations ON DELETE CASCADE,
    revision      INTEGER NOT NULL,
    spec          TEXT NOT NULL,
    at            INTEGER NOT NULL,
    PRIMARY KEY (automation_id, revision)
) STRICT;

CREATE TABLE automation_cursor (
    id  INTEGER NOT NULL PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO automation_cursor SELECT 1, coalesce(max(seq), 0) FROM events;

CREATE TABLE automation_runs (
    id            TEXT NOT NULL PRIMARY KEY,
    automation_id TEXT NOT NULL REFERENCES automations ON DELETE CASCADE,
    revision      INTEGER NOT NULL,
    trigger_id    TEXT NOT NULL,
    context_key   TEXT NOT NULL,
    status        TEXT NOT NULL,
    event         TEXT NOT NULL,
    key           TEXT NOT NULL UNIQUE,
    created_at    INTEGER NOT NULL,
    started_at    INTEGER,
    ended_at      INTEGER,
    reason        TEXT NOT NULL DEFAULT '',
    wake_at       INTEGER,
    owner         TEXT NOT NULL DEFAULT '',
    lease_until   INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX automation_runs_due ON automation_runs (wake_at) WHERE ended_at IS NULL AND wake_at IS NOT NULL;
CREATE INDEX automation_runs_active ON automation_runs (automation_id, created_at) WHERE ended_at IS NULL;
CREATE INDEX automation_runs_newest ON automation_runs (created_at, id);
CREATE INDEX automation_runs_ended ON automation_runs (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE automation_steps (
    run_id     TEXT NOT NULL REFERENCES automation_runs ON DELETE CASCADE,
    path       TEXT NOT NULL,
    position   INTEGER NOT NULL,
    step_id    TEXT NOT NULL,
    kind       TEXT NOT NULL,
    action     TEXT NOT NULL,
    status     TEXT NOT NULL,
    attempt    INTEGER NOT NULL,
    input      TEXT,
    output     TEXT,
    error      TEXT NOT NULL,
    due_at     INTEGER,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,
    PRIMARY KEY (run_id, path)
) STRICT;

CREATE TABLE automation_waits (
    topic  TEXT NOT NULL,
    run_id TEXT NOT NULL REFERENCES automation_runs ON DELETE CASCADE,
    PRIMARY KEY (topic, run_id)
) STRICT;
CREATE INDEX automation_waits_of_run ON automation_waits (run_id);
CREATE TABLE automation_wakes (
    run_id TEXT NOT NULL REFERENCES automation_runs ON DELETE CASCADE,
    seq    INTEGER NOT NULL,
    PRIMARY KEY (run_id, seq)
) STRICT;

CREATE TABLE automation_dwells (
    automation_id TEXT NOT NULL REFERENCES automations ON DELETE CASCADE,
    trigger_id    TEXT NOT NULL,
    context_key   TEXT NOT NULL,
    due_at        INTEGER NOT NULL,
    event         TEXT NOT NULL,
    PRIMARY KEY (automation_id, trigger_id, context_key)
) STRICT;
CREATE INDEX automation_dwells_due ON automation_dwells (due_at);
CREATE TABLE automation_occurrences (
    automation_id TEXT NOT NULL REFERENCES automations ON DELETE CASCADE,
    trigger_id    TEXT NOT NULL,
    part          TEXT NOT NULL,
    at            INTEGER NOT NULL,
    seq           INTEGER NOT NULL
) STRICT;
CREATE INDEX automation_occurrences_of ON automation_occurrences (automation_id, trigger_id, part, at);
CREATE INDEX automation_occurrences_at ON automation_occurrences (at);
CREATE TABLE automation_timers (
    automation_id TEXT NOT NULL REFERENCES automations ON DELETE CASCADE,
    trigger_id    TEXT NOT NULL,
    due_at        INTEGER NOT NULL,
    PRIMARY KEY (automation_id, trigger_id)
) STRICT;
CREATE INDEX automation_timers_due ON automation_timers (due_at);

CREATE INDEX events_of_entity ON events (kind, entity_id, seq);
