-- +goose Up

-- What ingest has made durable and rollups do not hold yet: a row for each transaction
-- of ingest, written by it. Whoever folds rows deletes them in the same transaction, so
-- each run counts once, in whatever order transactions become visible.
CREATE TABLE run_batches (
    seq  bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT run_batches_pkey PRIMARY KEY,
    size bigint NOT NULL,
    runs text NOT NULL
);

-- Buckets start at bucket (microseconds). Minutes lead with time: each of them is
-- written once or a few times, by the thousand, and must not touch a page for each row.
-- Hours and days lead with the system, whose year is then one stretch of the key.
-- Sketches may stand one behind the other; that is how they are merged.
CREATE TABLE rollup_minutes (
    bucket         bigint NOT NULL,
    system_id      text COLLATE "C" NOT NULL,
    check_id       text COLLATE "C" NOT NULL,
    satellite_id   text COLLATE "C" NOT NULL,
    environment_id text COLLATE "C" NOT NULL,
    healthy        bigint NOT NULL,
    degraded       bigint NOT NULL,
    unhealthy      bigint NOT NULL,
    inconclusive   bigint NOT NULL,
    late           bigint NOT NULL,
    latencies      bigint NOT NULL,
    latency_sum    bigint NOT NULL,
    latency_min    bigint NOT NULL,
    latency_max    bigint NOT NULL,
    sketch         bytea NOT NULL,
    CONSTRAINT rollup_minutes_pkey PRIMARY KEY (bucket, system_id, check_id, satellite_id, environment_id)
) PARTITION BY RANGE (bucket);
CREATE TABLE rollup_minutes_default PARTITION OF rollup_minutes DEFAULT;

CREATE TABLE rollup_hours (
    LIKE rollup_minutes,
    CONSTRAINT rollup_hours_pkey PRIMARY KEY (system_id, bucket, check_id, satellite_id, environment_id)
) PARTITION BY RANGE (bucket);
CREATE TABLE rollup_hours_default PARTITION OF rollup_hours DEFAULT;

CREATE TABLE rollup_days (
    LIKE rollup_minutes,
    CONSTRAINT rollup_days_pkey PRIMARY KEY (system_id, bucket, check_id, satellite_id, environment_id)
) PARTITION BY RANGE (bucket);
CREATE TABLE rollup_days_default PARTITION OF rollup_days DEFAULT;

-- Buckets of hours and days that lag behind the finer tier and are to be made anew.
CREATE TABLE rollup_marks (
    tier      text COLLATE "C" NOT NULL,
    bucket    bigint NOT NULL,
    system_id text COLLATE "C" NOT NULL,
    CONSTRAINT rollup_marks_pkey PRIMARY KEY (tier, bucket, system_id)
);

-- One row, which is the lock of those who write rollups, and says since when the finer
-- tiers are whole. What is older is counted into the coarser tier itself.
CREATE TABLE rollup_state (
    id           integer CONSTRAINT rollup_state_pkey PRIMARY KEY,
    minutes_from bigint NOT NULL,
    hours_from   bigint NOT NULL
);
INSERT INTO rollup_state (id, minutes_from, hours_from) VALUES (1, 0, 0);

-- Runs by day, so that forgetting them is dropping a table. The key leads with the
-- slot in milliseconds, twelve hex digits, and so do the bounds. What there is
-- becomes one partition that ends tomorrow; its rows of later (clocks that run
-- ahead) go where everything goes that has no partition.
ALTER TABLE runs RENAME TO runs_before;
ALTER TABLE runs_before RENAME CONSTRAINT runs_pkey TO runs_before_pkey;
ALTER INDEX runs_by_system RENAME TO runs_before_by_system;
ALTER INDEX runs_by_check RENAME TO runs_before_by_check;
ALTER INDEX runs_by_satellite RENAME TO runs_before_by_satellite;
CREATE TABLE runs (LIKE runs_before INCLUDING DEFAULTS) PARTITION BY RANGE (run_id);
ALTER TABLE runs ADD CONSTRAINT runs_pkey PRIMARY KEY (run_id);
CREATE INDEX runs_by_system ON runs (system_id, run_id);
CREATE INDEX runs_by_check ON runs (check_id, run_id);
CREATE INDEX runs_by_satellite ON runs (satellite_id, run_id);
CREATE TABLE runs_default PARTITION OF runs DEFAULT;
-- +goose StatementBegin
DO $$
DECLARE
    bound text := lpad(to_hex(((extract(epoch FROM now())::bigint / 86400 + 1) * 86400000)), 12, '0');
BEGIN
    IF NOT EXISTS (SELECT 1 FROM runs_before) THEN
        DROP TABLE runs_before;
        RETURN;
    END IF;
    WITH ahead AS (DELETE FROM runs_before WHERE run_id >= bound RETURNING *)
    INSERT INTO runs SELECT * FROM ahead;
    EXECUTE format('ALTER TABLE runs ATTACH PARTITION runs_before FOR VALUES FROM (MINVALUE) TO (%L)', bound);
END $$;
-- +goose StatementEnd
