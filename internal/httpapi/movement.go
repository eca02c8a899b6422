package httpapi

import (
	"maps"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/notify"
	"github.com/perigee-monitoring/perigee/internal/secret"
)

// movementRests are what an event stream says in a comment when it has moved: what goes
// on without being an event, such as a result that says the same as the one before. The
// comment is the topic, and is not said again for that long: however much there is, who
// looks reads once for all.
var movementRests = map[string]time.Duration{
	automation.TopicRuns:   time.Second,
	bus.Topic:              time.Second,
	fleet.TopicCores:       time.Second,
	fleet.TopicHeard:       5 * time.Second,
	fleet.TopicSync:        time.Second,
	health.TopicResults:    5 * time.Second,
	notify.TopicDeliveries: time.Second,
	secret.TopicLeases:     time.Second,
}

func movementTopics() []string { return slices.Sorted(maps.Keys(movementRests)) }

// movements are those that one stream has to tell, each at its time.
type movements struct {
	waits map[string]bool      // topics that moved and were not said
	said  map[string]time.Time // when a topic was said last
	due   *time.Timer          // fires when one of waits may be said
}

func newMovements() *movements {
	m := &movements{waits: map[string]bool{}, said: map[string]time.Time{}, due: time.NewTimer(0)}
	m.due.Stop()
	return m
}

// note has the topic said as soon as that may be.
func (m *movements) note(topic string) {
	m.waits[topic] = true
	m.wake(time.Now())
}

// take gives the topics that are to be said now, in the order of names.
func (m *movements) take(now time.Time) []string {
	var ready []string
	for topic := range m.waits {
		if now.Sub(m.said[topic]) >= movementRests[topic] {
			ready = append(ready, topic)
			m.said[topic] = now
			delete(m.waits, topic)
		}
	}
	m.wake(now)
	slices.Sort(ready)
	return ready
}

// wake sets the timer to the first that may be said.
func (m *movements) wake(now time.Time) {
	m.due.Stop()
	first := time.Duration(-1)
	for topic := range m.waits {
		in := max(0, movementRests[topic]-now.Sub(m.said[topic]))
		if first < 0 || in < first {
			first = in
		}
	}
	if first >= 0 {
		m.due.Reset(first)
	}
}
