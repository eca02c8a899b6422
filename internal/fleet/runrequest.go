package fleet

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/protocol"
)

// TopicRun is rung when runs were asked for.
const TopicRun = "run"

const (
	// RunPatience is how long an asked run waits for its satellite to be connected.
	RunPatience = 30 * time.Second
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
	// RunExpired: the satellite was not connected in time, and will not be told.
	RunExpired RunState = "not_connected"
)

// RunRequest is one run that somebody asked for, at one satellite.
type RunRequest struct {
	protocol.Pair
	SatelliteID string   `json:"satelliteId"`
	Satellite   string   `json:"satellite"` // its name
	Slot        int64    `json:"slot"`      // Unix milliseconds
	State       RunState `json:"state"`
	// RunID is what the result will have. Original agents know no slots; theirs is made
	// of when they ran (spec M2), and their request stays at sent.
	RunID string `json:"runId"`
	// Status of the result, "" without one.
	Status string `json:"status,omitempty"`
}

// RunRequestStore keeps asked runs.
type RunRequestStore interface {
	// InsertRunRequests asks for a run of the assignment at each satellite where it runs
	// now, or at those of them that are named (by id or name), and forgets requests
	// older than forget. It returns how many it asked for.
	InsertRunRequests(ctx context.Context, requestID, assignmentID, by string, satellites []string, forget time.Duration) (int, error)
	// ClaimRunRequests takes the waiting runs of these satellites that are not older
	// than patience. Each is given to one caller only.
	ClaimRunRequests(ctx context.Context, satelliteIDs []string, patience time.Duration) ([]RunRequest, error)
	// RunRequests are those of a request by the satellites' names, without RunID and Status.
	RunRequests(ctx context.Context, requestID string, patience time.Duration) ([]RunRequest, error)
	// RunStatuses are the statuses of those runs that there are, by run id.
	RunStatuses(ctx context.Context, runIDs []string) (map[string]string, error)
}

// RunRequests is the service of runs that people ask for. The core that takes the
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

// Ask asks for a run of an assignment now, at all its satellites or the named ones.
// The answer is the id of the request. Faults: Invalid when it runs at none of them.
func (r *RunRequests) Ask(ctx context.Context, by, assignmentID string, satellites []string) (string, error) {
	id := uuid.Must(uuid.NewV7()).String()
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

// Get tells how far the runs of a request are. Faults: NotFound.
func (r *RunRequests) Get(ctx context.Context, requestID string) ([]RunRequest, error) {
	asked, err := r.store.RunRequests(ctx, requestID, RunPatience)
	if err != nil {
		return nil, err
	}
	if len(asked) == 0 {
		return nil, fault.New(fault.NotFound, "there is no request for runs %s", requestID)
	}
	ids := make([]string, len(asked))
	for i := range asked {
		a := &asked[i]
		a.RunID = check.RunID(time.UnixMilli(a.Slot), a.SatelliteID, check.Key{CheckID: a.ConfigID, SystemID: a.SystemID})
		ids[i] = a.RunID
	}
	statuses, err := r.store.RunStatuses(ctx, ids)
	if err != nil {
		return nil, err
	}
	for i := range asked {
		if status, there := statuses[asked[i].RunID]; there {
			asked[i].State, asked[i].Status = RunDone, status
		}
	}
	return asked, nil
}

// Claim takes the waiting runs of these satellites, to be passed on to them.
func (r *RunRequests) Claim(ctx context.Context, satelliteIDs []string) ([]RunRequest, error) {
	return r.store.ClaimRunRequests(ctx, satelliteIDs, RunPatience)
}
