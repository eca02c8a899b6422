-- The same columns as PostgreSQL's migration of this number; what they mean is
-- said there.

-- +goose Up

ALTER TABLE satellites ADD COLUMN token_expires_at INTEGER;
ALTER TABLE satellites ADD COLUMN token_last_used_at INTEGER;
ALTER TABLE satellites ADD COLUMN previous_hash TEXT;
ALTER TABLE satellites ADD COLUMN previous_version INTEGER;
ALTER TABLE satellites ADD COLUMN previous_until INTEGER;
ALTER TABLE satellites ADD COLUMN session_credential INTEGER;
ALTER TABLE satellites ADD COLUMN expiry_told INTEGER;

ALTER TABLE transitions ADD COLUMN actor TEXT;
