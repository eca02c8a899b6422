-- +goose Up

-- A step that failed for a reason for which another attempt would fail as well.
ALTER TABLE automation_steps ADD COLUMN final boolean NOT NULL DEFAULT false;

-- Which dwells an event of an entity may end.
CREATE INDEX automation_dwells_of_context ON automation_dwells (context_key);

-- Runs among which a mode looks that is about one context.
CREATE INDEX automation_runs_of_context ON automation_runs (automation_id, context_key) WHERE ended_at IS NULL;

-- Calls of hooks that were taken, so that one that is repeated is no second event.
CREATE TABLE automation_calls (
    hook text COLLATE "C" NOT NULL,
    id   text COLLATE "C" NOT NULL,
    at   bigint NOT NULL,
    CONSTRAINT automation_calls_pkey PRIMARY KEY (hook, id)
);
CREATE INDEX automation_calls_at ON automation_calls (at);
