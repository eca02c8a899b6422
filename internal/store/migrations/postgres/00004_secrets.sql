-- +goose Up

-- One row: the keys by which secrets are sealed, themselves sealed by the root key,
-- which is not in the database.
CREATE TABLE secret_keysets (
    id         integer NOT NULL CONSTRAINT secret_keysets_pkey PRIMARY KEY,
    wrapped    text NOT NULL,
    updated_at bigint NOT NULL
);

-- sealed is the value, previous the one before it, kept for a while because results
-- that hold it are still to be redacted. Names with a colon are the core's own:
-- credentials that stood in a check.
CREATE TABLE secrets (
    id            text COLLATE "C" NOT NULL CONSTRAINT secrets_pkey PRIMARY KEY,
    name          text COLLATE "C" NOT NULL CONSTRAINT secrets_name UNIQUE,
    description   text NOT NULL,
    version       bigint NOT NULL,
    sealed        text NOT NULL,
    key_id        text COLLATE "C" NOT NULL,
    previous      text,
    superseded_at bigint,
    external      text NOT NULL,
    updated_at    bigint NOT NULL,
    updated_by    text NOT NULL
);

-- Who asked for values, and whether it got them. Never the values.
CREATE TABLE secret_leases (
    id           bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT secret_leases_pkey PRIMARY KEY,
    satellite_id text COLLATE "C" NOT NULL,
    check_id     text COLLATE "C" NOT NULL,
    collector    text NOT NULL,
    run_id       text NOT NULL,
    names        text NOT NULL,
    allowed      boolean NOT NULL,
    sealed       boolean NOT NULL,
    reason       text NOT NULL,
    at           bigint NOT NULL
);
CREATE INDEX secret_leases_by_satellite ON secret_leases (satellite_id, id);
CREATE INDEX secret_leases_by_time ON secret_leases (at);
