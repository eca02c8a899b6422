-- The same tables as PostgreSQL's migration of this number; why they are so is said there.

-- +goose Up

CREATE TABLE run_batches (
    seq  INTEGER NOT NULL PRIMARY KEY,
    size INTEGER NOT NULL,
    runs TEXT NOT NULL
) STRICT;

CREATE TABLE rollup_minutes (
    bucket         INTEGER NOT NULL,
    system_id      TEXT NOT NULL,
    check_id       TEXT NOT NULL,
    satellite_id   TEXT NOT NULL,
    environment_id TEXT NOT NULL,
    healthy        INTEGER NOT NULL,
    degraded       INTEGER NOT NULL,
    unhealthy      INTEGER NOT NULL,
    inconclusive   INTEGER NOT NULL,
    late           INTEGER NOT NULL,
    latencies      INTEGER NOT NULL,
    latency_sum    INTEGER NOT NULL,
    latency_min    INTEGER NOT NULL,
    latency_max    INTEGER NOT NULL,
    sketch         BLOB NOT NULL,
    PRIMARY KEY (bucket, system_id, check_id, satellite_id, environment_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_hours (
    bucket         INTEGER NOT NULL,
    system_id      TEXT NOT NULL,
    check_id       TEXT NOT NULL,
    satellite_id   TEXT NOT NULL,
    environment_id TEXT NOT NULL,
    healthy        INTEGER NOT NULL,
    degraded       INTEGER NOT NULL,
    unhealthy      INTEGER NOT NULL,
    inconclusive   INTEGER NOT NULL,
    late           INTEGER NOT NULL,
    latencies      INTEGER NOT NULL,
    latency_sum    INTEGER NOT NULL,
    latency_min    INTEGER NOT NULL,
    latency_max    INTEGER NOT NULL,
    sketch         BLOB NOT NULL,
    PRIMARY KEY (system_id, bucket, check_id, satellite_id, environment_id)
) STRICT, WITHOUT ROWID;
-- For retention: SQLite has no partitions.
CREATE INDEX rollup_hours_by_bucket ON rollup_hours (bucket);

CREATE TABLE rollup_days (
    bucket         INTEGER NOT NULL,
    system_id      TEXT NOT NULL,
    check_id       TEXT NOT NULL,
    satellite_id   TEXT NOT NULL,
    environment_id TEXT NOT NULL,
    healthy        INTEGER NOT NULL,
    degraded       INTEGER NOT NULL,
    unhealthy      INTEGER NOT NULL,
    inconclusive   INTEGER NOT NULL,
    late           INTEGER NOT NULL,
    latencies      INTEGER NOT NULL,
    latency_sum    INTEGER NOT NULL,
    latency_min    INTEGER NOT NULL,
    latency_max    INTEGER NOT NULL,
    sketch         BLOB NOT NULL,
    PRIMARY KEY (system_id, bucket, check_id, satellite_id, environment_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX rollup_days_by_bucket ON rollup_days (bucket);

CREATE TABLE rollup_marks (
    tier      TEXT NOT NULL,
    bucket    INTEGER NOT NULL,
    system_id TEXT NOT NULL,
    PRIMARY KEY (tier, bucket, system_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_state (
    id           INTEGER NOT NULL PRIMARY KEY,
    minutes_from INTEGER NOT NULL,
    hours_from   INTEGER NOT NULL
) STRICT;
INSERT INTO rollup_state (id, minutes_from, hours_from) VALUES (1, 0, 0);
