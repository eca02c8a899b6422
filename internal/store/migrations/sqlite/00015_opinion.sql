-- The same as PostgreSQL's migration of this number; what it means is said there.

-- +goose Up

ALTER TABLE runs ADD COLUMN asked TEXT NOT NULL DEFAULT '';
ALTER TABLE skips ADD COLUMN asked TEXT NOT NULL DEFAULT '';

ALTER TABLE run_requests ADD COLUMN environment_id TEXT NOT NULL DEFAULT '';
ALTER TABLE run_requests ADD COLUMN asked TEXT NOT NULL DEFAULT 'manual';
ALTER TABLE run_requests ADD COLUMN guest INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run_requests ADD COLUMN deadline_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run_requests ADD COLUMN reason TEXT NOT NULL DEFAULT '';
CREATE INDEX run_requests_of_satellite ON run_requests (satellite_id, requested_at);

ALTER TABLE secret_leases ADD COLUMN guest INTEGER NOT NULL DEFAULT 0;

CREATE TABLE opinions (
    id             TEXT NOT NULL PRIMARY KEY,
    system_id      TEXT NOT NULL REFERENCES systems ON DELETE CASCADE,
    check_id       TEXT NOT NULL REFERENCES checks ON DELETE CASCADE,
    environment_id TEXT NOT NULL,
    state          TEXT NOT NULL,
    holder         TEXT NOT NULL DEFAULT '',
    deadline       INTEGER NOT NULL,
    again          INTEGER,
    opinion        TEXT NOT NULL,
    UNIQUE (system_id, check_id, environment_id)
) STRICT;
CREATE INDEX opinions_open ON opinions (deadline) WHERE state <> 'decided';
