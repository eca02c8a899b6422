-- Checks that are tried, while they are under way.

-- +goose Up

-- Question and answer are sealed; answer is '' as long as there is none.
CREATE TABLE trials (
    id           TEXT NOT NULL CONSTRAINT trials_pkey PRIMARY KEY,
    satellite_id TEXT NOT NULL REFERENCES satellites ON DELETE CASCADE,
    asked_at     INTEGER NOT NULL,
    claimed      INTEGER NOT NULL DEFAULT 0,
    question     TEXT NOT NULL,
    answer       TEXT NOT NULL DEFAULT ''
) STRICT;
