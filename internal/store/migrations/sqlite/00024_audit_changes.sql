-- What each change of the audit log was about, and what was otherwise before it.

-- +goose Up

ALTER TABLE audit ADD COLUMN object_id TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN changes TEXT NOT NULL DEFAULT '[]'; -- JSON: path, from, to
