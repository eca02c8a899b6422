-- Runs that people ask for, to be passed on by the core that holds the satellite.

-- +goose Up

CREATE TABLE run_requests (
    request_id   text COLLATE "C" NOT NULL,
    satellite_id text COLLATE "C" NOT NULL CONSTRAINT run_requests_satellite REFERENCES satellites ON DELETE CASCADE,
    check_id     text COLLATE "C" NOT NULL,
    system_id    text COLLATE "C" NOT NULL,
    slot         bigint NOT NULL, -- milliseconds
    requested_at bigint NOT NULL,
    requested_by text NOT NULL,
    state        text COLLATE "C" NOT NULL, -- waiting, sent
    CONSTRAINT run_requests_pkey PRIMARY KEY (request_id, satellite_id)
);
CREATE INDEX run_requests_waiting ON run_requests (satellite_id) WHERE state = 'waiting';
CREATE INDEX run_requests_by_age ON run_requests (requested_at);
