package checkstack

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
)

// reader is one reading.
type reader struct {
	tx    pgx.Tx
	found Found
	// names of checks and systems, by id, for findings.
	checks, systems map[string]string
	secrets         map[string]bool // names that checks refer to
}

func (r *reader) run(ctx context.Context) error {
	tables, err := r.tables(ctx)
	if err != nil {
		return err
	}
	r.checks, r.systems, r.secrets = map[string]string{}, map[string]string{}, map[string]bool{}
	satellites, configurations, associations := tables["satellites"], tables["health_check_configurations"], tables["system_health_checks"]
	if satellites == nil || configurations == nil || associations == nil {
		return errors.New("it does not look like a Checkstack core's: the tables satellites, health_check_configurations and system_health_checks are not all there")
	}
	if err := r.readSatellites(ctx, satellites); err != nil {
		return fmt.Errorf("satellites: %w", err)
	}
	environments, err := r.readEnvironments(ctx, tables["environments"], tables["systems_environments"])
	if err != nil {
		return fmt.Errorf("environments: %w", err)
	}
	if t := tables["systems"]; t != nil {
		if err := r.readSystems(ctx, t, environments); err != nil {
			return fmt.Errorf("systems: %w", err)
		}
	} else {
		r.note("", "", "the table of systems was not found; systems are named by their ids")
	}
	if err := r.readChecks(ctx, configurations); err != nil {
		return fmt.Errorf("configurations: %w", err)
	}
	if err := r.readAssignments(ctx, associations); err != nil {
		return fmt.Errorf("associations: %w", err)
	}
	if names := slices.Sorted(maps.Keys(r.secrets)); len(names) > 0 {
		r.note("", "", "checks refer to the secrets %s, whose values only the original can read: set them here", strings.Join(names, ", "))
	}
	return nil
}

func (r *reader) note(kind, name, format string, args ...any) {
	r.found.Findings = append(r.found.Findings, Finding{Kind: kind, Name: name, Message: fmt.Sprintf(format, args...)})
}

// each runs a query and calls fn for each row, whose columns are in dest; more
// rows than an import takes are an error.
func (r *reader) each(ctx context.Context, dest []any, fn func(), format string, args ...any) error {
	rows, err := r.tx.Query(ctx, fmt.Sprintf(format, args...)+fmt.Sprintf(" LIMIT %d", catalog.MaxImport+1))
	if err != nil {
		return err
	}
	n := 0
	_, err = pgx.ForEachRow(rows, dest, func() error {
		if n++; n > catalog.MaxImport {
			return fmt.Errorf("there are more than %d", catalog.MaxImport)
		}
		fn()
		return nil
	})
	return err
}

func (r *reader) readSatellites(ctx context.Context, t *table) error {
	var s catalog.ImportSatellite
	var tags string
	var threshold *int64
	var created time.Time
	return r.each(ctx, []any{&s.ID, &s.Name, &s.Region, &tags, &s.TokenHash, &created, &threshold}, func() {
		read := s
		read.CreatedAt = created.UTC()
		if json.Unmarshal([]byte(tags), &read.Tags) != nil {
			read.Tags = nil
			r.note(catalog.DocSatellite, s.Name, "its tags are not names and texts; they are left out")
		}
		if threshold != nil && *threshold > 0 { // others mean the default there too (spec C.1)
			read.OfflineThresholdMs = new(*threshold)
		}
		r.found.Import.Satellites = append(r.found.Import.Satellites, read)
	}, `SELECT id::text, name, region, tags::text, token_hash, created_at::timestamp, (%s)::bigint FROM %s ORDER BY created_at, id`,
		t.col("offline_threshold_ms", "NULL"), t.sql())
}

// readEnvironments gives the environments of systems, by the systems' ids, in the
// order in which the original runs them.
func (r *reader) readEnvironments(ctx context.Context, t, memberships *table) (map[string][]catalog.Environment, error) {
	all := map[string][]catalog.Environment{}
	if t == nil || memberships == nil {
		return all, nil
	}
	var system, id, name, fields string
	return all, r.each(ctx, []any{&system, &id, &name, &fields}, func() {
		env := catalog.Environment{ID: id, Name: name}
		if !readFields(fields, &env.Fields) {
			r.note(catalog.DocSystem, system, "the fields of its environment %q cannot be read and are left out", name)
		}
		all[system] = append(all[system], env)
	}, `SELECT m.system_id, e.id, e.name, coalesce(e.metadata::text, '') FROM %s AS m JOIN %s AS e ON e.id = m.environment_id ORDER BY m.system_id, e.name, e.id`,
		memberships.sql(), t.sql())
}

// readFields reads an object of custom fields.
func readFields(text string, into *map[string]any) (readable bool) {
	*into = nil
	return text == "" || json.Unmarshal([]byte(text), into) == nil
}

func (r *reader) readSystems(ctx context.Context, t *table, environments map[string][]catalog.Environment) error {
	var id, name, description, fields string
	return r.each(ctx, []any{&id, &name, &description, &fields}, func() {
		r.systems[id] = name
		read := catalog.ImportSystem{ID: id, Name: name, Description: description, Environments: environments[id]}
		if !readFields(fields, &read.Fields) {
			r.note(catalog.DocSystem, name, "its custom fields cannot be read and are left out")
		}
		r.found.Import.Systems = append(r.found.Import.Systems, read)
	}, `SELECT id, name, coalesce(%s, ''), coalesce((%s)::text, '') FROM %s ORDER BY id`, t.col("description", "NULL"), t.col("metadata", "NULL"), t.sql())
}

func (r *reader) readChecks(ctx context.Context, t *table) error {
	var id, name, strategy, config, collectors string
	var interval float64
	var template, paused bool
	return r.each(ctx, []any{&id, &name, &strategy, &config, &collectors, &interval, &template, &paused}, func() {
		if template {
			r.note(catalog.DocCheck, name, "it is a template; templates are not carried over")
			return
		}
		r.checks[id] = name
		spec := check.Spec{
			Strategy: strategy, Config: json.RawMessage(config), Paused: paused,
			Interval: check.Duration(max(interval, 0) * float64(time.Second)), // 0 is told as missing
		}
		var readable bool
		if spec.Collectors, readable = readCollectors(collectors); !readable {
			spec.Paused = true
			r.note(catalog.DocCheck, name, "its collectors cannot be read and are left out; it is paused")
		}
		if r.refersToSecrets(config, collectors) {
			spec.Paused = true
			r.note(catalog.DocCheck, name, "it holds a secret that only the original can read; it is paused: put a reference such as ${{ secrets.NAME }} in its place and resume it")
		}
		r.found.Import.Checks = append(r.found.Import.Checks, catalog.ImportCheck{ID: id, Name: name, Spec: spec})
	}, `SELECT id::text, name, strategy_id, config::text, coalesce((%s)::text, ''), interval_seconds::float8, coalesce((%s)::boolean, false), coalesce((%s)::boolean, false)
		FROM %s ORDER BY created_at, id`,
		t.col("collectors", "NULL"), t.col("is_template", "NULL"), t.col("paused", "NULL"), t.sql())
}

// readCollectors reads the original's collectors, which are as on the wire
// (spec E.1).
func readCollectors(text string) (collectors []check.Collector, readable bool) {
	if text == "" {
		return nil, true
	}
	var entries []struct {
		ID          string            `json:"id"`
		CollectorID string            `json:"collectorId"`
		Config      json.RawMessage   `json:"config"`
		Assertions  []check.Assertion `json:"assertions"`
	}
	if json.Unmarshal([]byte(text), &entries) != nil {
		return nil, false
	}
	for _, e := range entries {
		collectors = append(collectors, check.Collector{ID: e.ID, Collector: e.CollectorID, Config: e.Config, Assertions: e.Assertions})
	}
	return collectors, true
}

var reference = regexp.MustCompile(`\$\{\{\s*secrets\.([A-Za-z0-9_.-]+)\s*\}\}`)

// refersToSecrets notes the secrets that the texts refer to by name, and reports
// whether they hold one that cannot be had.
func (r *reader) refersToSecrets(texts ...string) (lost bool) {
	for _, text := range texts {
		for _, m := range reference.FindAllStringSubmatch(text, -1) {
			r.secrets[m[1]] = true
		}
		lost = lost || strings.Contains(text, check.SecretMarker)
	}
	return lost
}

func (r *reader) readAssignments(ctx context.Context, t *table) error {
	var a catalog.ImportAssignment
	var satellites, thresholds, environments, narrowed string
	var retention, notifications bool
	return r.each(ctx, []any{
		&a.CheckID, &a.SystemID, &a.Enabled, &a.IncludeLocal, &satellites, &thresholds, &retention, &environments, &narrowed, &notifications,
	}, func() {
		read := a
		read.EnvironmentIDs, read.SatelliteEnvironmentIDs = nil, nil
		name := cmp.Or(r.checks[a.CheckID], a.CheckID) + " on " + cmp.Or(r.systems[a.SystemID], a.SystemID)
		if json.Unmarshal([]byte(satellites), &read.SatelliteIDs) != nil {
			read.SatelliteIDs = nil
			r.note(catalog.DocAssignment, name, "its list of satellites cannot be read and is left out")
		}
		for _, lost := range []struct {
			is   bool
			what string
		}{
			{retention, "its own retention"},
			{notifications, "its notification policy"},
		} {
			if lost.is {
				r.note(catalog.DocAssignment, name, "%s cannot be carried over", lost.what)
			}
		}
		if json.Unmarshal([]byte(environments), &read.EnvironmentIDs) != nil || json.Unmarshal([]byte(narrowed), &read.SatelliteEnvironmentIDs) != nil {
			read.EnvironmentIDs, read.SatelliteEnvironmentIDs = nil, nil
			r.note(catalog.DocAssignment, name, "its choice of environments cannot be read; it runs in all of them")
		}
		var trouble string
		if read.Policy, trouble = policy(thresholds); trouble != "" {
			r.note(catalog.DocAssignment, name, "%s", trouble)
		}
		if _, known := r.systems[a.SystemID]; !known {
			r.systems[a.SystemID] = a.SystemID
			r.found.Import.Systems = append(r.found.Import.Systems, catalog.ImportSystem{ID: a.SystemID, Name: a.SystemID})
		}
		r.found.Import.Assignments = append(r.found.Import.Assignments, read)
	}, `SELECT configuration_id::text, system_id, enabled, coalesce(%s, true), coalesce((%s)::text, '[]'), coalesce((%s)::text, 'null'), %s, coalesce((%s)::text, 'null'), coalesce((%s)::text, 'null'), %s FROM %s ORDER BY system_id, configuration_id`,
		t.col("include_local", "true"), t.col("satellite_ids", "NULL"),
		t.col("state_thresholds", "NULL"), t.given("retention_config"), t.col("environment_ids", "NULL"), t.col("satellite_environment_ids", "NULL"), t.given("notification_policy"), t.sql())
}
