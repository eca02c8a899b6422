package health

import (
	"cmp"
	"slices"

	"github.com/perigee-monitoring/perigee/check"
)

// EnvironmentVerdict is how a check is doing in one environment of its system.
type EnvironmentVerdict struct {
	EnvironmentID string       `json:"environmentId"`
	Environment   string       `json:"environment"`
	Status        check.Status `json:"status"`
	Reason        string       `json:"reason"`
}

// judgeEnvironments judges each environment by its own seats, apart from the others,
// and gives the worst of these verdicts with the environment's name in its reason.
// Without environments it is what judge says.
func judgeEnvironments(seats []Seat, judge func([]Seat) CheckVerdict) CheckVerdict {
	type environment struct{ name, id string }
	apart := map[environment][]Seat{}
	for _, s := range seats {
		key := environment{s.Environment, s.EnvironmentID}
		apart[key] = append(apart[key], s)
	}
	if only := apart[environment{}]; len(only) == len(seats) {
		return judge(seats)
	}
	keys := make([]environment, 0, len(apart))
	for key := range apart {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b environment) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.id, b.id)) })
	var worst CheckVerdict
	var all []EnvironmentVerdict
	for i, key := range keys {
		v := judge(apart[key])
		all = append(all, EnvironmentVerdict{EnvironmentID: key.id, Environment: key.name, Status: v.Status, Reason: v.Reason})
		if i == 0 || check.Worst(worst.Status, v.Status) != worst.Status {
			worst = v
			worst.Reason = cmp.Or(key.name, "without environment") + ": " + v.Reason
		}
	}
	worst.Seats, worst.Environments = seats, all
	return worst
}
