package health

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

// KindRun is the kind of what is told of single runs; its entity is the system. Nothing
// becomes another by a run, so there is no state and no history of it.
const KindRun = "check-run"

// The events of single runs (spec D.4). There are only those that somebody watches for:
// runs are many.
const (
	// TypeCheckFailed is a run that failed, whether or not that is news.
	TypeCheckFailed = "healthcheck.check_failed"
	// TypeNumericState is a number that a run found.
	TypeNumericState = "automation.numeric_state"
)

// RunWatch is a wish to be told of runs.
type RunWatch struct {
	// Type is TypeCheckFailed or TypeNumericState.
	Type string
	// Field of TypeNumericState: latencyMs, or a dotted path into the result
	// ("metadata.timings.dnsMs") or into what its collectors found ("http.statusCode").
	Field string
	// System and Check are ids or names; "" is any.
	System, Check string
}

// Pair is a check of a system, by their ids; or a system alone.
type Pair struct{ SystemID, CheckID string }

// PairName is what a pair is called, "" for what is not there any more.
type PairName struct {
	System, Check string
	// Maintained: it is in maintenance now, in which failures are no news.
	Maintained bool
}

// Watch has runs told of: watches gives what is wished for now, and is asked for each
// batch. It is called before Run.
func (i *Ingest) Watch(watches func() []RunWatch) { i.watches = watches }

// maxRunEvents bounds the events of one batch, so that a wish for everything cannot
// make ingest slow; those beyond it are not told, and that is logged.
const maxRunEvents = 2000

// maxToldResult bounds the result that an event carries, in bytes; a larger one is read
// by its run id.
const maxToldResult = 8 << 10

// tellRuns gives the events of the new runs that somebody watches for. Runs that say
// nothing of their target, and those that were asked for, are not told: an automation that
// runs a check because it failed would go on for ever.
func (i *Ingest) tellRuns(ctx context.Context, tx Tx, runs []Run, fresh map[string]bool) ([]entity.Change, error) {
	if i.watches == nil {
		return nil, nil
	}
	watches := i.watches()
	if len(watches) == 0 {
		return nil, nil
	}
	var told []Run
	var pairs []Pair
	for _, r := range runs {
		if fresh[r.RunID] && r.Inconclusive == "" && r.Asked == "" {
			told, pairs = append(told, r), append(pairs, Pair{r.SystemID, r.CheckID})
		}
	}
	if len(told) == 0 {
		return nil, nil
	}
	names, err := tx.PairNames(ctx, pairs)
	if err != nil {
		return nil, err
	}
	var changes []entity.Change
	for i, r := range told {
		name := names[pairs[i]]
		if name.System == "" || name.Check == "" {
			continue // deleted meanwhile
		}
		changes = append(changes, runChanges(&r, name, watches)...)
	}
	if len(changes) > maxRunEvents {
		i.log.Warn("more runs are watched for than can be told", "events", len(changes), "told", maxRunEvents)
		changes = changes[:maxRunEvents]
	}
	return changes, nil
}

func runChanges(r *Run, name PairName, watches []RunWatch) []entity.Change {
	var changes []entity.Change
	var seen []RunWatch // of one field there is one event, however many watch
	for _, w := range watches {
		if w.System != "" && w.System != r.SystemID && w.System != name.System || w.Check != "" && w.Check != r.CheckID && w.Check != name.Check {
			continue
		}
		about := RunWatch{Type: w.Type, Field: w.Field}
		if slices.Contains(seen, about) {
			continue
		}
		seen = append(seen, about)
		next := entity.State{
			"event": w.Type, "systemId": r.SystemID, "systemName": name.System, "configurationId": r.CheckID, "checkName": name.Check,
			"environmentId": r.EnvironmentID, "satelliteId": r.SatelliteID, "runId": r.RunID, "status": string(r.Status), "timestamp": r.ExecutedAt,
		}
		if r.LatencyMs != nil {
			next["latencyMs"] = *r.LatencyMs
		}
		switch w.Type {
		case TypeCheckFailed:
			if !bad(r.Status) || name.Maintained {
				continue
			}
			next["message"] = r.Message
			if len(r.Result) > 0 && len(r.Result) <= maxToldResult {
				next["result"] = r.Result
			}
		case TypeNumericState:
			number, ok := r.number(w.Field)
			if !ok {
				continue
			}
			next["field"], next["value"] = w.Field, number
		default:
			continue
		}
		changes = append(changes, entity.Change{Kind: KindRun, ID: r.SystemID, Next: next, Occurrence: true})
	}
	return changes
}

// number is the value of a field of a run; false when there is none that is a number.
func (r *Run) number(field string) (float64, bool) {
	if field == "latencyMs" {
		if r.LatencyMs == nil {
			return 0, false
		}
		return float64(*r.LatencyMs), true
	}
	var result map[string]any
	if json.Unmarshal(r.Result, &result) != nil {
		return 0, false
	}
	path := strings.Split(field, ".")
	if n, ok := numberAt(result, path); ok {
		return n, true
	}
	metadata, _ := result["metadata"].(map[string]any)
	if n, ok := numberAt(metadata, path); ok {
		return n, true
	}
	collectors, _ := metadata["collectors"].(map[string]any)
	return numberAt(collectors, path)
}

func numberAt(object map[string]any, path []string) (float64, bool) {
	for _, name := range path[:len(path)-1] {
		object, _ = object[name].(map[string]any)
	}
	switch v := object[path[len(path)-1]].(type) {
	case float64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// runDeriver tells a run as what was wished for.
var runDeriver = entity.Deriver{
	Kind: KindRun,
	Types: func(c entity.Change) []string {
		if event, ok := c.Next["event"].(string); ok {
			return []string{event}
		}
		return nil
	},
	Payload: func(c entity.Change) any {
		payload := map[string]any{}
		for field, v := range c.Next {
			if field != "event" {
				payload[field] = v
			}
		}
		return payload
	},
}
