-- The same as PostgreSQL's migration of this number; what it means is said there.

-- +goose Up

ALTER TABLE automation_steps ADD COLUMN final INTEGER NOT NULL DEFAULT 0;

CREATE INDEX automation_dwells_of_context ON automation_dwells (context_key);

CREATE INDEX automation_runs_of_context ON automation_runs (automation_id, context_key) WHERE ended_at IS NULL;

CREATE TABLE automation_calls (
    hook TEXT NOT NULL,
    id   TEXT NOT NULL,
    at   INTEGER NOT NULL,
    PRIMARY KEY (hook, id)
) STRICT;
CREATE INDEX automation_calls_at ON automation_calls (at);
