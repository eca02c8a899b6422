-- Runs that were asked for, also of satellites that do not hold the pair.

-- +goose Up

-- What a run was asked for: '' by the schedule, manual by somebody, opinion by a core
-- that is about to change its verdict. Only those of the schedule stand in the ledger
-- and in what is summed up.
ALTER TABLE runs ADD COLUMN asked text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE skips ADD COLUMN asked text COLLATE "C" NOT NULL DEFAULT '';

ALTER TABLE run_requests ADD COLUMN environment_id text COLLATE "C" NOT NULL DEFAULT ''; -- '' is all that the assignment names
ALTER TABLE run_requests ADD COLUMN asked text COLLATE "C" NOT NULL DEFAULT 'manual';
ALTER TABLE run_requests ADD COLUMN guest boolean NOT NULL DEFAULT false; -- the satellite does not hold the pair
ALTER TABLE run_requests ADD COLUMN deadline_ms bigint NOT NULL DEFAULT 0; -- of a guest's run
ALTER TABLE run_requests ADD COLUMN reason text NOT NULL DEFAULT ''; -- why it was refused
CREATE INDEX run_requests_of_satellite ON run_requests (satellite_id, requested_at);

-- The values were for a run that was asked for, of a check that is not the satellite's.
ALTER TABLE secret_leases ADD COLUMN guest boolean NOT NULL DEFAULT false;

-- Verdicts that were about to become worse on the word of places that may fail together,
-- and what others said (verdict.Opinion, as JSON). holder is the core that asks; after
-- the deadline any core decides. again is when others are asked anew.
CREATE TABLE opinions (
    id             text COLLATE "C" NOT NULL CONSTRAINT opinions_pkey PRIMARY KEY,
    system_id      text COLLATE "C" NOT NULL CONSTRAINT opinions_system REFERENCES systems ON DELETE CASCADE,
    check_id       text COLLATE "C" NOT NULL CONSTRAINT opinions_check REFERENCES checks ON DELETE CASCADE,
    environment_id text COLLATE "C" NOT NULL,
    state          text COLLATE "C" NOT NULL, -- held, asked, decided
    holder         text COLLATE "C" NOT NULL DEFAULT '',
    deadline       bigint NOT NULL,
    again          bigint,
    opinion        text NOT NULL,
    CONSTRAINT opinions_key UNIQUE (system_id, check_id, environment_id)
);
CREATE INDEX opinions_open ON opinions (deadline) WHERE state <> 'decided';
