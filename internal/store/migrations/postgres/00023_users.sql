-- Who may sign in, what their tokens may do, and what was changed by whom.

-- +goose Up

CREATE TABLE users (
    id            text COLLATE "C" NOT NULL CONSTRAINT users_pkey PRIMARY KEY,
    name          text COLLATE "C" NOT NULL CONSTRAINT users_name UNIQUE,
    role          text COLLATE "C" NOT NULL, -- viewer, operator, admin
    disabled      boolean NOT NULL,
    password      text NOT NULL, -- its digest, with how it was made
    created_at    bigint NOT NULL,
    updated_at    bigint NOT NULL,
    signed_in_at  bigint
);

-- Tokens that are there already may do everything, as before.
ALTER TABLE api_tokens ADD COLUMN role text COLLATE "C" NOT NULL DEFAULT 'admin';
ALTER TABLE api_tokens ADD COLUMN user_id text COLLATE "C" CONSTRAINT api_tokens_user REFERENCES users ON DELETE CASCADE;
ALTER TABLE api_tokens ADD COLUMN created_by text NOT NULL DEFAULT '';
ALTER TABLE api_tokens ADD COLUMN expires_at bigint;
ALTER TABLE api_tokens ADD COLUMN last_used_at bigint;
CREATE INDEX api_tokens_of_user ON api_tokens (user_id);

-- Sessions of the page: of a user, or of a token.
CREATE TABLE page_sessions (
    digest     text COLLATE "C" NOT NULL CONSTRAINT page_sessions_pkey PRIMARY KEY,
    user_id    text COLLATE "C" CONSTRAINT page_sessions_user REFERENCES users ON DELETE CASCADE,
    token_id   text COLLATE "C" CONSTRAINT page_sessions_token REFERENCES api_tokens ON DELETE CASCADE,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX page_sessions_of_user ON page_sessions (user_id);
CREATE INDEX page_sessions_of_token ON page_sessions (token_id);

-- Digests of the codes by which the first user may be made.
CREATE TABLE setup_codes (
    digest     text COLLATE "C" NOT NULL CONSTRAINT setup_codes_pkey PRIMARY KEY,
    created_at bigint NOT NULL
);

CREATE TABLE audit (
    id         bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT audit_pkey PRIMARY KEY,
    at         bigint NOT NULL,
    actor_type text COLLATE "C" NOT NULL,
    actor_id   text COLLATE "C" NOT NULL,
    actor      text NOT NULL,
    source     text NOT NULL,
    operation  text COLLATE "C" NOT NULL,
    object     text NOT NULL,
    change     text NOT NULL,
    outcome    text COLLATE "C" NOT NULL, -- allowed, refused, failed
    status     bigint NOT NULL,
    reason     text NOT NULL,
    request_id text NOT NULL,
    missed     bigint NOT NULL
);
CREATE INDEX audit_at ON audit (at);
