-- What each change of the audit log was about, and what was otherwise before it.

-- +goose Up

ALTER TABLE audit ADD COLUMN object_id text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN changes text NOT NULL DEFAULT '[]'; -- JSON: path, from, to
