-- The same as PostgreSQL's migration of this number; what it means is said there.

-- +goose Up

CREATE TABLE run_details (
    id   TEXT NOT NULL PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;
ALTER TABLE runs ADD COLUMN detail TEXT NOT NULL DEFAULT '';
