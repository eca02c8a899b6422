-- The same tables as PostgreSQL's migration of this number; why they are so is
-- said there. Times are UTC microseconds, JSON is text, booleans are 0 and 1.

-- +goose Up

CREATE TABLE satellites (
    id                    TEXT NOT NULL PRIMARY KEY,
    name                  TEXT NOT NULL UNIQUE,
    region                TEXT NOT NULL,
    tags                  TEXT NOT NULL,
    token_hash            TEXT NOT NULL,
    credential_version    INTEGER NOT NULL DEFAULT 1,
    created_at            INTEGER NOT NULL,
    offline_threshold_ms  INTEGER,
    last_heartbeat_at     INTEGER,
    last_connection_event TEXT,
    epoch                 INTEGER NOT NULL DEFAULT 0,
    version               TEXT,
    capabilities          TEXT,
    pulse                 TEXT,
    desired_revision      INTEGER NOT NULL DEFAULT 1
) STRICT;

CREATE TABLE satellite_reports (
    satellite_id     TEXT NOT NULL PRIMARY KEY
                     REFERENCES satellites ON DELETE CASCADE,
    inventory        TEXT,
    applied_revision INTEGER,
    applied_errors   TEXT,
    sync_state       TEXT
) STRICT;

CREATE TABLE observer (
    id    INTEGER NOT NULL PRIMARY KEY,
    since INTEGER,
    at    INTEGER
) STRICT;
INSERT INTO observer (id) VALUES (1);

CREATE TABLE systems (
    id          TEXT NOT NULL PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    labels      TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE checks (
    id          TEXT NOT NULL PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    labels      TEXT NOT NULL,
    spec        TEXT NOT NULL,
    interval_us INTEGER NOT NULL,
    paused      INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE assignments (
    id            TEXT NOT NULL PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    labels        TEXT NOT NULL,
    check_id      TEXT NOT NULL REFERENCES checks ON DELETE CASCADE,
    system_id     TEXT NOT NULL REFERENCES systems ON DELETE CASCADE,
    include_local INTEGER NOT NULL,
    satellites    TEXT NOT NULL,
    enabled       INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    UNIQUE (check_id, system_id)
) STRICT;
CREATE INDEX assignments_by_system ON assignments (system_id);

CREATE TABLE placements (
    satellite_id  TEXT NOT NULL REFERENCES satellites ON DELETE CASCADE,
    check_id      TEXT NOT NULL,
    system_id     TEXT NOT NULL,
    assignment_id TEXT NOT NULL,
    removed_at    INTEGER,
    PRIMARY KEY (satellite_id, check_id, system_id)
) STRICT;
CREATE INDEX placements_by_assignment ON placements (assignment_id);
CREATE INDEX placements_by_system ON placements (system_id);

CREATE TABLE runs (
    run_id         TEXT NOT NULL PRIMARY KEY,
    satellite_id   TEXT NOT NULL,
    check_id       TEXT NOT NULL,
    system_id      TEXT NOT NULL,
    environment_id TEXT NOT NULL,
    status         TEXT NOT NULL,
    latency_ms     INTEGER,
    executed_at    INTEGER NOT NULL,
    received_at    INTEGER NOT NULL,
    slot           INTEGER NOT NULL,
    revision       INTEGER NOT NULL,
    source         TEXT NOT NULL,
    message        TEXT NOT NULL,
    result         TEXT
) STRICT;
CREATE INDEX runs_by_system ON runs (system_id, run_id);
CREATE INDEX runs_by_check ON runs (check_id, run_id);
-- No index by satellite: each row of a batch would touch another page of it, and
-- SQLite logs whole pages, which halves the rate of ingest. The small fleets that
-- SQLite serves list a satellite's runs by walking the newest runs.

CREATE TABLE skips (
    id             TEXT NOT NULL PRIMARY KEY,
    satellite_id   TEXT NOT NULL,
    check_id       TEXT NOT NULL,
    system_id      TEXT NOT NULL,
    environment_id TEXT NOT NULL,
    from_slot      INTEGER NOT NULL,
    to_slot        INTEGER NOT NULL,
    count          INTEGER NOT NULL,
    reason         TEXT NOT NULL,
    received_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE locations (
    system_id      TEXT NOT NULL REFERENCES systems ON DELETE CASCADE,
    check_id       TEXT NOT NULL REFERENCES checks ON DELETE CASCADE,
    satellite_id   TEXT NOT NULL REFERENCES satellites ON DELETE CASCADE,
    environment_id TEXT NOT NULL,
    status         TEXT NOT NULL,
    since          INTEGER NOT NULL,
    executed_at    INTEGER NOT NULL,
    received_at    INTEGER NOT NULL,
    run_id         TEXT NOT NULL,
    latency_ms     INTEGER,
    message        TEXT NOT NULL,
    PRIMARY KEY (system_id, check_id, satellite_id, environment_id)
) STRICT;
CREATE INDEX locations_by_check ON locations (check_id);
CREATE INDEX locations_by_satellite ON locations (satellite_id);

CREATE TABLE system_health (
    system_id      TEXT NOT NULL PRIMARY KEY
                   REFERENCES systems ON DELETE CASCADE,
    status         TEXT NOT NULL,
    healthy_checks INTEGER NOT NULL,
    total_checks   INTEGER NOT NULL,
    since          INTEGER NOT NULL,
    reason         TEXT NOT NULL
) STRICT;

CREATE TABLE transitions (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL,
    entity_id  TEXT NOT NULL,
    field      TEXT NOT NULL,
    from_value TEXT,
    to_value   TEXT NOT NULL,
    at         INTEGER NOT NULL,
    change_id  TEXT NOT NULL
) STRICT;
CREATE INDEX transitions_by_entity ON transitions (kind, entity_id, id);

CREATE TABLE events (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    type      TEXT NOT NULL,
    kind      TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    change_id TEXT NOT NULL,
    changed   TEXT NOT NULL,
    prev      TEXT NOT NULL,
    next      TEXT NOT NULL,
    payload   TEXT NOT NULL,
    actor     TEXT NOT NULL,
    at        INTEGER NOT NULL
) STRICT;

CREATE TABLE api_tokens (
    id         TEXT NOT NULL PRIMARY KEY,
    name       TEXT NOT NULL,
    digest     TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;
