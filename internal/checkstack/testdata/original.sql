-- The tables of spec J, with the schemas that the original gives its plugins, and
-- rows as awkward as they come. The placeholder HASH is put in by the test.
CREATE SCHEMA plugin_satellite;
CREATE TABLE plugin_satellite.satellites (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text NOT NULL, region text NOT NULL, tags jsonb NOT NULL DEFAULT '{}',
    token_hash text NOT NULL, last_heartbeat_at timestamp, version text, created_at timestamp NOT NULL DEFAULT now(),
    last_connection_event text, capabilities jsonb NOT NULL DEFAULT '[]', offline_threshold_ms integer
);
CREATE SCHEMA plugin_catalog;
CREATE TABLE plugin_catalog.systems (
    id text PRIMARY KEY, name text NOT NULL, description text, owner text, metadata json DEFAULT '{}',
    created_at timestamp NOT NULL DEFAULT now(), updated_at timestamp NOT NULL DEFAULT now()
);
CREATE TABLE plugin_catalog.environments (
    id text PRIMARY KEY, name text NOT NULL UNIQUE, description text, metadata json DEFAULT '{}',
    created_at timestamp NOT NULL DEFAULT now(), updated_at timestamp NOT NULL DEFAULT now()
);
CREATE TABLE plugin_catalog.systems_environments (
    system_id text NOT NULL, environment_id text NOT NULL, PRIMARY KEY (system_id, environment_id)
);
CREATE SCHEMA plugin_healthcheck;
CREATE TABLE plugin_healthcheck.health_check_configurations (
    id uuid PRIMARY KEY, name text NOT NULL, strategy_id text NOT NULL, config jsonb NOT NULL, collectors jsonb, interval_seconds integer NOT NULL,
    is_template boolean DEFAULT false, paused boolean NOT NULL DEFAULT false, created_at timestamp NOT NULL DEFAULT now(), updated_at timestamp NOT NULL DEFAULT now()
);
CREATE TABLE plugin_healthcheck.system_health_checks (
    system_id text NOT NULL, configuration_id uuid NOT NULL, enabled boolean NOT NULL DEFAULT true, state_thresholds jsonb, retention_config jsonb,
    satellite_ids jsonb, environment_ids jsonb, satellite_environment_ids jsonb, include_local boolean NOT NULL DEFAULT true, notification_policy jsonb,
    PRIMARY KEY (system_id, configuration_id)
);
-- A table of another program that happens to have the name.
CREATE TABLE public.satellites (id bigint PRIMARY KEY, name text);

INSERT INTO plugin_satellite.satellites (id, name, region, tags, token_hash, created_at, offline_threshold_ms) VALUES
    ('7f4d1c52-0001-4000-8000-000000000001', 'edge', 'eu', '{"tier": "gold"}', 'HASH', '2026-01-02 03:04:05', 60000),
    ('7f4d1c52-0002-4000-8000-000000000002', 'edge', 'us/west', '{}', 'HASH', '2026-01-03 03:04:05', NULL),
    ('7f4d1c52-0003-4000-8000-000000000003', ' a/b ', '', '{"bad key!": "x", "n": 1}', 'not a hash', '2026-01-04 03:04:05', 5000),
    ('7f4d1c52-0004-4000-8000-000000000004', 'local', 'eu', '{"bad key!": "x"}', '$2a$31$' || repeat('x', 53), '2026-01-05 03:04:05', -1);

INSERT INTO plugin_catalog.systems (id, name, description, metadata) VALUES
    ('0190aaaa-0001-7000-8000-000000000001', 'Shop', 'The shop', '{"owner": "web"}'),
    ('legacy-system', 'Old one', NULL, '{}');

INSERT INTO plugin_catalog.environments (id, name, metadata) VALUES
    ('env-1', 'production', '{"baseUrl": "http://127.0.0.1:1/"}'), ('env-2', 'a/b', 'null'), ('env-3', 'staging', '[]');
INSERT INTO plugin_catalog.systems_environments VALUES
    ('0190aaaa-0001-7000-8000-000000000001', 'env-1'), ('0190aaaa-0001-7000-8000-000000000001', 'env-2'), ('legacy-system', 'env-3');

INSERT INTO plugin_healthcheck.health_check_configurations (id, name, strategy_id, config, collectors, interval_seconds, is_template, paused, created_at) VALUES
    ('0190bbbb-0001-7000-8000-000000000001', 'front', 'healthcheck-http.http', '{"timeout": 5000}',
     '[{"id": "root", "collectorId": "healthcheck-http.request", "config": {"url": "http://127.0.0.1:1/"}, "assertions": [{"field": "statusCode", "operator": "equals", "value": 200}]}]', 30, false, false, '2026-01-01 00:00:01'),
    ('0190bbbb-0002-7000-8000-000000000002', 'front', 'healthcheck-tcp.tcp', '{"host": "127.0.0.1", "port": 1}', NULL, 60, false, true, '2026-01-01 00:00:02'),
    ('0190bbbb-0003-7000-8000-000000000003', 'queue depth', 'healthcheck-rabbitmq.rabbitmq', '{"url": "${{ secrets.RABBIT }}"}', '[]', 60, false, false, '2026-01-01 00:00:03'),
    ('0190bbbb-0004-7000-8000-000000000004', 'sealed', 'healthcheck-http.http', '{"timeout": 5000, "password": "__hcsecret__:p"}', '{"no": "list"}', 60, false, false, '2026-01-01 00:00:04'),
    ('0190bbbb-0005-7000-8000-000000000005', 'blueprint', 'healthcheck-http.http', '{}', NULL, 60, true, false, '2026-01-01 00:00:05');

INSERT INTO plugin_healthcheck.system_health_checks (system_id, configuration_id, enabled, state_thresholds, satellite_ids, environment_ids, satellite_environment_ids, include_local, notification_policy) VALUES
    ('0190aaaa-0001-7000-8000-000000000001', '0190bbbb-0001-7000-8000-000000000001', true, '{"version": 1, "data": {"mode": "window", "windowSize": 8, "degraded": {"minFailureCount": 2}, "unhealthy": {"minFailureCount": 4}}}',
     '["7f4d1c52-0001-4000-8000-000000000001", "7f4d1c52-0002-4000-8000-000000000002", "7f4d1c52-dead-4000-8000-000000000009"]', '["env-1", "env-2", "env-9"]', '{"7f4d1c52-0001-4000-8000-000000000001": ["env-1"], "7f4d1c52-0002-4000-8000-000000000002": []}', false, NULL),
    ('legacy-system', '0190bbbb-0001-7000-8000-000000000001', false, '{"unhealthy": 3}', NULL, '["env-1"]', '{"7f4d1c52-0001-4000-8000-000000000001": null}', true, '{"mode": "all"}'),
    ('nowhere-listed', '0190bbbb-0003-7000-8000-000000000003', true, '{"mode": "consecutive", "healthy": {"minSuccessCount": 2}, "degraded": {"minFailureCount": 1}, "unhealthy": {"minFailureCount": 3}}', '["7f4d1c52-dead-4000-8000-000000000009"]', NULL, NULL, false, NULL),
    ('0190aaaa-0001-7000-8000-000000000001', '0190bbbb-0005-7000-8000-000000000005', true, NULL, NULL, NULL, NULL, true, NULL);
