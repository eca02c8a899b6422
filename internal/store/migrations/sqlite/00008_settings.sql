-- The same as PostgreSQL's migration of this number; what it means is said there.

-- +goose Up

-- What is set once for the whole fleet, as JSON.
CREATE TABLE settings (
    name       TEXT NOT NULL CONSTRAINT settings_pkey PRIMARY KEY,
    value      TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    updated_by TEXT NOT NULL
);
