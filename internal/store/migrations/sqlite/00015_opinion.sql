-- The same as PostgreSQL's migration of this number; what it means is said there.

-- +goose Up

ALTER TABLE runs ADD COLUMN asked TEXT NOT NULL DEFAULT '';
ALTER TABLE skips ADD COLUMN asked TEXT NOT NULL DEFAULT '';

ALTER TABLE run_requests ADD COLUMN environment_id TEXT NOT NULL DEFAULT '';
ALTER TABLE run_requests ADD COLUMN asked TEXT NOT NULL DEFAULT 'manual';
ALTER TABLE run_requests ADD COLUMN guest INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run_requests ADD COLUMN deadline_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run_requests ADD COLUMN reason TEXT NOT NULL DEFAULT '';
CREATE INDEX run_requests_of_satellite ON run_requests (satellite_id, requested_at);

ALTER TABLE secret_leases ADD COLUMN guest INTEGER NOT NULL DEFAULT 0;
