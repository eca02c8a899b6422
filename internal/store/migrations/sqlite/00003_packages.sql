-- The same tables as PostgreSQL's migration of this number; why they are so is
-- said there.

-- +goose Up

CREATE TABLE script_packages (
    name     TEXT NOT NULL PRIMARY KEY,
    version  TEXT NOT NULL,
    enabled  INTEGER NOT NULL,
    added_by TEXT NOT NULL,
    added_at INTEGER NOT NULL
) STRICT;

CREATE TABLE script_package_install (
    id                INTEGER NOT NULL PRIMARY KEY,
    status            TEXT NOT NULL,
    lockfile_hash     TEXT,
    list              TEXT NOT NULL,
    total_size_bytes  INTEGER NOT NULL,
    last_installed_at INTEGER,
    error_message     TEXT NOT NULL,
    warnings          TEXT NOT NULL,
    done              INTEGER NOT NULL,
    total             INTEGER NOT NULL,
    holder            TEXT,
    lease_until       INTEGER
) STRICT;
INSERT INTO script_package_install (id, status, list, total_size_bytes, error_message, warnings, done, total)
VALUES (1, 'idle', '[]', 0, '', '[]', 0, 0);

CREATE TABLE script_package_lockfiles (
    hash        TEXT NOT NULL PRIMARY KEY,
    serial      INTEGER NOT NULL,
    manifest    TEXT NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT;

CREATE TABLE script_package_blobs (
    integrity TEXT NOT NULL PRIMARY KEY,
    name      TEXT NOT NULL,
    version   TEXT NOT NULL,
    sha256    TEXT NOT NULL,
    size      INTEGER NOT NULL,
    backend   TEXT NOT NULL,
    stored_at INTEGER NOT NULL
) STRICT;

CREATE TABLE script_package_blob_data (
    integrity TEXT NOT NULL,
    part      INTEGER NOT NULL,
    data      BLOB NOT NULL,
    PRIMARY KEY (integrity, part)
) STRICT;

ALTER TABLE satellite_reports ADD COLUMN synced_at INTEGER;
