-- Incidents with their timeline, notes, and the channels by which people are told.

-- +goose Up

-- What is wrong and who knows it. While one is open no other has its cause: what has
-- one cause is one incident, whoever finds it and however often.
CREATE TABLE incidents (
    id          text COLLATE "C" NOT NULL CONSTRAINT incidents_pkey PRIMARY KEY,
    title       text NOT NULL,
    severity    text COLLATE "C" NOT NULL, -- minor, major, critical
    status      text COLLATE "C" NOT NULL, -- open, identified, monitoring, resolved
    cause       text COLLATE "C" NOT NULL DEFAULT '', -- "satellite/ID", "region/eu"; '' for none
    systems     text NOT NULL, -- JSON: ids
    parts       text NOT NULL, -- JSON: what of the cause is not well yet, "satellite/ID"
    opened_at   bigint NOT NULL,
    updated_at  bigint NOT NULL,
    resolved_at bigint
);
CREATE UNIQUE INDEX incidents_cause ON incidents (cause) WHERE cause <> '' AND resolved_at IS NULL;

-- key is the idempotency key of who wrote it; '' for a person.
CREATE TABLE incident_entries (
    id          text COLLATE "C" NOT NULL CONSTRAINT incident_entries_pkey PRIMARY KEY,
    incident_id text COLLATE "C" NOT NULL CONSTRAINT incident_entries_incident REFERENCES incidents ON DELETE CASCADE,
    status      text COLLATE "C" NOT NULL, -- of the incident from then on
    text        text NOT NULL,
    actor       text NOT NULL, -- JSON
    key         text COLLATE "C" NOT NULL DEFAULT '',
    at          bigint NOT NULL
);
CREATE INDEX incident_entries_of_incident ON incident_entries (incident_id, id);
CREATE UNIQUE INDEX incident_entries_key ON incident_entries (key) WHERE key <> '';

-- What somebody wrote about an entity.
CREATE TABLE notes (
    id        text COLLATE "C" NOT NULL CONSTRAINT notes_pkey PRIMARY KEY,
    kind      text COLLATE "C" NOT NULL,
    entity_id text COLLATE "C" NOT NULL,
    text      text NOT NULL,
    actor     text NOT NULL, -- JSON
    key       text COLLATE "C" NOT NULL DEFAULT '',
    at        bigint NOT NULL
);
CREATE INDEX notes_of_entity ON notes (kind, entity_id, id);
CREATE UNIQUE INDEX notes_key ON notes (key) WHERE key <> '';

-- config holds references to secrets, never their values. failing_since and the rest
-- say how its last deliveries went.
CREATE TABLE channels (
    id            text COLLATE "C" NOT NULL CONSTRAINT channels_pkey PRIMARY KEY,
    name          text COLLATE "C" NOT NULL CONSTRAINT channels_name_key UNIQUE,
    description   text NOT NULL DEFAULT '',
    enabled       boolean NOT NULL,
    type          text COLLATE "C" NOT NULL, -- email, webhook, shoutrrr
    config        text NOT NULL, -- JSON
    delivered_at  bigint,
    failing_since bigint,
    last_error    text NOT NULL DEFAULT '',
    created_at    bigint NOT NULL,
    updated_at    bigint NOT NULL
);

-- One message by one channel: what keeps a message that is tried again from being sent
-- twice by the channels that took it the first time.
CREATE TABLE deliveries (
    key        text COLLATE "C" NOT NULL,
    channel_id text COLLATE "C" NOT NULL CONSTRAINT deliveries_channel REFERENCES channels ON DELETE CASCADE,
    state      text COLLATE "C" NOT NULL, -- sending, delivered, failed
    title      text NOT NULL,
    attempts   bigint NOT NULL,
    error      text NOT NULL DEFAULT '',
    at         bigint NOT NULL,
    CONSTRAINT deliveries_pkey PRIMARY KEY (channel_id, key)
);
CREATE INDEX deliveries_at ON deliveries (at);
