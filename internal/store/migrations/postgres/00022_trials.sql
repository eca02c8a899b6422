-- Checks that are tried, while they are under way.

-- +goose Up

-- Question and answer are sealed; answer is '' as long as there is none.
CREATE TABLE trials (
    id           text COLLATE "C" NOT NULL CONSTRAINT trials_pkey PRIMARY KEY,
    satellite_id text COLLATE "C" NOT NULL REFERENCES satellites ON DELETE CASCADE,
    asked_at     bigint NOT NULL,
    claimed      boolean NOT NULL DEFAULT false,
    question     text NOT NULL,
    answer       text NOT NULL DEFAULT ''
);
