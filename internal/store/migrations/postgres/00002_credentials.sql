-- A satellite may have two valid tokens for a while, and tokens may expire.

-- +goose Up

-- credential_version numbers the current token; the one before keeps its own
-- number until previous_until. session_credential is the number of the token with
-- which the session of the row's epoch was opened; expiry_told that of the token
-- whose near end was told. None of them is indexed: see the table.
ALTER TABLE satellites
    ADD COLUMN token_expires_at   bigint,
    ADD COLUMN token_last_used_at bigint,
    ADD COLUMN previous_hash      text,
    ADD COLUMN previous_version   bigint,
    ADD COLUMN previous_until     bigint,
    ADD COLUMN session_credential bigint,
    ADD COLUMN expiry_told        bigint;

-- Who caused it, as JSON; null for the system itself.
ALTER TABLE transitions ADD COLUMN actor text;
