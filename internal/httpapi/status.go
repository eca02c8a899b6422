package httpapi

import (
	"context"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/verdict"
)

// SystemStatus is the verdict on a system with everything that it rests on.
type SystemStatus struct {
	SystemID string       `json:"systemId"`
	System   string       `json:"system"`
	Status   check.Status `json:"status"`
	// Since is when the status was first this one; null when nothing was judged yet.
	Since  *time.Time `json:"since"`
	Reason string     `json:"reason"`
	// Maintenance: every check of it is in maintenance, and nobody is alarmed.
	Maintenance bool `json:"maintenance"`
	// SuppressedBy are the systems that its failure follows from, by its dependencies.
	SuppressedBy  []SystemName  `json:"suppressedBy,omitempty"`
	HealthyChecks int           `json:"healthyChecks"`
	TotalChecks   int           `json:"totalChecks"`
	Checks        []CheckStatus `json:"checks"`
}

// SystemName is a system where another is spoken of.
type SystemName struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// CheckStatus is the verdict on one check of the system.
type CheckStatus struct {
	CheckID string `json:"checkId"`
	Check   string `json:"check"`
	// Maintenance: it is in maintenance, and nobody is alarmed by it.
	Maintenance bool         `json:"maintenance"`
	Status      check.Status `json:"status"`
	// Reason is who says what, with the policy's arithmetic.
	Reason string `json:"reason"`
	// Since and VerdictID are of the stored verdict; null where it does not say so
	// (yet), and where the check runs in environments, which have verdicts of their own.
	Since     *time.Time `json:"since"`
	VerdictID *string    `json:"verdictId"`
	// Class is where the fault lies, as far as it is known, and Word on whose word; both
	// are missing where the check runs in environments.
	Class verdict.Class `json:"class,omitempty"`
	Word  string        `json:"word,omitempty"`
	// Suspect: the verdict is about to become worse, and others are asked first.
	Suspect bool `json:"suspect"`
	// Opinion is what they were asked and said; null when nobody was.
	Opinion *verdict.Opinion `json:"opinion,omitempty"`
	// Policy is the assignment's, with its defaults.
	Policy check.Policy `json:"policy"`
	// Environments are judged apart; the worst of them is the check's verdict.
	Environments []EnvironmentStatus `json:"environments,omitempty"`
	Locations    []LocationStatus    `json:"locations"`
}

// EnvironmentStatus is the verdict on a check in one environment of its system.
type EnvironmentStatus struct {
	EnvironmentID string        `json:"environmentId"`
	Environment   string        `json:"environment"`
	Status        check.Status  `json:"status"`
	Reason        string        `json:"reason"`
	Since         *time.Time    `json:"since"`
	VerdictID     *string       `json:"verdictId"`
	Class         verdict.Class `json:"class"`
	Word          string        `json:"word,omitempty"`
	// Suspect and Opinion are as those of a check without environments.
	Suspect bool             `json:"suspect"`
	Opinion *verdict.Opinion `json:"opinion,omitempty"`
}

// LocationStatus is what one satellite says of the check. Without a result yet
// its status is unknown and its times are null.
type LocationStatus struct {
	SatelliteID string `json:"satelliteId"`
	Satellite   string `json:"satellite"`
	Region      string `json:"region"`
	// EnvironmentID and Environment, its name, are missing from a run without one.
	EnvironmentID string `json:"environmentId,omitempty"`
	Environment   string `json:"environment,omitempty"`
	Online        bool   `json:"online"`
	// Fresh: it counts for the verdict.
	Fresh bool `json:"fresh"`
	// Inconclusive is why the newest run says nothing; null when it says something.
	Inconclusive *string `json:"inconclusive"`
	// Refused is why the satellite leaves the check out; missing when it does not.
	Refused string       `json:"refused,omitempty"`
	Status  check.Status `json:"status"`
	// Flapping: results change too often, and it counts as degraded.
	Flapping bool `json:"flapping"`
	// Recent are the newest results, oldest first: h, d, u.
	Recent     string     `json:"recent"`
	Since      *time.Time `json:"since"`
	ExecutedAt *time.Time `json:"executedAt"`
	ReceivedAt *time.Time `json:"receivedAt"`
	LatencyMs  *int64     `json:"latencyMs"`
	Message    string     `json:"message"`
	RunID      string     `json:"runId"`
}

// allSystems reads every page.
func (a *API) allSystems(ctx context.Context) (all []catalog.System, err error) {
	page := fleet.Page{Limit: 1000}
	for {
		systems, next, err := a.Catalog.Systems(ctx, page)
		if err != nil {
			return nil, err
		}
		all = append(all, systems...)
		if next == "" {
			return all, nil
		}
		page.Cursor = next
	}
}

// statuses judges the systems as of now, in their order: what was stored may have
// grown stale a moment ago.
func (a *API) statuses(ctx context.Context, systems []catalog.System) ([]SystemStatus, error) {
	ids := make([]string, len(systems))
	for i, s := range systems {
		ids[i] = s.ID
	}
	now, err := a.Records.Now(ctx)
	if err != nil {
		return nil, err
	}
	stored, err := a.Records.SystemHealths(ctx, ids)
	if err != nil {
		return nil, err
	}
	seats, err := a.Records.Seats(ctx, ids)
	if err != nil {
		return nil, err
	}
	verdicts, err := a.Records.Verdicts(ctx, ids)
	if err != nil {
		return nil, err
	}
	holding := map[[3]string]*verdict.Verdict{}
	for i := range verdicts {
		v := &verdicts[i]
		holding[[3]string{v.SystemID, v.CheckID, v.EnvironmentID}] = v
	}
	causes, err := a.causes(ctx, systems, stored)
	if err != nil {
		return nil, err
	}
	bySystem := map[string][]health.Seat{}
	for _, s := range seats {
		bySystem[s.SystemID] = append(bySystem[s.SystemID], s)
	}
	all := make([]SystemStatus, len(systems))
	for i, s := range systems {
		judged, verdicts := health.JudgeSystem(s.ID, bySystem[s.ID], now)
		view := SystemStatus{
			SystemID: s.ID, System: s.Name, Status: judged.Status, Reason: judged.Reason,
			Maintenance: judged.Maintenance, SuppressedBy: causes[s.ID], HealthyChecks: judged.HealthyChecks, TotalChecks: judged.TotalChecks, Checks: []CheckStatus{},
		}
		if old := stored[s.ID]; !old.Since.IsZero() && old.Status == judged.Status {
			view.Since = &old.Since
		}
		for _, v := range verdicts {
			view.Checks = append(view.Checks, checkStatus(v, holding, now))
		}
		all[i] = view
	}
	return all, nil
}

// causes names the systems that the failures of others follow from, as it is stored:
// by the id of the system that fails.
func (a *API) causes(ctx context.Context, systems []catalog.System, stored map[string]health.SystemHealth) (map[string][]SystemName, error) {
	names := map[string]string{}
	for _, s := range systems {
		names[s.ID] = s.Name
	}
	all := map[string][]SystemName{}
	for id, h := range stored {
		for _, cause := range h.Causes() {
			if _, known := names[cause]; !known {
				s, err := a.Catalog.System(ctx, cause)
				if err != nil && !fault.Is(err, fault.NotFound) {
					return nil, err
				}
				names[cause] = s.Name
			}
			if names[cause] != "" {
				all[id] = append(all[id], SystemName{ID: cause, Name: names[cause]})
			}
		}
	}
	return all, nil
}

func checkStatus(v health.CheckVerdict, holding map[[3]string]*verdict.Verdict, now time.Time) CheckStatus {
	view := CheckStatus{
		CheckID: v.CheckID, Check: v.Check, Status: v.Status, Reason: v.Reason, Maintenance: v.Maintenance,
		Policy: v.Seats[0].Policy.WithDefaults(), Locations: []LocationStatus{},
	}
	for _, in := range v.Environments {
		one := EnvironmentStatus{EnvironmentID: in.EnvironmentID, Environment: in.Environment, Status: in.Status, Reason: in.Reason, Class: in.Class, Word: in.Word, Suspect: in.Suspect, Opinion: in.Seats[0].Opinion}
		if held := holding[[3]string{in.SystemID, in.CheckID, in.EnvironmentID}]; held != nil && held.Status == in.Status {
			one.Since, one.VerdictID = &held.At, &held.ID
		}
		if !v.InEnvironments() {
			view.Since, view.VerdictID, view.Suspect, view.Opinion = one.Since, one.VerdictID, one.Suspect, one.Opinion
			view.Class, view.Word = one.Class, one.Word
		} else {
			view.Environments = append(view.Environments, one)
		}
	}
	for _, seat := range v.Seats {
		l := LocationStatus{
			SatelliteID: seat.SatelliteID, Satellite: seat.SatelliteName, Region: seat.Region, EnvironmentID: seat.EnvironmentID, Environment: seat.Environment,
			Online: seat.Online, Fresh: seat.Fresh(now), Status: check.Unknown, Refused: seat.Refused,
		}
		if at := seat.Location; at != nil {
			l.Status, l.Since, l.ExecutedAt, l.ReceivedAt = at.Status, &at.Since, &at.ExecutedAt, &at.ReceivedAt
			l.LatencyMs, l.Message, l.RunID = at.LatencyMs, at.Message, at.RunID
			l.Flapping, l.Recent = at.Flapping, at.Recent
		}
		if seat.IsBlind(now) {
			l.Inconclusive = &seat.Blind.Reason
		}
		view.Locations = append(view.Locations, l)
	}
	return view
}
