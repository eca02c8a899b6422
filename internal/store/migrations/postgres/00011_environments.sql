-- +goose Up

-- A system's own fields, which its runs know, and its environments in their order.
ALTER TABLE systems ADD COLUMN fields text NOT NULL DEFAULT '{}';
ALTER TABLE systems ADD COLUMN environments text NOT NULL DEFAULT '[]';

-- The environments in which it runs, by name; null for all. satellite_environments
-- is the same for single satellites, by name.
ALTER TABLE assignments ADD COLUMN environments text;
ALTER TABLE assignments ADD COLUMN satellite_environments text NOT NULL DEFAULT '{}';

-- What a system cannot be well without.
CREATE TABLE dependencies (
    system_id     text COLLATE "C" NOT NULL CONSTRAINT dependencies_system REFERENCES systems ON DELETE CASCADE,
    depends_on_id text COLLATE "C" NOT NULL CONSTRAINT dependencies_depends_on REFERENCES systems ON DELETE CASCADE,
    CONSTRAINT dependencies_pkey PRIMARY KEY (system_id, depends_on_id)
);
CREATE INDEX dependencies_by_depends_on ON dependencies (depends_on_id);

-- Planned maintenance. systems, checks and schedule are JSON. Windows that began
-- before ended_before are over; active says what was recorded last.
CREATE TABLE maintenances (
    id           text COLLATE "C" NOT NULL CONSTRAINT maintenances_pkey PRIMARY KEY,
    name         text COLLATE "C" NOT NULL CONSTRAINT maintenances_name UNIQUE,
    description  text NOT NULL,
    labels       text NOT NULL,
    mode         text COLLATE "C" NOT NULL,
    systems      text NOT NULL,
    checks       text NOT NULL,
    starts_at    bigint,
    ends_at      bigint,
    schedule     text,
    ended_before bigint,
    active       boolean NOT NULL,
    created_at   bigint NOT NULL,
    updated_at   bigint NOT NULL
);

-- Which systems were in maintenance from when to when; to_at is null while they are.
-- check_id is '' for all checks of the system. Rows outlive what they name, as runs do.
CREATE TABLE maintained (
    maintenance_id text COLLATE "C" NOT NULL,
    system_id      text COLLATE "C" NOT NULL,
    check_id       text COLLATE "C" NOT NULL,
    mode           text COLLATE "C" NOT NULL,
    from_at        bigint NOT NULL,
    to_at          bigint
);
CREATE UNIQUE INDEX maintained_now ON maintained (system_id, check_id, maintenance_id) WHERE to_at IS NULL;
CREATE INDEX maintained_by_system ON maintained (system_id, from_at);

-- told is the status that automations were told last. It differs from status while the
-- system is in maintenance, or its failure follows from those in suppressed_by.
ALTER TABLE system_health ADD COLUMN told text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE system_health ADD COLUMN maintenance boolean NOT NULL DEFAULT false;
ALTER TABLE system_health ADD COLUMN suppressed_by text NOT NULL DEFAULT '';
UPDATE system_health SET told = status;
