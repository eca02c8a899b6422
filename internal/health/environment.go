package health

import (
	"cmp"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/verdict"
)

// EnvironmentVerdict is how a check is doing in one environment of its system, and on
// whose word.
type EnvironmentVerdict struct {
	SystemID      string
	CheckID       string
	Check         string
	EnvironmentID string
	Environment   string // its name; "" without environments
	verdict.Decision
	Seats []Seat // at least one
	// At is when it was judged.
	At time.Time
}

// JudgeCheck gives the verdict on one check of one system from its seats, by the
// policy of their assignment. Each environment is judged by its own seats, apart from
// the others; the worst of these verdicts is the check's, with the environment's name
// in its reason.
func JudgeCheck(seats []Seat, now time.Time) CheckVerdict {
	if len(seats) == 0 {
		none := verdict.Judge(check.Policy{}, nil, now)
		return CheckVerdict{Status: none.Status, Reason: none.Reason}
	}
	v := CheckVerdict{CheckID: seats[0].CheckID, Check: seats[0].CheckName, Seats: seats}
	type environment struct{ name, id string }
	apart := map[environment][]Seat{}
	for _, s := range seats {
		key := environment{s.Environment, s.EnvironmentID}
		apart[key] = append(apart[key], s)
	}
	for key, of := range apart {
		v.Environments = append(v.Environments, EnvironmentVerdict{
			SystemID: of[0].SystemID, CheckID: v.CheckID, Check: v.Check, EnvironmentID: key.id, Environment: key.name,
			Decision: verdict.Decide(of[0].Policy, places(of), of[0].Opinion, now), Seats: of, At: now,
		})
	}
	slices.SortFunc(v.Environments, func(a, b EnvironmentVerdict) int {
		return cmp.Or(cmp.Compare(a.Environment, b.Environment), cmp.Compare(a.EnvironmentID, b.EnvironmentID))
	})
	for i, in := range v.Environments {
		if i > 0 && check.Worst(v.Status, in.Status) == v.Status {
			continue
		}
		v.Status, v.Reason = in.Status, in.Reason
		if v.InEnvironments() {
			v.Reason = cmp.Or(in.Environment, "without environment") + ": " + in.Reason
		}
	}
	return v
}

// InEnvironments reports whether the check runs in environments at all.
func (v *CheckVerdict) InEnvironments() bool {
	return len(v.Environments) != 1 || v.Environments[0].EnvironmentID != ""
}

func places(seats []Seat) []verdict.Seat {
	all := make([]verdict.Seat, len(seats))
	for i := range seats {
		all[i] = seats[i].Place()
	}
	return all
}
