-- The same as PostgreSQL's migration of this number; what it means is said there.

-- +goose Up


CREATE TABLE incidents (
    id          TEXT NOT NULL PRIMARY KEY,
    title       TEXT NOT NULL,
    severity    TEXT NOT NULL,
    status      TEXT NOT NULL,
    cause       TEXT NOT NULL DEFAULT '',
    systems     TEXT NOT NULL,
    parts       TEXT NOT NULL,
    opened_at   INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    resolved_at INTEGER
) STRICT;
CREATE UNIQUE INDEX incidents_cause ON incidents (cause) WHERE cause <> '' AND resolved_at IS NULL;

CREATE TABLE incident_entries (
    id          TEXT NOT NULL PRIMARY KEY,
    incident_id TEXT NOT NULL REFERENCES incidents ON DELETE CASCADE,
    status      TEXT NOT NULL,
    text        TEXT NOT NULL,
    actor       TEXT NOT NULL,
    key         TEXT NOT NULL DEFAULT '',
    at          INTEGER NOT NULL
) STRICT;
CREATE INDEX incident_entries_of_incident ON incident_entries (incident_id, id);
CREATE UNIQUE INDEX incident_entries_key ON incident_entries (key) WHERE key <> '';

CREATE TABLE notes (
    id        TEXT NOT NULL PRIMARY KEY,
    kind      TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    text      TEXT NOT NULL,
    actor     TEXT NOT NULL,
    key       TEXT NOT NULL DEFAULT '',
    at        INTEGER NOT NULL
) STRICT;
CREATE INDEX notes_of_entity ON notes (kind, entity_id, id);
CREATE UNIQUE INDEX notes_key ON notes (key) WHERE key <> '';

CREATE TABLE channels (
    id            TEXT NOT NULL PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    description   TEXT NOT NULL DEFAULT '',
    enabled       INTEGER NOT NULL,
    type          TEXT NOT NULL,
    config        TEXT NOT NULL,
    delivered_at  INTEGER,
    failing_since INTEGER,
    last_error    TEXT NOT NULL DEFAULT '',
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE deliveries (
    key        TEXT NOT NULL,
    channel_id TEXT NOT NULL REFERENCES channels ON DELETE CASCADE,
    state      TEXT NOT NULL,
    title      TEXT NOT NULL,
    attempts   INTEGER NOT NULL,
    error      TEXT NOT NULL DEFAULT '',
    at         INTEGER NOT NULL,
    PRIMARY KEY (channel_id, key)
) STRICT;
CREATE INDEX deliveries_at ON deliveries (at);
