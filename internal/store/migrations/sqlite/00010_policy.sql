-- The same as PostgreSQL's migration of this number; what it means is said there.

-- +goose Up

ALTER TABLE assignments ADD COLUMN policy TEXT NOT NULL DEFAULT '{}';

ALTER TABLE locations ADD COLUMN memory TEXT NOT NULL DEFAULT '{}';

CREATE TABLE verdicts (
    id             TEXT NOT NULL PRIMARY KEY,
    system_id      TEXT NOT NULL REFERENCES systems ON DELETE CASCADE,
    check_id       TEXT NOT NULL REFERENCES checks ON DELETE CASCADE,
    environment_id TEXT NOT NULL,
    status         TEXT NOT NULL,
    reason         TEXT NOT NULL,
    class          TEXT NOT NULL,
    word           TEXT NOT NULL,
    at             INTEGER NOT NULL,
    until          INTEGER,
    evidence       TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX verdicts_current ON verdicts (system_id, check_id, environment_id) WHERE until IS NULL;
CREATE INDEX verdicts_by_check ON verdicts (check_id, id);
CREATE INDEX verdicts_by_system ON verdicts (system_id);
CREATE INDEX verdicts_ended ON verdicts (until) WHERE until IS NOT NULL;
