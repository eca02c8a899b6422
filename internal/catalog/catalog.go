// Package catalog is what people define: systems, checks, and the assignments
// that join them and say where they run.
//
// Every write validates first, happens in one transaction, recomputes which
// satellites are placed, raises the desired revision of exactly the satellites
// that are affected, and rings fleet.TopicConfig afterwards (spec M62, M64, M65).
// A satellite is affected when what it is told differs afterwards: labels,
// descriptions and an assignment's name are not told to it.
//
// Definitions have unique names, and an id is accepted wherever a name is. What
// is wrong with an input is a fault of kind Invalid that names every wrong place
// at once.
//
// It does not send anything to satellites (package hub does) and does not judge
// a check's config itself (New is given what does).
package catalog

import (
	"context"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// System is a thing that is watched.
type System struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Labels      map[string]string `json:"labels"`
	// Fields are what its runs know of it, as {{ system.metadata.KEY }}. Unlike labels
	// they are told to satellites, and select nothing.
	Fields map[string]any `json:"fields"`
	// Environments are those that it exists in, in the order in which checks run.
	Environments []Environment `json:"environments"`
	// DependsOnIDs are the systems without which this one cannot be well, and DependsOn
	// their names, filled in on read. While one of them is down, the failure of this one
	// follows from that and raises no alarm of its own.
	DependsOnIDs []string  `json:"dependsOnIds"`
	DependsOn    []string  `json:"dependsOn"`
	CreatedAt    time.Time `json:"createdAt"`
	UpdatedAt    time.Time `json:"updatedAt"`
}

// Check is a named check.Spec.
type Check struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels"`
	Spec      check.Spec        `json:"spec"`
	CreatedAt time.Time         `json:"createdAt"`
	UpdatedAt time.Time         `json:"updatedAt"`
}

// Assignment joins a check and a system and says where it runs. There is at most
// one for each pair.
type Assignment struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Labels   map[string]string `json:"labels"`
	CheckID  string            `json:"checkId"`
	SystemID string            `json:"systemId"`
	// CheckName and SystemName are filled in on read.
	CheckName  string `json:"check"`
	SystemName string `json:"system"`
	// IncludeLocal: the core's built-in satellite runs it too.
	IncludeLocal bool     `json:"includeLocal"`
	Satellites   Selector `json:"satellites"`
	// Environments are the names of those of the system's that it runs in; nil (null) is
	// all, an empty list one run without an environment. SatelliteEnvironments narrow
	// that in the same way, by the name of the satellite. See Environments.
	Environments          []string            `json:"environments"`
	SatelliteEnvironments map[string][]string `json:"satelliteEnvironments,omitempty"`
	Enabled               bool                `json:"enabled"`
	// Policy says when results mean that something is wrong.
	Policy check.Policy `json:"policy,omitzero"`
	// Placed are the names of the satellites that run it now; filled in on read.
	Placed []string `json:"placed"`
	// Seats are where the seats of a counted assignment are; filled in on read.
	Seats     []SeatAt  `json:"seats,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// Selector picks satellites: by name, or by a label selector such as
// "region in (eu, us), tier!=test" (package selector). Both may be given; either
// match counts. It is kept in canonical form: names sorted and without
// duplicates, the selector as selector.Selector writes it. A label selector never
// picks the built-in satellite; IncludeLocal does.
//
// With a Count the label selector picks no more than so many satellites, one for each
// seat, spread over the values of the label SpreadBy; those named come on top.
type Selector struct {
	Names    []string `json:"names,omitempty"`
	Selector string   `json:"selector,omitempty"`
	Count    int      `json:"count,omitempty"`
	SpreadBy string   `json:"spreadBy,omitempty"`
}

// LocalSatellite is the reserved name of the core's built-in satellite.
const LocalSatellite = "local"

// Store is what catalog reads outside of transactions. Lists are ordered by name;
// next is "" at the end.
type Store interface {
	System(ctx context.Context, id string) (System, error)
	SystemByName(ctx context.Context, name string) (System, error)
	Systems(ctx context.Context, p fleet.Page) (items []System, next string, err error)
	Check(ctx context.Context, id string) (Check, error)
	CheckByName(ctx context.Context, name string) (Check, error)
	Checks(ctx context.Context, p fleet.Page) (items []Check, next string, err error)
	Assignment(ctx context.Context, id string) (Assignment, error)
	AssignmentByName(ctx context.Context, name string) (Assignment, error)
	Assignments(ctx context.Context, p fleet.Page) (items []Assignment, next string, err error)
	Maintenance(ctx context.Context, id string) (Maintenance, error)
	MaintenanceByName(ctx context.Context, name string) (Maintenance, error)
	Maintenances(ctx context.Context, p fleet.Page) (items []Maintenance, next string, err error)
	// DueMaintenances are those that are not over, or not recorded as over, with the
	// database's time.
	DueMaintenances(ctx context.Context) (all []Maintenance, now time.Time, err error)
}

// Tx is what catalog does inside a transaction. Put inserts or updates by ID; a
// name (or pair) held by another row is a Conflict. Delete of an unknown id is
// NotFound; deleting a system or check deletes its assignments.
type Tx interface {
	entity.Tx
	fleet.Tx
	AllSystems(ctx context.Context) ([]System, error)
	AllChecks(ctx context.Context) ([]Check, error)
	// AllAssignments may leave Placed empty: planning reads the placements it needs.
	AllAssignments(ctx context.Context) ([]Assignment, error)
	AllSatellites(ctx context.Context) ([]fleet.Satellite, error)
	PutSystems(ctx context.Context, all ...System) error
	DeleteSystem(ctx context.Context, id string) error
	PutChecks(ctx context.Context, all ...Check) error
	DeleteCheck(ctx context.Context, id string) error
	PutAssignments(ctx context.Context, all ...Assignment) error
	DeleteAssignment(ctx context.Context, id string) error
	// PutDependencies replaces what a system depends on.
	PutDependencies(ctx context.Context, systemID string, dependsOnIDs []string) error
	AllMaintenances(ctx context.Context) ([]Maintenance, error)
	PutMaintenance(ctx context.Context, m Maintenance) error
	DeleteMaintenance(ctx context.Context, id string) error
	// Maintained is what is in maintenance now, and Maintain begins and ends that.
	Maintained(ctx context.Context) ([]Maintained, error)
	Maintain(ctx context.Context, begin, end []Maintained) error
	// SeatsOf are where the seats of the assignments are, in the order of their ids and
	// numbers; nil means of all assignments.
	SeatsOf(ctx context.Context, assignmentIDs []string) ([]SeatAt, error)
	// Watched is since when some core has been looking without a gap.
	Watched(ctx context.Context) (time.Time, error)
	// Placements and those that follow are about placements that are no seats.
	// Placements gives, for each assignment, the satellites on which it is placed now.
	Placements(ctx context.Context) (map[string][]string, error)
	// PlacementsOf is Placements of the given assignments only.
	PlacementsOf(ctx context.Context, assignmentIDs []string) (map[string][]string, error)
	// PlacementsOn gives the assignments that are placed on one satellite now.
	PlacementsOn(ctx context.Context, satelliteID string) (assignmentIDs []string, err error)
	// Place adds and removes placements. A removed one stays for a while as a grant
	// for runs that were due before (spec M68), also when its assignment is deleted.
	Place(ctx context.Context, add, remove []Placement) error
	// BumpRevisions raises the desired revision of the satellites.
	BumpRevisions(ctx context.Context, satelliteIDs []string) error
}

// Placement is one assignment on one satellite.
type Placement struct {
	AssignmentID string
	SatelliteID  string
	CheckID      string
	SystemID     string
	// Seat is the number of the assignment's seat, from 1; 0 is a placement that is none.
	Seat int
	// Reason is why the seat is there (to be added) or goes away (to be removed).
	Reason Reason
	// Handover, of a seat that goes away: the satellite keeps it up to the end of its
	// lease, and the one that gets it begins behind that.
	Handover bool
}

// SeatAt is a seat of a counted assignment and where it is.
type SeatAt struct {
	AssignmentID string `json:"-"`
	SatelliteID  string `json:"satelliteId"`
	Satellite    string `json:"satellite"`
	Number       int    `json:"seat"`
	// Since is after which slot it is run there, Until the last one while it is handed
	// over to another satellite; nil otherwise.
	Since time.Time  `json:"since"`
	Until *time.Time `json:"until,omitempty"`
	// Reason is why it is there, or, while it is handed over, why it goes.
	Reason Reason `json:"reason"`
}

// Reason is why a seat is where it is.
type Reason string

const (
	ReasonPlaced   Reason = "placed"   // it was to be filled
	ReasonLost     Reason = "lost"     // its satellite was silent beyond the hold-off
	ReasonDrained  Reason = "drained"  // its satellite is drained
	ReasonMatch    Reason = "match"    // its satellite is not picked any more, or gone
	ReasonClock    Reason = "clock"    // its satellite's clock is too far ahead
	ReasonBalanced Reason = "balanced" // its satellite had more than its share
)
