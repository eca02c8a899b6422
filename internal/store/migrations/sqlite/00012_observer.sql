-- The same as PostgreSQL's migration of this number; what it means is said there.

-- +goose Up

ALTER TABLE runs ADD COLUMN inconclusive TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN clock_offset_ms REAL;
ALTER TABLE runs ADD COLUMN clock_uncertainty_ms REAL;

ALTER TABLE satellites ADD COLUMN observer TEXT;
ALTER TABLE satellites ADD COLUMN ill_since INTEGER;
ALTER TABLE satellites ADD COLUMN ill_told TEXT NOT NULL DEFAULT '';
CREATE INDEX satellites_ill ON satellites (id) WHERE ill_since IS NOT NULL OR ill_told <> '';

CREATE TABLE ill_regions (
    region TEXT NOT NULL PRIMARY KEY,
    since  INTEGER NOT NULL
) STRICT;

CREATE TABLE blind_locations (
    system_id      TEXT NOT NULL REFERENCES systems ON DELETE CASCADE,
    check_id       TEXT NOT NULL REFERENCES checks ON DELETE CASCADE,
    satellite_id   TEXT NOT NULL REFERENCES satellites ON DELETE CASCADE,
    environment_id TEXT NOT NULL,
    executed_at    INTEGER NOT NULL,
    received_at    INTEGER NOT NULL,
    reason         TEXT NOT NULL,
    PRIMARY KEY (system_id, check_id, satellite_id, environment_id)
) STRICT;
CREATE INDEX blind_locations_by_check ON blind_locations (check_id);
CREATE INDEX blind_locations_by_satellite ON blind_locations (satellite_id);
