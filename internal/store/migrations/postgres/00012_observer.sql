-- Satellites that are ill themselves.

-- +goose Up

-- Why a run that failed says nothing about its system, '' for all others; and the core's
-- clock less the satellite's as it was known when the run came, and how wrong that may be.
ALTER TABLE runs ADD COLUMN inconclusive text NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN clock_offset_ms double precision;
ALTER TABLE runs ADD COLUMN clock_uncertainty_ms double precision;

-- What the satellite says of itself as an observer, since when it has been ill, and by
-- whom that was told: '' nobody yet, satellite, region.
ALTER TABLE satellites ADD COLUMN observer text;
ALTER TABLE satellites ADD COLUMN ill_since bigint;
ALTER TABLE satellites ADD COLUMN ill_told text COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX satellites_ill ON satellites (id) WHERE ill_since IS NOT NULL OR ill_told <> '';

-- Regions of which it was told that most satellites are ill.
CREATE TABLE ill_regions (
    region text COLLATE "C" NOT NULL CONSTRAINT ill_regions_pkey PRIMARY KEY,
    since  bigint NOT NULL
);

-- The newest run of a location that says nothing. A newer one in locations means that it
-- sees again.
CREATE TABLE blind_locations (
    system_id      text COLLATE "C" NOT NULL CONSTRAINT blind_locations_system REFERENCES systems ON DELETE CASCADE,
    check_id       text COLLATE "C" NOT NULL CONSTRAINT blind_locations_check REFERENCES checks ON DELETE CASCADE,
    satellite_id   text COLLATE "C" NOT NULL CONSTRAINT blind_locations_satellite REFERENCES satellites ON DELETE CASCADE,
    environment_id text COLLATE "C" NOT NULL,
    executed_at    bigint NOT NULL,
    received_at    bigint NOT NULL,
    reason         text NOT NULL,
    CONSTRAINT blind_locations_pkey PRIMARY KEY (system_id, check_id, satellite_id, environment_id)
);
CREATE INDEX blind_locations_by_check ON blind_locations (check_id);
CREATE INDEX blind_locations_by_satellite ON blind_locations (satellite_id);
