package fleet

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/protocol"
)

const (
	// TopicRun is rung when runs were asked for.
	TopicRun = "run"
	// TopicAnswer is rung when runs that were asked for have been answered.
	TopicAnswer = "answer"
)

const (
	// RunPatience is how long an asked run waits for its satellite to be connected.
	RunPatience = 30 * time.Second
	// GuestDeadline bounds the run of what the satellite does not hold.
	GuestDeadline = 30 * time.Second
	// RunGrant is how long after a run was asked for its satellite may answer.
	RunGrant = 15 * time.Minute
	// runMemory is how long is known what was asked.
	runMemory = 24 * time.Hour
)

// Asked is what a run was asked for; "" is a run of the schedule.
type Asked string

const (
	AskedManually   Asked = "manual"  // by somebody
	AskedForOpinion Asked = "opinion" // by a core that is about to change its verdict
)

// RunState is how far an asked run is.
type RunState string

const (
	RunWaiting RunState = "waiting" // no core has passed it on yet
	RunSent    RunState = "sent"    // its satellite was told
	RunDone    RunState = "done"    // the result is there
	RunSkipped RunState = "skipped" // the satellite did not run it, and said why
	// RunRefused: the satellite was not asked, because it could not or must not run it.
	RunRefused RunState = "refused"
	// RunExpired: the satellite was not connected in time, and will not be told.
	RunExpired RunState = "not_connected"
)

// Over reports whether there is nothing more to wait for.
func (s RunState) Over() bool { return s != RunWaiting && s != RunSent }

// RunRequest is one run that somebody asked for, at one satellite.
type RunRequest struct {
	protocol.Pair
	// EnvironmentID narrows it to one environment; "" is all that the assignment names.
	EnvironmentID string   `json:"environmentId,omitempty"`
	SatelliteID   string   `json:"satelliteId"`
	Satellite     string   `json:"satellite"` // its name
	Region        string   `json:"region,omitempty"`
	Slot          int64    `json:"slot"` // Unix milliseconds
	Asked         Asked    `json:"asked"`
	State         RunState `json:"state"`
	// Reason is why it was refused, or skipped.
	Reason string `json:"reason,omitempty"`
	// Guest: the satellite does not hold the pair and is given the assignment.
	Guest bool `json:"guest,omitempty"`
	// Expected are the results that there will be, by environment. Original agents know
	// no slots; the ids of theirs are made of when they ran (spec M2), and their request
	// stays at sent.
	Expected []ExpectedRun `json:"expected"`
	// Status is the worst of the answers, "" without one.
	Status  string      `json:"status,omitempty"`
	Answers []RunAnswer `json:"answers,omitempty"`
	// Assignment is what a guest runs; nil when it is gone.
	Assignment *protocol.Assignment `json:"-"`
	// Deadline of a guest's run. RequestedAt is by the database's clock.
	Deadline    time.Duration `json:"-"`
	RequestedAt time.Time     `json:"-"`
}

// ExpectedRun is a result that an asked run will have: one for each environment, or one
// without.
type ExpectedRun struct {
	RunID         string `json:"runId"`
	EnvironmentID string `json:"environmentId,omitempty"`
	Environment   string `json:"environment,omitempty"` // its name
}

// RunAnswer is what became of an asked run in one environment: a result, or a skip.
type RunAnswer struct {
	RunID         string         `json:"runId"`
	SatelliteID   string         `json:"-"`
	EnvironmentID string         `json:"environmentId,omitempty"`
	Status        check.Status   `json:"status,omitempty"`
	LatencyMs     *int64         `json:"latencyMs,omitempty"`
	Message       string         `json:"message,omitempty"`
	Timings       *check.Timings `json:"timings,omitempty"`
	ReceivedAt    time.Time      `json:"receivedAt"`
	// Inconclusive is why the run says nothing of its target: the satellite was ill.
	Inconclusive string              `json:"inconclusive,omitempty"`
	Skipped      protocol.SkipReason `json:"skipped,omitempty"`
}

// RunPlace is a satellite as who asks for a run sees it.
type RunPlace struct {
	SatelliteID string
	Satellite   string
	Region      string
	Tags        map[string]string
	Online      bool
	// Connected: a core that runs holds its session. One that is online and not connected
	// is on its way back, as after a core has stopped, or has not been missed yet.
	Connected bool
	Cordoned  bool
	Ill       bool                // it says itself that something is wrong with it
	Inventory *protocol.Inventory // nil from one that does not say
	// Holds: the satellite is to run the pair now, by its schedule.
	Holds bool
}

// RunOrder asks for runs of one check of one system at some satellites.
type RunOrder struct {
	// ID of the request; "" gives it one.
	ID string
	// Pair; SystemID may be left out when the check is assigned to one system only.
	protocol.Pair
	// Environment is an id or a name; "" is all that the assignment names.
	Environment string
	// Satellites are ids or names, each once; none are those that hold the pair.
	Satellites []string
	By         string // who asks
	Asked      Asked
}

// RunRequestStore keeps asked runs.
type RunRequestStore interface {
	// InsertRunRequests asks for a run of the assignment at each satellite where it runs
	// now, or at those of them that are named (by id or name), and forgets requests
	// older than forget. It returns how many it asked for.
	InsertRunRequests(ctx context.Context, requestID, assignmentID, by string, satellites []string, forget time.Duration) (int, error)
	// RunPlaces are the satellites (all that hold the pair when none is named), by name.
	RunPlaces(ctx context.Context, pair protocol.Pair, satellites []string) ([]RunPlace, error)
	// PutRunRequests writes down the rows of a request, all of one slot, which is now.
	PutRunRequests(ctx context.Context, requestID, by string, rows []RunRequest, forget time.Duration) error
	// ClaimRunRequests takes the waiting runs of these satellites that are not older
	// than patience, with what guests run. Each is given to one caller only.
	ClaimRunRequests(ctx context.Context, satelliteIDs []string, patience time.Duration) ([]RunRequest, error)
	// RefuseRunRequest says why a run is not passed on.
	RefuseRunRequest(ctx context.Context, r RunRequest, reason string) error
	// RunRequests are those of a request by the satellites' names, without answers; the
	// expected runs have no id yet, and are none where no environment is named.
	RunRequests(ctx context.Context, requestID string, patience time.Duration) ([]RunRequest, error)
	// RunAnswers are the answers to the runs of one request, which have one slot.
	RunAnswers(ctx context.Context, of []RunRequest) ([]RunAnswer, error)
	// SystemsOfCheck are the names, by id, of those that the check is assigned to.
	SystemsOfCheck(ctx context.Context, checkID string) (map[string]string, error)
	// PairAssignments gives what the pairs are, as a satellite gets it; those that are
	// not assigned are left out.
	PairAssignments(ctx context.Context, pairs []protocol.Pair) (map[protocol.Pair]*protocol.Assignment, error)
}

// RunRequests is the service of runs that are asked for. The core that takes the
// request need not be the one that holds the satellite: requests are rows, and each
// core claims those of the satellites that are connected to it.
type RunRequests struct {
	store RunRequestStore
	bell  entity.Bell
}

// NewRunRequests makes the service.
func NewRunRequests(store RunRequestStore, bell entity.Bell) *RunRequests {
	return &RunRequests{store: store, bell: bell}
}

func newRequestID() string { return uuid.Must(uuid.NewV7()).String() }

// Ask asks for a run of an assignment now, at all its satellites or the named ones.
// The answer is the id of the request. Faults: Invalid when it runs at none of them.
func (r *RunRequests) Ask(ctx context.Context, by, assignmentID string, satellites []string) (string, error) {
	id := newRequestID()
	n, err := r.store.InsertRunRequests(ctx, id, assignmentID, by, satellites, runMemory)
	if err != nil {
		return "", err
	}
	if n == 0 {
		return "", fault.New(fault.Invalid, "the assignment runs on none of these satellites now")
	}
	r.bell.Ring(TopicRun)
	return id, nil
}

// Order asks for runs from anywhere. A satellite that does not hold the pair is given
// it for one run; one that cannot run it is not asked, and its request says why.
// Faults: NotFound when the check is not assigned to the system, Invalid for
// satellites that do not exist.
func (r *RunRequests) Order(ctx context.Context, o RunOrder) (string, error) {
	if o.SystemID == "" {
		var err error
		if o.SystemID, err = r.onlySystem(ctx, o.ConfigID); err != nil {
			return "", err
		}
	}
	assignments, err := r.store.PairAssignments(ctx, []protocol.Pair{o.Pair})
	if err != nil {
		return "", err
	}
	a := assignments[o.Pair]
	if a == nil {
		return "", fault.New(fault.NotFound, "the check is not assigned to the system")
	}
	environmentID, err := environmentOf(a, o.Environment)
	if err != nil {
		return "", err
	}
	places, err := r.store.RunPlaces(ctx, o.Pair, o.Satellites)
	if err != nil {
		return "", err
	}
	if missing := unknown(o.Satellites, places); missing != nil {
		return "", missing
	}
	if len(places) == 0 {
		return "", fault.New(fault.Invalid, "the check runs on no satellite now; name one to run it there")
	}
	rows := make([]RunRequest, len(places))
	for i, p := range places {
		rows[i] = RunRequest{
			Pair: o.Pair, EnvironmentID: environmentID, SatelliteID: p.SatelliteID, Asked: o.Asked,
			State: RunWaiting, Guest: !p.Holds, Deadline: GuestDeadline,
		}
		if why := p.Unable(a.StrategyID); why != "" {
			rows[i].State, rows[i].Reason = RunRefused, why
		}
	}
	id := cmp.Or(o.ID, newRequestID())
	if err := r.store.PutRunRequests(ctx, id, o.By, rows, runMemory); err != nil {
		return "", err
	}
	r.bell.Ring(TopicRun)
	return id, nil
}

// onlySystem is the one to which the check is assigned.
func (r *RunRequests) onlySystem(ctx context.Context, checkID string) (string, error) {
	systems, err := r.store.SystemsOfCheck(ctx, checkID)
	switch {
	case err != nil:
		return "", err
	case len(systems) == 0:
		return "", fault.New(fault.NotFound, "the check is not assigned to any system")
	case len(systems) > 1:
		names := slices.Sorted(maps.Values(systems))
		if len(names) > 10 {
			names = append(names[:10], "…")
		}
		return "", &fault.Error{Kind: fault.Invalid, Message: "say which system is meant", Fields: []fault.Field{{
			Path: "body.system", Message: "the check is assigned to several: " + strings.Join(names, ", "),
		}}}
	}
	for id := range systems {
		return id, nil
	}
	return "", nil
}

func environmentOf(a *protocol.Assignment, ref string) (string, error) {
	if ref == "" {
		return "", nil
	}
	for _, e := range a.Environments {
		if e.ID == ref || e.Name == ref {
			return e.ID, nil
		}
	}
	return "", fault.New(fault.NotFound, "the check does not run in an environment %s", ref)
}

func unknown(names []string, places []RunPlace) error {
	var fields []fault.Field
	for i, name := range names {
		if !slices.ContainsFunc(places, func(p RunPlace) bool { return p.SatelliteID == name || p.Satellite == name }) {
			fields = append(fields, fault.Field{Path: fmt.Sprintf("body.satellites[%d]", i), Message: "there is no such satellite", Value: name})
		}
	}
	if fields == nil {
		return nil
	}
	return &fault.Error{Kind: fault.Invalid, Message: "runs are asked for at satellites that do not exist", Fields: fields}
}

// Unable says why the satellite cannot be asked to run the strategy now; "" when it can.
func (p *RunPlace) Unable(strategy string) string {
	switch {
	case !p.Online:
		return "it is offline"
	case p.Holds:
		return ""
	case p.Cordoned:
		return "it is cordoned: it gets nothing new to run"
	case p.Inventory == nil || !slices.Contains(p.Inventory.Features, protocol.FeatureOpinion):
		return "it does not know how to run what is not assigned to it; update it"
	case !slices.Contains(p.Inventory.Strategies, strategy):
		return "it has no strategy " + strategy
	}
	return ""
}

// Get tells how far the runs of a request are. Faults: NotFound.
func (r *RunRequests) Get(ctx context.Context, requestID string) ([]RunRequest, error) {
	asked, err := r.store.RunRequests(ctx, requestID, RunPatience)
	if err != nil {
		return nil, err
	}
	if len(asked) == 0 {
		return nil, fault.New(fault.NotFound, "there is no request for runs %s", requestID)
	}
	answers, err := r.store.RunAnswers(ctx, asked)
	if err != nil {
		return nil, err
	}
	for i := range asked {
		asked[i].expect()
		asked[i].answered(answers, len(asked[i].Expected))
	}
	return asked, nil
}

// expect narrows what is expected to the environment that was asked for, and names it.
func (r *RunRequest) expect() {
	r.Expected = slices.DeleteFunc(r.Expected, func(e ExpectedRun) bool { return r.EnvironmentID != "" && e.EnvironmentID != r.EnvironmentID })
	if len(r.Expected) == 0 {
		r.Expected = []ExpectedRun{{EnvironmentID: r.EnvironmentID}}
	}
	for i := range r.Expected {
		e := &r.Expected[i]
		e.RunID = check.RunID(time.UnixMilli(r.Slot), r.SatelliteID, check.Key{CheckID: r.ConfigID, SystemID: r.SystemID, EnvironmentID: e.EnvironmentID})
	}
}

// answered adds the answers of its satellite. Done is when there are as many as expected.
func (r *RunRequest) answered(all []RunAnswer, expected int) {
	var worst check.Status
	for _, a := range all {
		if a.SatelliteID != r.SatelliteID || r.EnvironmentID != "" && a.EnvironmentID != r.EnvironmentID {
			continue // of another request in the same millisecond, maybe
		}
		r.Answers = append(r.Answers, a)
		switch {
		case a.Skipped != "":
			r.Reason = SkipWords(a.Skipped)
		case worst == "":
			worst = a.Status
		default:
			worst = check.Worst(worst, a.Status)
		}
	}
	slices.SortFunc(r.Answers, func(a, b RunAnswer) int {
		return cmp.Or(strings.Compare(a.EnvironmentID, b.EnvironmentID), strings.Compare(a.RunID, b.RunID))
	})
	r.Status = string(worst)
	switch {
	case len(r.Answers) > 0 && worst == "":
		r.State = RunSkipped
	case len(r.Answers) >= expected:
		r.State = RunDone
	}
}

// SkipWords say why a satellite did not run what it was asked to.
func SkipWords(reason protocol.SkipReason) string {
	switch reason {
	case protocol.SkipDown:
		return "it was stopped before the run ended"
	case protocol.SkipOverlap:
		return "it is running this check already"
	case protocol.SkipLimit:
		return "it is too busy"
	case protocol.SkipSecrets:
		return "it could not ask for the check's secrets"
	case protocol.SkipUnassigned:
		return "it does not hold this check"
	case protocol.SkipUnsupported:
		return "it cannot carry this check out"
	}
	return string(reason)
}

// Claim takes the waiting runs of these satellites, to be passed on to them.
func (r *RunRequests) Claim(ctx context.Context, satelliteIDs []string) ([]RunRequest, error) {
	return r.store.ClaimRunRequests(ctx, satelliteIDs, RunPatience)
}

// Refuse says why a claimed run was not passed on.
func (r *RunRequests) Refuse(ctx context.Context, request RunRequest, reason string) error {
	if err := r.store.RefuseRunRequest(ctx, request, reason); err != nil {
		return err
	}
	r.bell.Ring(TopicAnswer)
	return nil
}
