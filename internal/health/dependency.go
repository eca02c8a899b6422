package health

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// dependencyHold is for how long the alarm of a system that depends on others waits
// for what is heard of those: the one that fails first need not be the one at fault.
const dependencyHold = 30 * time.Second

// Dependencies are, by the id of a system, the ids of those that it depends on directly.
type Dependencies map[string][]string

// Causes gives the systems that the failure of one follows from: those that it
// depends on, directly or by way of others, that are down, and that themselves depend
// on none that is. They are in order.
func (d Dependencies) Causes(id string, down func(id string) bool) []string {
	seen := map[string]bool{id: true}
	causes := map[string]bool{}
	// walk reports whether something below is down.
	var walk func(id string) bool
	below := map[string]bool{}
	walk = func(id string) bool {
		any := false
		for _, on := range d[id] {
			if !seen[on] {
				seen[on] = true
				below[on] = walk(on)
				if down(on) && !below[on] {
					causes[on] = true
				}
			}
			any = any || down(on) || below[on]
		}
		return any
	}
	walk(id)
	return slices.Sorted(maps.Keys(causes))
}

// withDependants adds to the systems those that depend on them, directly or by way
// of others.
func (d Dependencies) withDependants(ids []string) []string {
	if len(d) == 0 {
		return ids
	}
	above := map[string][]string{}
	for id, all := range d {
		for _, on := range all {
			above[on] = append(above[on], id)
		}
	}
	all := map[string]bool{}
	for queue := slices.Clone(ids); len(queue) > 0; queue = queue[1:] {
		if id := queue[0]; !all[id] {
			all[id] = true
			queue = append(queue, above[id]...)
		}
	}
	return sortedKeys(all)
}

// below are the systems that the given ones depend on, directly or by way of others.
func (d Dependencies) below(ids []string) []string {
	all := map[string]bool{}
	for queue := slices.Clone(ids); len(queue) > 0; queue = queue[1:] {
		for _, on := range d[queue[0]] {
			if !all[on] {
				all[on] = true
				queue = append(queue, on)
			}
		}
	}
	return sortedKeys(all)
}

func bad(s check.Status) bool { return s == check.Degraded || s == check.Unhealthy }

// settle says what automations are told of a verdict, which is what they were told
// before, as long as the system is in maintenance, or its failure follows from that
// of another system, or may turn out to in a moment. For the latter two it is held.
func (h SystemHealth) settle(old SystemHealth, causes []string, depends bool, now time.Time) (settled SystemHealth, held bool) {
	h.SuppressedBy = ""
	failed := bad(h.Told)
	if failed {
		h.SuppressedBy = strings.Join(causes, ",")
	}
	young := depends && now.Sub(h.Since) < dependencyHold && !bad(old.Told)
	held = failed && (len(causes) > 0 || young)
	if h.Maintenance || held {
		h.Told = old.Told
	}
	return h, held
}

// settleAll gives judgements their Since and settles them: before are the verdicts
// that they take the place of, others those of systems that were not judged. It gives
// the systems whose failures are held back.
func settleAll(judgements, before, others map[string]SystemHealth, depend Dependencies, now time.Time) (hold map[string]bool) {
	hold = map[string]bool{}
	down := func(id string) bool {
		h, judged := judgements[id]
		if !judged {
			h = others[id]
		}
		return h.Status == check.Unhealthy
	}
	settled := make(map[string]SystemHealth, len(judgements))
	for id, h := range judgements {
		old := before[id]
		if h.Since = old.Since; h.Status != old.Status || old.Since.IsZero() {
			h.Since = now
		}
		settled[id], hold[id] = h.settle(old, depend.Causes(id, down), len(depend[id]) > 0, now)
	}
	maps.Copy(judgements, settled)
	return hold
}

// Causes are the ids of the systems that this one's failure follows from.
func (h *SystemHealth) Causes() []string {
	if h.SuppressedBy == "" {
		return nil
	}
	return strings.Split(h.SuppressedBy, ",")
}
