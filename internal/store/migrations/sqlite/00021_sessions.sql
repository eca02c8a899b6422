-- Which sessions live, and which runs have a slot.

-- +goose Up

-- The cores that run, and when each was last seen to; and which one holds the
-- satellite's session, or held the last: '' is not known.
CREATE TABLE cores (
    id      TEXT NOT NULL CONSTRAINT cores_pkey PRIMARY KEY,
    seen_at INTEGER NOT NULL
) STRICT;
ALTER TABLE satellites ADD COLUMN core TEXT NOT NULL DEFAULT '';

-- The satellite named no slot: that of the run is when it was executed.
ALTER TABLE runs ADD COLUMN unslotted INTEGER NOT NULL DEFAULT 0;
