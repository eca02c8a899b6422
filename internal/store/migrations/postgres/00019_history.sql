-- +goose Up

-- The evidence of routine runs, healthy ones, which is kept for a shorter time than the
-- runs: packed, about a hundred runs of one transaction together. Keys lead with the
-- time at which they were made. Runs that have theirs here say in which pack; others
-- have it in their own row.
CREATE TABLE run_details (
    id   text COLLATE "C" CONSTRAINT run_details_pkey PRIMARY KEY,
    body bytea NOT NULL
);
ALTER TABLE run_details ALTER COLUMN body SET STORAGE EXTERNAL; -- it is compressed already
ALTER TABLE runs ADD COLUMN detail text COLLATE "C" NOT NULL DEFAULT '';
