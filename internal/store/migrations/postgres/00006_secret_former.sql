-- +goose Up

-- Values that a secret had before, and that of a deleted one: results that hold
-- them are still to be redacted for a while.
CREATE TABLE secret_former (
    secret_id     TEXT NOT NULL,
    version       BIGINT NOT NULL,
    name          TEXT NOT NULL,
    sealed        TEXT NOT NULL,
    superseded_at BIGINT NOT NULL,
    CONSTRAINT secret_former_pkey PRIMARY KEY (secret_id, version)
);
CREATE INDEX secret_former_by_name ON secret_former (name);
CREATE INDEX secret_former_by_age ON secret_former (superseded_at);
INSERT INTO secret_former (secret_id, version, name, sealed, superseded_at)
    SELECT id, version - 1, name, previous, superseded_at FROM secrets WHERE previous IS NOT NULL AND superseded_at IS NOT NULL;
ALTER TABLE secrets DROP COLUMN previous;
ALTER TABLE secrets DROP COLUMN superseded_at;
