-- Times are UTC microseconds, JSON is text, ids and names compare by bytes
-- (COLLATE "C"), as they do in SQLite. Migrations of one number mean the same in
-- both engines and are never edited after a release.

-- +goose Up

-- Nothing that changes with a heartbeat is indexed, and pages have room, so that
-- flushing heartbeats rewrites rows in place (HOT). What satellites report rarely
-- and at length is in satellite_reports, to keep this row short.
CREATE TABLE satellites (
    id                    text COLLATE "C" NOT NULL CONSTRAINT satellites_pkey PRIMARY KEY,
    name                  text COLLATE "C" NOT NULL CONSTRAINT satellites_name UNIQUE,
    region                text COLLATE "C" NOT NULL,
    tags                  text NOT NULL,
    token_hash            text NOT NULL,
    credential_version    bigint NOT NULL DEFAULT 1,
    created_at            bigint NOT NULL,
    offline_threshold_ms  bigint,
    last_heartbeat_at     bigint,
    last_connection_event text COLLATE "C",
    epoch                 bigint NOT NULL DEFAULT 0,
    version               text,
    capabilities          text,
    pulse                 text,
    desired_revision      bigint NOT NULL DEFAULT 1
) WITH (fillfactor = 70);

CREATE TABLE satellite_reports (
    satellite_id     text COLLATE "C" NOT NULL CONSTRAINT satellite_reports_pkey PRIMARY KEY
                     CONSTRAINT satellite_reports_satellite REFERENCES satellites ON DELETE CASCADE,
    inventory        text,
    applied_revision bigint,
    applied_errors   text,
    sync_state       text
);

-- One row: when a core last looked, and since when without a gap.
CREATE TABLE observer (
    id    integer NOT NULL CONSTRAINT observer_pkey PRIMARY KEY,
    since bigint,
    at    bigint
);
INSERT INTO observer (id) VALUES (1);

CREATE TABLE systems (
    id          text COLLATE "C" NOT NULL CONSTRAINT systems_pkey PRIMARY KEY,
    name        text COLLATE "C" NOT NULL CONSTRAINT systems_name UNIQUE,
    description text NOT NULL,
    labels      text NOT NULL,
    created_at  bigint NOT NULL,
    updated_at  bigint NOT NULL
);

-- interval_us and paused repeat what the specification says, for joins.
CREATE TABLE checks (
    id          text COLLATE "C" NOT NULL CONSTRAINT checks_pkey PRIMARY KEY,
    name        text COLLATE "C" NOT NULL CONSTRAINT checks_name UNIQUE,
    labels      text NOT NULL,
    spec        text NOT NULL,
    interval_us bigint NOT NULL,
    paused      boolean NOT NULL,
    created_at  bigint NOT NULL,
    updated_at  bigint NOT NULL
);

CREATE TABLE assignments (
    id            text COLLATE "C" NOT NULL CONSTRAINT assignments_pkey PRIMARY KEY,
    name          text COLLATE "C" NOT NULL CONSTRAINT assignments_name UNIQUE,
    labels        text NOT NULL,
    check_id      text COLLATE "C" NOT NULL CONSTRAINT assignments_check REFERENCES checks ON DELETE CASCADE,
    system_id     text COLLATE "C" NOT NULL CONSTRAINT assignments_system REFERENCES systems ON DELETE CASCADE,
    include_local boolean NOT NULL,
    satellites    text NOT NULL,
    enabled       boolean NOT NULL,
    created_at    bigint NOT NULL,
    updated_at    bigint NOT NULL,
    CONSTRAINT assignments_pair UNIQUE (check_id, system_id)
);
CREATE INDEX assignments_by_system ON assignments (system_id);

-- A placement outlives its assignment as a grant (removed_at), hence no key to it.
CREATE TABLE placements (
    satellite_id  text COLLATE "C" NOT NULL CONSTRAINT placements_satellite REFERENCES satellites ON DELETE CASCADE,
    check_id      text COLLATE "C" NOT NULL,
    system_id     text COLLATE "C" NOT NULL,
    assignment_id text COLLATE "C" NOT NULL,
    removed_at    bigint,
    CONSTRAINT placements_pkey PRIMARY KEY (satellite_id, check_id, system_id)
);
CREATE INDEX placements_by_assignment ON placements (assignment_id);
CREATE INDEX placements_by_system ON placements (system_id);

-- run_id leads with the slot in milliseconds, so its key is also the order of time
-- and stays hot at its end. History: no keys to what may be deleted.
CREATE TABLE runs (
    run_id         text COLLATE "C" NOT NULL CONSTRAINT runs_pkey PRIMARY KEY,
    satellite_id   text COLLATE "C" NOT NULL,
    check_id       text COLLATE "C" NOT NULL,
    system_id      text COLLATE "C" NOT NULL,
    environment_id text COLLATE "C" NOT NULL,
    status         text COLLATE "C" NOT NULL,
    latency_ms     bigint,
    executed_at    bigint NOT NULL,
    received_at    bigint NOT NULL,
    slot           bigint NOT NULL,
    revision       bigint NOT NULL,
    source         text NOT NULL,
    message        text NOT NULL,
    result         text
);
CREATE INDEX runs_by_system ON runs (system_id, run_id);
CREATE INDEX runs_by_check ON runs (check_id, run_id);
CREATE INDEX runs_by_satellite ON runs (satellite_id, run_id);

CREATE TABLE skips (
    id             text COLLATE "C" NOT NULL CONSTRAINT skips_pkey PRIMARY KEY,
    satellite_id   text COLLATE "C" NOT NULL,
    check_id       text COLLATE "C" NOT NULL,
    system_id      text COLLATE "C" NOT NULL,
    environment_id text COLLATE "C" NOT NULL,
    from_slot      bigint NOT NULL,
    to_slot        bigint NOT NULL,
    count          bigint NOT NULL,
    reason         text NOT NULL,
    received_at    bigint NOT NULL
);

CREATE TABLE locations (
    system_id      text COLLATE "C" NOT NULL CONSTRAINT locations_system REFERENCES systems ON DELETE CASCADE,
    check_id       text COLLATE "C" NOT NULL CONSTRAINT locations_check REFERENCES checks ON DELETE CASCADE,
    satellite_id   text COLLATE "C" NOT NULL CONSTRAINT locations_satellite REFERENCES satellites ON DELETE CASCADE,
    environment_id text COLLATE "C" NOT NULL,
    status         text COLLATE "C" NOT NULL,
    since          bigint NOT NULL,
    executed_at    bigint NOT NULL,
    received_at    bigint NOT NULL,
    run_id         text COLLATE "C" NOT NULL,
    latency_ms     bigint,
    message        text NOT NULL,
    CONSTRAINT locations_pkey PRIMARY KEY (system_id, check_id, satellite_id, environment_id)
) WITH (fillfactor = 70);
CREATE INDEX locations_by_check ON locations (check_id);
CREATE INDEX locations_by_satellite ON locations (satellite_id);

CREATE TABLE system_health (
    system_id      text COLLATE "C" NOT NULL CONSTRAINT system_health_pkey PRIMARY KEY
                   CONSTRAINT system_health_system REFERENCES systems ON DELETE CASCADE,
    status         text COLLATE "C" NOT NULL,
    healthy_checks bigint NOT NULL,
    total_checks   bigint NOT NULL,
    since          bigint NOT NULL,
    reason         text NOT NULL
) WITH (fillfactor = 70);

CREATE TABLE transitions (
    id         bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT transitions_pkey PRIMARY KEY,
    kind       text COLLATE "C" NOT NULL,
    entity_id  text COLLATE "C" NOT NULL,
    field      text COLLATE "C" NOT NULL,
    from_value text,
    to_value   text NOT NULL,
    at         bigint NOT NULL,
    change_id  text COLLATE "C" NOT NULL
);
CREATE INDEX transitions_by_entity ON transitions (kind, entity_id, id);

-- seq rises in the order in which rows become visible: see AppendEvents.
CREATE TABLE events (
    seq       bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT events_pkey PRIMARY KEY,
    type      text COLLATE "C" NOT NULL,
    kind      text COLLATE "C" NOT NULL,
    entity_id text COLLATE "C" NOT NULL,
    change_id text COLLATE "C" NOT NULL,
    changed   text NOT NULL,
    prev      text NOT NULL,
    next      text NOT NULL,
    payload   text NOT NULL,
    actor     text NOT NULL,
    at        bigint NOT NULL
);

CREATE TABLE api_tokens (
    id         text COLLATE "C" NOT NULL CONSTRAINT api_tokens_pkey PRIMARY KEY,
    name       text COLLATE "C" NOT NULL,
    digest     text COLLATE "C" NOT NULL CONSTRAINT api_tokens_digest UNIQUE,
    created_at bigint NOT NULL
);
