package automation_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// BenchmarkRuns is what a run costs, from its event to its end: conditions, variables, and
// one thing that is done outside, on SQLite.
func BenchmarkRuns(b *testing.B) {
	const definition = `{
		"mode": "parallel", "max_runs": 1000,
		"triggers": [{"event": "satellite.disconnected"}],
		"actions": [
			{"variables": {"name": "${{ trigger.payload.name }}"}},
			{"condition": "trigger.next.status == 'offline'"},
			{"action": "repeatable", "config": {"text": "${{ variables.name }} is gone"}}
		]}`
	const atOnce = 500
	db := open(b, dbtest.SQLite(b))
	o := &outside{done: map[string]int{}}
	c := begin(b, db, o, 1<<40)
	a := create(b, c, "told", definition)
	doneSoFar := func() int {
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.done)
	}
	began := cpu()
	b.ResetTimer()
	for done := 0; done < b.N; {
		n := min(atOnce, b.N-done)
		var ids []string
		for i := range n {
			ids = append(ids, fmt.Sprintf("s%d", done+i))
		}
		happenAll(b, db, "satellite.disconnected", "offline", ids...)
		c.rings.Ring("")
		done += n
		until(b, "all were told", func() bool { return doneSoFar() == done })
	}
	until(b, "all have ended", func() bool {
		runs, _, err := db.AutomationRuns(b.Context(), automation.RunFilter{Automation: a.ID, Status: automation.RunRunning}, fleet.Page{Limit: 1})
		return err == nil && len(runs) == 0
	})
	b.ReportMetric(float64((cpu()-began).Microseconds())/float64(b.N), "cpu-µs/run")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
	if got := doneSoFar(); got != b.N {
		b.Errorf("%d of %d were told", got, b.N)
	}
}

// cpu is what this process has used.
func cpu() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
