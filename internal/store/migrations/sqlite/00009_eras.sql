-- The same as PostgreSQL's migration of this number; what it means is said there.

-- +goose Up

CREATE TABLE eras (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    satellite_id   TEXT NOT NULL,
    check_id       TEXT NOT NULL,
    system_id      TEXT NOT NULL,
    environment_id TEXT NOT NULL,
    interval_ms    INTEGER NOT NULL,
    seat           INTEGER NOT NULL,
    state          TEXT NOT NULL,
    revision       INTEGER NOT NULL,
    since          INTEGER NOT NULL,
    until          INTEGER,
    told_at        INTEGER
) STRICT;
CREATE INDEX eras_by_location ON eras (system_id, check_id, satellite_id, environment_id, since);
CREATE INDEX eras_by_check ON eras (check_id, until);
CREATE INDEX eras_untold ON eras (satellite_id, revision) WHERE told_at IS NULL;

CREATE INDEX skips_by_system ON skips (system_id, to_slot);
