-- +goose Up

-- One row: the keys by which secrets are sealed, themselves sealed by the root key,
-- which is not in the database.
CREATE TABLE secret_keysets (
    id         INTEGER NOT NULL PRIMARY KEY,
    wrapped    TEXT NOT NULL,
    updated_at INTEGER NOT NULL
);

-- sealed is the value, previous the one before it, kept for a while because results
-- that hold it are still to be redacted. Names with a colon are the core's own:
-- credentials that stood in a check.
CREATE TABLE secrets (
    id            TEXT NOT NULL PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    description   TEXT NOT NULL,
    version       INTEGER NOT NULL,
    sealed        TEXT NOT NULL,
    key_id        TEXT NOT NULL,
    previous      TEXT,
    superseded_at INTEGER,
    external      TEXT NOT NULL,
    updated_at    INTEGER NOT NULL,
    updated_by    TEXT NOT NULL
);

-- Who asked for values, and whether it got them. Never the values.
CREATE TABLE secret_leases (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    satellite_id TEXT NOT NULL,
    check_id     TEXT NOT NULL,
    collector    TEXT NOT NULL,
    run_id       TEXT NOT NULL,
    names        TEXT NOT NULL,
    allowed      INTEGER NOT NULL,
    sealed       INTEGER NOT NULL,
    reason       TEXT NOT NULL,
    at           INTEGER NOT NULL
);
CREATE INDEX secret_leases_by_satellite ON secret_leases (satellite_id, id);
CREATE INDEX secret_leases_by_time ON secret_leases (at);
