-- +goose Up

-- When an assignment's results mean that something is wrong (check.Policy), as JSON.
ALTER TABLE assignments ADD COLUMN policy text NOT NULL DEFAULT '{}';

-- What a location remembers beside its status (verdict.Memory), as JSON: its newest
-- results, and whether it is flapping.
ALTER TABLE locations ADD COLUMN memory text NOT NULL DEFAULT '{}';

-- One row for each change of the verdict on a check of a system in an environment,
-- with what it rests on. until is null in the one that holds now.
CREATE TABLE verdicts (
    id             text COLLATE "C" NOT NULL CONSTRAINT verdicts_pkey PRIMARY KEY,
    system_id      text COLLATE "C" NOT NULL CONSTRAINT verdicts_system REFERENCES systems ON DELETE CASCADE,
    check_id       text COLLATE "C" NOT NULL CONSTRAINT verdicts_check REFERENCES checks ON DELETE CASCADE,
    environment_id text COLLATE "C" NOT NULL,
    status         text COLLATE "C" NOT NULL,
    reason         text NOT NULL,
    class          text COLLATE "C" NOT NULL,
    word           text NOT NULL,
    at             bigint NOT NULL,
    until          bigint,
    evidence       text NOT NULL
);
CREATE UNIQUE INDEX verdicts_current ON verdicts (system_id, check_id, environment_id) WHERE until IS NULL;
CREATE INDEX verdicts_by_check ON verdicts (check_id, id);
CREATE INDEX verdicts_by_system ON verdicts (system_id);
CREATE INDEX verdicts_ended ON verdicts (until) WHERE until IS NOT NULL;
