-- Automations: what they say, what they wait for, and what they did.

-- +goose Up

-- spec is the definition as JSON. Runs go on under the revision that they began with.
CREATE TABLE automations (
    id         text COLLATE "C" NOT NULL CONSTRAINT automations_pkey PRIMARY KEY,
    name       text COLLATE "C" NOT NULL CONSTRAINT automations_name UNIQUE,
    labels     text NOT NULL,
    enabled    boolean NOT NULL,
    revision   bigint NOT NULL,
    spec       text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);

CREATE TABLE automation_revisions (
    automation_id text COLLATE "C" NOT NULL CONSTRAINT automation_revisions_automation REFERENCES automations ON DELETE CASCADE,
    revision      bigint NOT NULL,
    spec          text NOT NULL,
    at            bigint NOT NULL,
    CONSTRAINT automation_revisions_pkey PRIMARY KEY (automation_id, revision)
);

-- One row: the last event that was decided. Whoever decides holds it.
CREATE TABLE automation_cursor (
    id  bigint NOT NULL CONSTRAINT automation_cursor_pkey PRIMARY KEY,
    seq bigint NOT NULL
);
INSERT INTO automation_cursor SELECT 1, coalesce(max(seq), 0) FROM events;

-- A run is its own job: wake_at is when to go on, owner which core does so and
-- lease_until until when that counts.
CREATE TABLE automation_runs (
    id            text COLLATE "C" NOT NULL CONSTRAINT automation_runs_pkey PRIMARY KEY,
    automation_id text COLLATE "C" NOT NULL CONSTRAINT automation_runs_automation REFERENCES automations ON DELETE CASCADE,
    revision      bigint NOT NULL,
    trigger_id    text COLLATE "C" NOT NULL,
    context_key   text COLLATE "C" NOT NULL,
    status        text COLLATE "C" NOT NULL,
    event         text NOT NULL,
    key           text COLLATE "C" NOT NULL CONSTRAINT automation_runs_key UNIQUE,
    created_at    bigint NOT NULL,
    started_at    bigint,
    ended_at      bigint,
    reason        text NOT NULL DEFAULT '',
    wake_at       bigint,
    owner         text COLLATE "C" NOT NULL DEFAULT '',
    lease_until   bigint NOT NULL DEFAULT 0
);
CREATE INDEX automation_runs_due ON automation_runs (wake_at) WHERE ended_at IS NULL AND wake_at IS NOT NULL;
CREATE INDEX automation_runs_active ON automation_runs (automation_id, created_at) WHERE ended_at IS NULL;
CREATE INDEX automation_runs_newest ON automation_runs (created_at, id);
CREATE INDEX automation_runs_ended ON automation_runs (ended_at) WHERE ended_at IS NOT NULL;

-- The journal. position keeps the order in which steps began.
CREATE TABLE automation_steps (
    run_id     text COLLATE "C" NOT NULL CONSTRAINT automation_steps_run REFERENCES automation_runs ON DELETE CASCADE,
    path       text COLLATE "C" NOT NULL,
    position   bigint NOT NULL,
    step_id    text COLLATE "C" NOT NULL,
    kind       text COLLATE "C" NOT NULL,
    action     text COLLATE "C" NOT NULL,
    status     text COLLATE "C" NOT NULL,
    attempt    bigint NOT NULL,
    input      text,
    output     text,
    error      text NOT NULL,
    due_at     bigint,
    started_at bigint NOT NULL,
    ended_at   bigint,
    CONSTRAINT automation_steps_pkey PRIMARY KEY (run_id, path)
);

-- What wakes runs: topic is "entity/KIND/ID", "entity/KIND/*" or "event/TYPE"; and the
-- events that did, until the run has seen them.
CREATE TABLE automation_waits (
    topic  text COLLATE "C" NOT NULL,
    run_id text COLLATE "C" NOT NULL CONSTRAINT automation_waits_run REFERENCES automation_runs ON DELETE CASCADE,
    CONSTRAINT automation_waits_pkey PRIMARY KEY (topic, run_id)
);
CREATE INDEX automation_waits_of_run ON automation_waits (run_id);
CREATE TABLE automation_wakes (
    run_id text COLLATE "C" NOT NULL CONSTRAINT automation_wakes_run REFERENCES automation_runs ON DELETE CASCADE,
    seq    bigint NOT NULL,
    CONSTRAINT automation_wakes_pkey PRIMARY KEY (run_id, seq)
);

-- Triggers that wait whether things stay as they are (for), that count (window) and that
-- go by the clock.
CREATE TABLE automation_dwells (
    automation_id text COLLATE "C" NOT NULL CONSTRAINT automation_dwells_automation REFERENCES automations ON DELETE CASCADE,
    trigger_id    text COLLATE "C" NOT NULL,
    context_key   text COLLATE "C" NOT NULL,
    due_at        bigint NOT NULL,
    event         text NOT NULL,
    CONSTRAINT automation_dwells_pkey PRIMARY KEY (automation_id, trigger_id, context_key)
);
CREATE INDEX automation_dwells_due ON automation_dwells (due_at);
CREATE TABLE automation_occurrences (
    automation_id text COLLATE "C" NOT NULL CONSTRAINT automation_occurrences_automation REFERENCES automations ON DELETE CASCADE,
    trigger_id    text COLLATE "C" NOT NULL,
    part          text COLLATE "C" NOT NULL,
    at            bigint NOT NULL,
    seq           bigint NOT NULL
);
CREATE INDEX automation_occurrences_of ON automation_occurrences (automation_id, trigger_id, part, at);
CREATE INDEX automation_occurrences_at ON automation_occurrences (at);
CREATE TABLE automation_timers (
    automation_id text COLLATE "C" NOT NULL CONSTRAINT automation_timers_automation REFERENCES automations ON DELETE CASCADE,
    trigger_id    text COLLATE "C" NOT NULL,
    due_at        bigint NOT NULL,
    CONSTRAINT automation_timers_pkey PRIMARY KEY (automation_id, trigger_id)
);
CREATE INDEX automation_timers_due ON automation_timers (due_at);

-- How an entity is, and was: what its last event said.
CREATE INDEX events_of_entity ON events (kind, entity_id, seq);
