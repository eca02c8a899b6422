// Command recount audits a core from outside. It reads through the API what was due
// (eras), what was run (results) and what was not (skips), gives every single slot its
// fate by itself, one after the other, and compares with what the core says became of
// them (completeness). Then it reaches every verdict again, from its evidence and from
// the results, and compares with what the core says of checks and systems.
//
//	PERIGEE_TOKEN=… recount --url http://127.0.0.1:8420 --from 2026-01-31T08:00:00Z --to 2026-01-31T09:00:00Z
//
// Exit codes: 0 when both agree, 1 when they do not (each difference is a line), 2 when
// the core could not be read. It knows how slots are made (package check) and what
// results mean (package verdict), both public, and nothing else of the core's code.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

func main() {
	core := &api{token: os.Getenv("PERIGEE_TOKEN"), client: &http.Client{Timeout: time.Minute}}
	flag.StringVar(&core.url, "url", "http://127.0.0.1:8420", "the core")
	from := flag.String("from", "", "slots from then on (RFC 3339); an hour ago without it")
	to := flag.String("to", "", "slots before then (RFC 3339); now without it")
	grace := flag.Duration("grace", 15*time.Second, "how long after a result its verdict may come: others may be asked first")
	flag.Parse()
	window, err := windowOf(*from, *to)
	if err == nil {
		var agree bool
		if agree, err = audit(context.Background(), core, window, *grace, os.Stdout); err == nil && !agree {
			os.Exit(1)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "recount:", err)
		os.Exit(2)
	}
}

type window struct{ from, to time.Time }

func windowOf(from, to string) (w window, err error) {
	w.to = time.Now()
	if to != "" {
		if w.to, err = time.Parse(time.RFC3339Nano, to); err != nil {
			return w, err
		}
	}
	w.from = w.to.Add(-time.Hour)
	if from != "" {
		w.from, err = time.Parse(time.RFC3339Nano, from)
	}
	return w, err
}

// location is one check of one system in one environment, seen from one satellite.
type location struct {
	SystemID      string `json:"systemId"`
	CheckID       string `json:"checkId"`
	SatelliteID   string `json:"satelliteId"`
	EnvironmentID string `json:"environmentId"`
}

type era struct {
	location
	IntervalMs int64      `json:"intervalMs"`
	Seat       int        `json:"seat"`
	State      string     `json:"state"`
	Since      time.Time  `json:"since"`
	Until      *time.Time `json:"until"`
	ToldAt     *time.Time `json:"toldAt"`
}

type run struct {
	location
	RunID        string    `json:"runId"`
	Slot         time.Time `json:"slot"`
	ExecutedAt   time.Time `json:"executedAt"`
	ReceivedAt   time.Time `json:"receivedAt"`
	Status       string    `json:"status"`
	Inconclusive string    `json:"inconclusive"`
	LatencyMs    *int64    `json:"latencyMs"`
	Asked        string    `json:"asked"`
}

type skip struct {
	location
	ID     string    `json:"id"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Reason string    `json:"reason"`
	Asked  string    `json:"asked"`
}

// claim is what the core says of one location.
type claim struct {
	location
	Exact        bool             `json:"exact"`
	SettledTo    *time.Time       `json:"settledTo"`
	Due          int64            `json:"due"`
	Reported     int64            `json:"reported"`
	Backfilled   int64            `json:"backfilled"`
	Inconclusive int64            `json:"inconclusive"`
	Skipped      map[string]int64 `json:"skipped"`
	Lost         int64            `json:"lost"`
	NotExecuted  int64            `json:"notExecuted"`
	NotTold      int64            `json:"notTold"`
	Unaccounted  int64            `json:"unaccounted"`
	Awaited      int64            `json:"awaited"`
	Healthy      int64            `json:"healthy"`
	Degraded     int64            `json:"degraded"`
	Unhealthy    int64            `json:"unhealthy"`
	Beside       int64            `json:"beside"`
}

// words are the counts by name, apart from those that are none.
func (c *claim) words() map[string]int64 {
	all := map[string]int64{
		"due": c.Due, "reported": c.Reported, "backfilled": c.Backfilled, "inconclusive": c.Inconclusive, "lost": c.Lost,
		"not executed": c.NotExecuted, "not told": c.NotTold, "unaccounted": c.Unaccounted, "awaited": c.Awaited,
		"healthy": c.Healthy, "degraded": c.Degraded, "unhealthy": c.Unhealthy, "beside": c.Beside,
	}
	for reason, n := range c.Skipped {
		all["skipped: "+reason] = n
	}
	return all
}

// audit recounts and prints what differs, and what there was in all.
func audit(ctx context.Context, core *api, w window, grace time.Duration, out io.Writer) (agree bool, err error) {
	query := url.Values{"from": {w.from.Format(time.RFC3339Nano)}, "to": {w.to.Format(time.RFC3339Nano)}}
	claims, err := all[claim](ctx, core, "/completeness", query)
	if err != nil {
		return false, err
	}
	eras, err := all[era](ctx, core, "/eras", query)
	if err != nil {
		return false, err
	}
	runs, err := all[run](ctx, core, "/results", query)
	if err != nil {
		return false, err
	}
	skips, err := all[skip](ctx, core, "/skips", query)
	if err != nil {
		return false, err
	}
	erasOf := by(eras, func(e *era) location { return e.location })
	runsOf := by(runs, func(r *run) location { return r.location })
	skipsOf := by(skips, func(s *skip) location { return s.location })
	totals, differences, inexact := map[string]int64{}, 0, 0
	for i := range claims {
		c := &claims[i]
		if !c.Exact { // results without slots have no fate of their own
			inexact++
			continue
		}
		counted := count(w, erasOf[c.location], runsOf[c.location], skipsOf[c.location], c.SettledTo)
		delete(erasOf, c.location)
		claimed := c.words()
		names := map[string]bool{}
		for name := range claimed {
			names[name] = true
		}
		for name, n := range counted {
			names[name] = true
			totals[name] += n
		}
		for _, name := range sorted(names) {
			if claimed[name] != counted[name] {
				differences++
				fmt.Fprintf(out, "%+v: %s: the core says %d, the recount %d\n", c.location, name, claimed[name], counted[name])
			}
		}
	}
	for at, eras := range erasOf {
		if n := count(w, eras, nil, nil, nil)["due"]; n > 0 && inexact == 0 {
			differences++
			fmt.Fprintf(out, "%+v: %d slots were due of which the core says nothing\n", at, n)
		}
	}
	fmt.Fprintf(out, "%d locations, %d eras, %d results, %d skips", len(claims), len(eras), len(runs), len(skips))
	if inexact > 0 {
		fmt.Fprintf(out, ", %d locations without slots left out", inexact)
	}
	fmt.Fprintln(out)
	names := map[string]bool{}
	for name := range totals {
		names[name] = true
	}
	for _, name := range sorted(names) {
		fmt.Fprintf(out, "%-24s %8d\n", name, totals[name])
	}
	judging := verdicts{core: core, w: w, grace: grace, out: out}
	if err := judging.audit(ctx, eras); err != nil {
		return false, err
	}
	fmt.Fprintln(out)
	for _, name := range slices.Sorted(maps.Keys(judging.counts)) {
		fmt.Fprintf(out, "%-24s %8d\n", name, judging.counts[name])
	}
	differences += judging.differences
	fmt.Fprintf(out, "%-24s %8d\n", "differences", differences)
	return differences == 0, nil
}

const (
	minute = int64(60_000)
	week   = 7 * 24 * time.Hour
)

// count gives every slot of a location its fate.
func count(w window, eras []era, runs []run, skips []skip, settledTo *time.Time) map[string]int64 {
	counts := map[string]int64{}
	ran := map[int64]*run{}
	for i := range runs {
		ran[runs[i].Slot.UnixMilli()] = &runs[i]
	}
	skips = slices.DeleteFunc(slices.Clone(skips), func(s skip) bool { return s.Asked != "" })
	slices.SortFunc(skips, func(a, b skip) int { return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.ID, b.ID)) })
	used := 0
	for _, e := range eras {
		key := check.Key{CheckID: e.CheckID, SystemID: e.SystemID, EnvironmentID: e.EnvironmentID}
		schedule := check.SeatSchedule(e.SatelliteID, e.Seat, key, time.Duration(e.IntervalMs)*time.Millisecond)
		for slot := schedule.Next(later(e.Since, w.from.Add(-time.Millisecond))); slot.Before(w.to); slot = schedule.Next(slot) {
			if slot.Before(w.from) || !slot.After(e.Since) {
				continue
			}
			if e.Until != nil && slot.After(*e.Until) {
				break
			}
			counts["due"]++
			r := ran[slot.UnixMilli()]
			if r != nil {
				used++
			}
			counts[fate(slot, &e, r, skips, settledTo)]++
			if r != nil && r.Inconclusive == "" {
				counts[r.Status]++
			}
		}
	}
	if beside := int64(len(runs) - used); beside > 0 {
		counts["beside"] = beside
	}
	return counts
}

// fate of one slot: see docs/ledger.md.
func fate(slot time.Time, e *era, r *run, skips []skip, settledTo *time.Time) string {
	switch {
	case r != nil && r.Inconclusive != "":
		return "inconclusive"
	case r != nil && r.ReceivedAt.Sub(slot) > time.Duration(max(minute, e.IntervalMs))*time.Millisecond:
		return "backfilled"
	case r != nil:
		return "reported"
	case e.State != "active":
		return "skipped: " + e.State
	}
	for i := range skips {
		if s := &skips[i]; !slot.Before(s.From) && !slot.After(s.To) {
			switch s.Reason {
			case "overflow":
				return "lost"
			case "not-executed":
				return "not executed"
			default:
				return "skipped: " + s.Reason
			}
		}
	}
	settled := settledTo != nil && slot.UnixMilli() <= settledTo.UnixMilli() || e.Until != nil && time.Since(*e.Until) > week
	switch {
	case !settled:
		return "awaited"
	case e.ToldAt == nil || slot.UnixMilli() <= e.ToldAt.UnixMilli():
		return "not told"
	default:
		return "unaccounted"
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func by[T any](items []T, of func(*T) location) map[location][]T {
	groups := map[location][]T{}
	for i := range items {
		groups[of(&items[i])] = append(groups[of(&items[i])], items[i])
	}
	return groups
}

func sorted(names map[string]bool) []string {
	var all []string
	for name := range names {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// api is the core.
type api struct {
	url, token string
	client     *http.Client
}

// all reads every page of a list.
func all[T any](ctx context.Context, core *api, path string, query url.Values) ([]T, error) {
	var items []T
	asked := url.Values{"limit": {"1000"}}
	for k, v := range query {
		asked[k] = v
	}
	for {
		var page struct {
			Items      []T     `json:"items"`
			NextCursor *string `json:"nextCursor"`
		}
		if err := core.get(ctx, path, asked, &page); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		items = append(items, page.Items...)
		if page.NextCursor == nil {
			return items, nil
		}
		asked.Set("cursor", *page.NextCursor)
	}
}

func (a *api) get(ctx context.Context, path string, query url.Values, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(a.url, "/")+"/api/v1"+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%d %s", resp.StatusCode, strings.TrimSpace(string(body)))
	}
	return json.Unmarshal(body, into)
}
