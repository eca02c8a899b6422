-- The same as PostgreSQL's migration of this number; what it means is said there.

-- +goose Up

ALTER TABLE verdicts ADD COLUMN told TEXT NOT NULL DEFAULT '';
UPDATE verdicts SET told = status;
