package httpapi

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/health"
)

// What moves is said at once when it has rested, and else when it has; however often it
// moves, it is said once for all.
func TestMovementsRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		m := newMovements()
		defer m.due.Stop()
		want := func(after time.Duration, topics ...string) {
			t.Helper()
			got := m.take(<-m.due.C)
			if at := time.Since(began); at != after || !slices.Equal(got, topics) {
				t.Errorf("after %s: %v, want after %s: %v", at, got, after, topics)
			}
		}
		quiet := func() {
			t.Helper()
			select {
			case <-m.due.C:
				t.Errorf("woken for %v", m.take(time.Now()))
			case <-time.After(time.Hour):
			}
		}
		m.note(health.TopicResults)
		want(0, health.TopicResults)
		for range 100 {
			m.note(health.TopicResults)
			m.note(automation.TopicRuns)
		}
		want(0, automation.TopicRuns)
		m.note(automation.TopicRuns)
		want(time.Second, automation.TopicRuns)
		want(5*time.Second, health.TopicResults)
		quiet()
		began = time.Now()
		m.note(health.TopicResults)
		m.note(automation.TopicRuns)
		want(0, automation.TopicRuns, health.TopicResults)
		quiet()
	})
}
