-- The same as PostgreSQL's migration of this number; what it means is said there.

-- +goose Up

-- How often sessions of a satellite were replaced although their peer was alive, since
-- when, and where the last of them came from; and until when newcomers are held off.
ALTER TABLE satellites ADD COLUMN replaced_times INTEGER NOT NULL DEFAULT 0;
ALTER TABLE satellites ADD COLUMN replaced_since INTEGER;
ALTER TABLE satellites ADD COLUMN replaced_remote TEXT;
ALTER TABLE satellites ADD COLUMN duplicate_until INTEGER;
