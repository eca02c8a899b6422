package packages

import (
	"context"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
	"github.com/perigee-monitoring/perigee/protocol"
)

// KindTree is what satellites should have, as an entity; there is one, TreeID.
const (
	KindTree = "script-packages"
	TreeID   = "tree"
)

// TypeChanged is the event of another lockfile hash (spec I.4), TypeFailed that of an
// installation that failed.
const (
	TypeChanged = "script-packages.changed"
	TypeFailed  = "script-packages.failed"
)

// Topic is rung when what satellites should have may have changed.
const Topic = "packages"

// Status is how the installation is (spec G.2).
type Status string

const (
	Idle       Status = "idle" // never installed
	Installing Status = "installing"
	Ready      Status = "ready"
	Failed     Status = "error"
)

// Installation is the one row that says what satellites should have, and who is at
// work on it.
type Installation struct {
	Status Status
	// LockfileHash is the tree that satellites should have; nil for no packages. A
	// failed installation leaves it.
	LockfileHash *string
	// List is what was installed, as name@version.
	List            []string
	TotalSizeBytes  int64
	LastInstalledAt *time.Time
	ErrorMessage    string
	Warnings        []string
	// Done of Total packages are there; while Total is 0 the tree is being resolved.
	Done, Total int
	// Holder is whoever installs or collects, "" for nobody, until LeaseUntil; Lapsed
	// when that has passed.
	Holder     string
	LeaseUntil *time.Time
	Lapsed     bool
}

func (i *Installation) state() entity.State {
	// Progress is part of it, so that who listens hears it; it is written down once a second.
	return entity.State{"status": i.Status, "lockfileHash": i.LockfileHash, "done": i.Done, "total": i.Total}
}

// taken reports whether somebody is at work.
func (i *Installation) taken() bool { return i.Holder != "" && !i.Lapsed }

// Derivers say what changes of packages mean.
func Derivers() []entity.Deriver {
	return []entity.Deriver{{
		Kind: KindTree,
		Types: func(c entity.Change) []string {
			var types []string
			if changed, err := entity.Diff(entity.State{"hash": c.Prev["lockfileHash"]}, entity.State{"hash": c.Next["lockfileHash"]}); err == nil && len(changed) > 0 {
				types = append(types, TypeChanged)
			}
			if c.Next["status"] == Failed {
				types = append(types, TypeFailed)
			}
			return types
		},
		Payload: func(c entity.Change) any { return map[string]any{"lockfileHash": c.Next["lockfileHash"]} },
	}}
}

// Lockfile is a tree that was made here.
type Lockfile struct {
	Hash string
	// Entries have no BlobSha256: that is the blobs'.
	Entries    []scriptpkg.Entry
	RecordedAt time.Time
}

// Tree is a tree that was installed, as people see it.
type Tree struct {
	LockfileHash string        `json:"lockfileHash"`
	InstalledAt  time.Time     `json:"installedAt"`
	Wanted       bool          `json:"wanted" doc:"Whether satellites should have it now."`
	Packages     []TreePackage `json:"packages"`
}

// TreePackage is one package of a tree.
type TreePackage struct {
	Name      string `json:"name"`
	Version   string `json:"version"`
	Integrity string `json:"integrity"`
}

// Blob is what is known of a package's blob beside its bytes.
type Blob struct {
	Integrity string
	Name      string
	Version   string
	Sha256    string
	Size      int64  // in bytes
	Backend   string // the name of the store that has it
	StoredAt  time.Time
}

// State is the installation as it is shown.
type State struct {
	Status          Status     `json:"status" enum:"idle,installing,ready,error"`
	LockfileHash    *string    `json:"lockfileHash" doc:"The tree that satellites should have; null for no packages."`
	Packages        int        `json:"packages" doc:"How many packages the tree has, dependencies included."`
	TotalSizeBytes  int64      `json:"totalSizeBytes" doc:"What its blobs come to."`
	LastInstalledAt *time.Time `json:"lastInstalledAt"`
	ErrorMessage    string     `json:"errorMessage,omitempty"`
	Warnings        []string   `json:"warnings"`
	// Done and Total count packages while an installation is under way.
	Done     int    `json:"done"`
	Total    int    `json:"total" doc:"0 while the tree is being resolved."`
	Outdated bool   `json:"outdated" doc:"The list has changed since it was installed."`
	Registry string `json:"registry"`
}

// abandoned is what is said of an installation whose core is gone.
const abandoned = "the core that installed has ended; install again"

// State tells how the installation is.
func (s *Service) State(ctx context.Context) (State, error) {
	i, err := s.store.Installation(ctx)
	if err != nil {
		return State{}, err
	}
	list, err := s.store.Packages(ctx)
	if err != nil {
		return State{}, err
	}
	state := State{
		Status: i.Status, LockfileHash: i.LockfileHash, TotalSizeBytes: i.TotalSizeBytes, LastInstalledAt: i.LastInstalledAt,
		ErrorMessage: i.ErrorMessage, Warnings: i.Warnings, Done: i.Done, Total: i.Total,
		Outdated: !slices.Equal(i.List, specs(list)), Registry: s.registry.base.String(),
	}
	if i.Status == Installing && !i.taken() {
		state.Status, state.ErrorMessage = Failed, abandoned
	}
	if i.LockfileHash != nil {
		tree, err := s.store.Lockfile(ctx, *i.LockfileHash)
		if err != nil {
			return State{}, err
		}
		state.Packages = len(tree.Entries)
	}
	return state, nil
}

// specs are the enabled packages of a list as name@version, in order.
func specs(list []Package) []string {
	all := []string{}
	for _, p := range list {
		if p.Enabled {
			all = append(all, p.Name+"@"+p.Version)
		}
	}
	slices.Sort(all)
	return all
}

// SatelliteState is how far a satellite is (spec G.6).
type SatelliteState struct {
	SatelliteID  string             `json:"satelliteId"`
	Name         string             `json:"name"`
	LockfileHash *string            `json:"lockfileHash"`
	Status       protocol.SyncState `json:"status" enum:"pending,syncing,ready,error" doc:"pending when it has not said anything yet."`
	ErrorMessage string             `json:"errorMessage,omitempty"`
	SyncedAt     *time.Time         `json:"syncedAt" doc:"When it said so."`
}

// Satellites lists how far each satellite is, by name.
func (s *Service) Satellites(ctx context.Context) ([]SatelliteState, error) {
	return s.store.PackageSyncStates(ctx)
}
