-- +goose Up

-- How many seats a satellite gets in proportion to others; from when it gets no new
-- ones (cordoned), and whether those it has are moved away (draining). Up to
-- leased_until it has been told that it may run slots of its seats; a satellite that
-- never was does not know of leases.
ALTER TABLE satellites ADD COLUMN weight BIGINT NOT NULL DEFAULT 1;
ALTER TABLE satellites ADD COLUMN cordoned_at BIGINT;
ALTER TABLE satellites ADD COLUMN draining BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE satellites ADD COLUMN leased_until BIGINT;

-- How many seats the assignment has; 0 is one that runs wherever it matches. It stands
-- in satellites as well, which cannot be counted by.
ALTER TABLE assignments ADD COLUMN seats BIGINT NOT NULL DEFAULT 0;

-- The number of the seat, 0 for a placement that is none. The satellite runs the slots
-- after since, null for all, and up to removed_at, which lies ahead while a seat is handed
-- over. Reason is why the seat is where it is.
ALTER TABLE placements ADD COLUMN seat BIGINT NOT NULL DEFAULT 0;
ALTER TABLE placements ADD COLUMN since BIGINT;
ALTER TABLE placements ADD COLUMN reason TEXT NOT NULL DEFAULT '';
CREATE INDEX placements_by_seat ON placements (satellite_id) WHERE seat > 0;
CREATE UNIQUE INDEX placements_of_seat ON placements (check_id, system_id, seat) WHERE seat > 0 AND removed_at IS NULL;

-- Up to which slot some satellite may have run a seat that it has no more: who gets
-- the seat begins after it.
CREATE TABLE seat_fences (
    check_id  TEXT NOT NULL,
    system_id TEXT NOT NULL,
    seat      BIGINT NOT NULL,
    until     BIGINT NOT NULL,
    PRIMARY KEY (check_id, system_id, seat)
);
