-- The same as PostgreSQL's migration of this number; what it means is said there.

-- +goose Up


ALTER TABLE systems ADD COLUMN fields TEXT NOT NULL DEFAULT '{}';
ALTER TABLE systems ADD COLUMN environments TEXT NOT NULL DEFAULT '[]';

ALTER TABLE assignments ADD COLUMN environments TEXT;
ALTER TABLE assignments ADD COLUMN satellite_environments TEXT NOT NULL DEFAULT '{}';

CREATE TABLE dependencies (
    system_id     TEXT NOT NULL CONSTRAINT dependencies_system REFERENCES systems ON DELETE CASCADE,
    depends_on_id TEXT NOT NULL CONSTRAINT dependencies_depends_on REFERENCES systems ON DELETE CASCADE,
    CONSTRAINT dependencies_pkey PRIMARY KEY (system_id, depends_on_id)
) STRICT;
CREATE INDEX dependencies_by_depends_on ON dependencies (depends_on_id);

CREATE TABLE maintenances (
    id           TEXT NOT NULL CONSTRAINT maintenances_pkey PRIMARY KEY,
    name         TEXT NOT NULL CONSTRAINT maintenances_name UNIQUE,
    description  TEXT NOT NULL,
    labels       TEXT NOT NULL,
    mode         TEXT NOT NULL,
    systems      TEXT NOT NULL,
    checks       TEXT NOT NULL,
    starts_at    INTEGER,
    ends_at      INTEGER,
    schedule     TEXT,
    ended_before INTEGER,
    active       INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE maintained (
    maintenance_id TEXT NOT NULL,
    system_id      TEXT NOT NULL,
    check_id       TEXT NOT NULL,
    mode           TEXT NOT NULL,
    from_at        INTEGER NOT NULL,
    to_at          INTEGER
) STRICT;
CREATE UNIQUE INDEX maintained_now ON maintained (system_id, check_id, maintenance_id) WHERE to_at IS NULL;
CREATE INDEX maintained_by_system ON maintained (system_id, from_at);

ALTER TABLE system_health ADD COLUMN told TEXT NOT NULL DEFAULT '';
ALTER TABLE system_health ADD COLUMN maintenance INTEGER NOT NULL DEFAULT 0;
ALTER TABLE system_health ADD COLUMN suppressed_by TEXT NOT NULL DEFAULT '';
UPDATE system_health SET told = status;
