-- +goose Up

-- What is set once for the whole fleet, as JSON.
CREATE TABLE settings (
    name       TEXT NOT NULL CONSTRAINT settings_pkey PRIMARY KEY,
    value      TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    updated_by TEXT NOT NULL
);
