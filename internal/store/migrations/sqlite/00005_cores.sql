-- The same as PostgreSQL's migration of this number; what it means is said there.

-- +goose Up

CREATE TABLE run_requests (
    request_id   TEXT NOT NULL,
    satellite_id TEXT NOT NULL REFERENCES satellites ON DELETE CASCADE,
    check_id     TEXT NOT NULL,
    system_id    TEXT NOT NULL,
    slot         INTEGER NOT NULL,
    requested_at INTEGER NOT NULL,
    requested_by TEXT NOT NULL,
    state        TEXT NOT NULL,
    CONSTRAINT run_requests_pkey PRIMARY KEY (request_id, satellite_id)
);
CREATE INDEX run_requests_waiting ON run_requests (satellite_id) WHERE state = 'waiting';
CREATE INDEX run_requests_by_age ON run_requests (requested_at);
