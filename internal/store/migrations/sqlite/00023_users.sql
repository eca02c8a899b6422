-- The same as PostgreSQL's migration of this number; what it means is said there.

-- +goose Up

CREATE TABLE users (
    id            TEXT NOT NULL PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    role          TEXT NOT NULL,
    disabled      INTEGER NOT NULL,
    password      TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    signed_in_at  INTEGER
) STRICT;

ALTER TABLE api_tokens ADD COLUMN role TEXT NOT NULL DEFAULT 'admin';
ALTER TABLE api_tokens ADD COLUMN user_id TEXT REFERENCES users ON DELETE CASCADE;
ALTER TABLE api_tokens ADD COLUMN created_by TEXT NOT NULL DEFAULT '';
ALTER TABLE api_tokens ADD COLUMN expires_at INTEGER;
ALTER TABLE api_tokens ADD COLUMN last_used_at INTEGER;
CREATE INDEX api_tokens_of_user ON api_tokens (user_id);

CREATE TABLE page_sessions (
    digest     TEXT NOT NULL PRIMARY KEY,
    user_id    TEXT REFERENCES users ON DELETE CASCADE,
    token_id   TEXT REFERENCES api_tokens ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX page_sessions_of_user ON page_sessions (user_id);
CREATE INDEX page_sessions_of_token ON page_sessions (token_id);

CREATE TABLE setup_codes (
    digest     TEXT NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE audit (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    actor_type TEXT NOT NULL,
    actor_id   TEXT NOT NULL,
    actor      TEXT NOT NULL,
    source     TEXT NOT NULL,
    operation  TEXT NOT NULL,
    object     TEXT NOT NULL,
    change     TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    status     INTEGER NOT NULL,
    reason     TEXT NOT NULL,
    request_id TEXT NOT NULL,
    missed     INTEGER NOT NULL
) STRICT;
CREATE INDEX audit_at ON audit (at);
