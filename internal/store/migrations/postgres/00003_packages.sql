-- Script packages: the list, its installation, the trees that were made, and their blobs.

-- +goose Up

CREATE TABLE script_packages (
    name     text COLLATE "C" NOT NULL CONSTRAINT script_packages_pkey PRIMARY KEY,
    version  text NOT NULL,
    enabled  boolean NOT NULL,
    added_by text NOT NULL,
    added_at bigint NOT NULL
);

-- One row. holder is whoever installs or collects, until its lease has lapsed.
CREATE TABLE script_package_install (
    id                integer NOT NULL CONSTRAINT script_package_install_pkey PRIMARY KEY,
    status            text NOT NULL,
    lockfile_hash     text,
    list              text NOT NULL,
    total_size_bytes  bigint NOT NULL,
    last_installed_at bigint,
    error_message     text NOT NULL,
    warnings          text NOT NULL,
    done              bigint NOT NULL,
    total             bigint NOT NULL,
    holder            text,
    lease_until       bigint
);
INSERT INTO script_package_install (id, status, list, total_size_bytes, error_message, warnings, done, total)
VALUES (1, 'idle', '[]', 0, '', '[]', 0, 0);

-- serial rises with every installation: the highest is the current tree, if there
-- is one, and the next the previous.
CREATE TABLE script_package_lockfiles (
    hash        text COLLATE "C" NOT NULL CONSTRAINT script_package_lockfiles_pkey PRIMARY KEY,
    serial      bigint NOT NULL,
    manifest    text NOT NULL,
    recorded_at bigint NOT NULL
);

CREATE TABLE script_package_blobs (
    integrity text COLLATE "C" NOT NULL CONSTRAINT script_package_blobs_pkey PRIMARY KEY,
    name      text NOT NULL,
    version   text NOT NULL,
    sha256    text NOT NULL,
    size      bigint NOT NULL,
    backend   text NOT NULL,
    stored_at bigint NOT NULL
);

-- The bytes of blobs that are kept in the database, in parts.
CREATE TABLE script_package_blob_data (
    integrity text COLLATE "C" NOT NULL,
    part      integer NOT NULL,
    data      bytea NOT NULL,
    CONSTRAINT script_package_blob_data_pkey PRIMARY KEY (integrity, part)
);

ALTER TABLE satellite_reports ADD COLUMN synced_at bigint;
