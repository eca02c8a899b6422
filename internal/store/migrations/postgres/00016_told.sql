-- What automations were told of a check, which stays while an alarm is held back.

-- +goose Up

ALTER TABLE verdicts ADD COLUMN told text COLLATE "C" NOT NULL DEFAULT '';
UPDATE verdicts SET told = status;
