-- +goose Up

-- What was due where and when: the slots of the schedule (interval and phase) that lie
-- after since and not after until, null for an era that goes on. Told is since when the
-- satellite has worked by the revision that began it. Eras stay when what they name is
-- deleted; there is at most one at a time of a satellite, check, system and environment.
CREATE TABLE eras (
    id             bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT eras_pkey PRIMARY KEY,
    satellite_id   text COLLATE "C" NOT NULL,
    check_id       text COLLATE "C" NOT NULL,
    system_id      text COLLATE "C" NOT NULL,
    environment_id text COLLATE "C" NOT NULL,
    interval_ms    bigint NOT NULL,
    seat           bigint NOT NULL,
    state          text NOT NULL,
    revision       bigint NOT NULL,
    since          bigint NOT NULL,
    until          bigint,
    told_at        bigint
);
CREATE INDEX eras_by_location ON eras (system_id, check_id, satellite_id, environment_id, since);
CREATE INDEX eras_by_check ON eras (check_id, until);
CREATE INDEX eras_untold ON eras (satellite_id, revision) WHERE told_at IS NULL;

-- The skips of a system that reach into a span.
CREATE INDEX skips_by_system ON skips (system_id, to_slot);
