// Package storetest is what every database engine of package store must do: one
// suite, run on each of them.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/store"
)

// Run runs the suite. Open gives an empty database that ends with the test.
func Run(t *testing.T, open func(t testing.TB) *store.DB) {
	tests := []struct {
		name string
		run  func(t *testing.T, s *suite)
	}{
		{"InTxRollsBack", testRollsBack},
		{"InTxEndsWithItsCaller", testCancelled},
		{"ClockStandsStillInATransaction", testClock},
		{"Tokens", testTokens},
		{"ReplaceToken", testReplaceToken},
		{"TokensOfUsers", testTokensOfUsers},
		{"Users", testUsers},
		{"PageSessions", testPageSessions},
		{"SetupCodes", testSetupCodes},
		{"Audit", testAudit},
		{"Facts", testFacts},

		{"Satellite", testSatellite},
		{"M92_SatelliteNameIsTaken", testSatelliteNameTaken},
		{"MissingSatellite", testMissingSatellite},
		{"L12_L13_L55_L56_L174_L176_L178_L180_StatusIsComputedOnRead", testStatus},
		{"UpgradedTokenHash", testUpgrade},
		{"SatelliteFilter", testSatelliteFilter},
		{"M91_SatellitePagesWhileInserting", testSatellitePages},
		{"BadCursor", testBadCursor},
		{"Credential", testCredential},
		{"M33_TwoTokens", testTwoTokens},
		{"M33_TokenUse", testTokenUse},
		{"M33_TokensThatExpireAreFoundOnce", testExpiring},
		{"Reports", testReports},
		{"RunRequests", testRunRequests},
		{"RunRequestsInEnvironments", testRunRequestsInEnvironments},
		{"InconclusiveRuns", testInconclusiveRuns},
		{"BlindLocations", testBlindLocations},
		{"SelfObservations", testSelfObservations},
		{"GuestRuns", testGuestRuns},
		{"Opinions", testOpinions},

		{"L15_NeverConnected", testNeverConnected},
		{"L14_L61_L62_L63_L64_Connections", testConnections},
		{"L60_EmptyLists", testEmptyLists},
		{"Regions", testRegions},
		{"ManyConnections", testManyConnections},
		{"FlushBeats", testFlushBeats},
		{"M43_BeatsOfALostSatelliteAreReported", testRecovered},
		{"L17_L18_L19_L20_L21_L22_L25_L177_L179_MarkLost", testMarkLost},
		{"M45_MarkLostIsConditional", testMarkLostConditional},
		{"DeadlinesStandStillWhileNobodyLooks", testBlind},
		{"Observe", testObserve},
		{"Cores", testCores},
		{"Connected", testConnected},
		{"VerdictRows", testVerdicts},
		{"Policies", testPolicies},

		{"System", testSystem},
		{"Check", testCheck},
		{"Assignment", testAssignment},
		{"AssignmentConflicts", testAssignmentConflicts},
		{"AssignmentOfNothing", testAssignmentOfNothing},
		{"CatalogPages", testCatalogPages},
		{"M60_DefinitionsAreLocked", testDefinitionsLock},
		{"Maintenance", testMaintenance},
		{"Maintained", testMaintained},
		{"ErasOfMaintenance", testErasOfMaintenance},
		{"Incidents", testIncidents},
		{"Notes", testNotes},
		{"Channels", testChannels},
		{"Deliveries", testDeliveries},
		{"Dependencies", testDependencies},
		{"Placements", testPlacements},
		{"M66_L220_Desired", testDesired},
		{"Revisions", testRevisions},
		{"M68_PairsTakenAwayStayGranted", testGrants},
		{"M70_M90_DeletedSatelliteLeavesNothing", testDeleteSatellite},
		{"DeletedSystemLeavesGrants", testDeleteSystem},
		{"DeletedCheckLeavesGrants", testDeleteCheck},

		{"M2_RunsOfOneIDCollapse", testRuns},
		{"RunFilter", testRunFilter},
		{"RunPagesWhileInserting", testRunPages},
		{"RunTextThatCannotBeStored", testRunText},
		{"Retention", testRetention},
		{"Details", testDetails},
		{"VerdictRetention", testVerdictRetention},
		{"ManyRuns", testManyRuns},
		{"Skips", testSkips},
		{"ErasSayWhatWasDue", testEras},
		{"ErasEndAndFill", testErasEndAndFill},
		{"LedgerCountsEverySlot", testLedger},
		{"Locations", testLocations},
		{"LocationsOfWhatWasDeleted", testOrphanLocations},
		{"L240_Seats", testSeats},
		{"SeatsInHandOver", testSeatsInHandOver},
		{"SeatsThatMoved", testSeatsThatMoved},
		{"SystemHealth", testSystemHealth},
		{"M12_VerdictsAreLocked", testVerdictLock},

		{"Transitions", testTransitions},
		{"M55_OldTransitionsAreForgotten", testPurgeTransitions},
		{"Events", testEvents},
		{"Automations", testAutomations},
		{"AutomationMemory", testAutomationMemory},
		{"AutomationRuns", testAutomationRuns},
		{"M59_EventsAreSeenInOrder", testEventOrder},

		{"Secrets", testSecrets},
		{"SecretsAreLocked", testSecretsLock},
		{"SecretKeyset", testSecretKeyset},
		{"SecretLeases", testSecretLeases},

		{"Packages", testPackages},
		{"PackagesAreLocked", testPackagesLock},
		{"Installation", testInstallation},
		{"Lockfiles", testLockfiles},
		{"PackageBlobs", testPackageBlobs},
		{"PackageSyncStates", testPackageSyncStates},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, &suite{t: t, db: open(t)})
		})
	}
}

// suite is a test with its database.
type suite struct {
	t  testing.TB
	db *store.DB
}

func (s *suite) ctx() context.Context { return s.t.Context() }

// tx runs fn in a transaction that must succeed.
func (s *suite) tx(fn func(tx *store.Tx) error) {
	s.t.Helper()
	s.ok(s.try(fn))
}

// try runs fn in a transaction.
func (s *suite) try(fn func(tx *store.Tx) error) error {
	return s.db.InTx(s.ctx(), func(tx entity.Tx) error { return fn(tx.(*store.Tx)) })
}

func (s *suite) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// fails checks the kind of an error and that its words say enough.
func (s *suite) fails(err error, kind fault.Kind, words ...string) {
	s.t.Helper()
	if !fault.Is(err, kind) {
		s.t.Fatalf("error %v is of kind %q, want %q", err, fault.KindOf(err), kind)
	}
	f, _ := errors.AsType[*fault.Error](err)
	for _, w := range words {
		if !strings.Contains(f.Message, w) {
			s.t.Errorf("%q does not mention %q", f.Message, w)
		}
	}
}

func (s *suite) same(want, got any, options ...cmp.Option) {
	s.t.Helper()
	if diff := cmp.Diff(want, got, options...); diff != "" {
		s.t.Errorf("-want +got:\n%s", diff)
	}
}

// must takes the value of a call that must succeed.
func must[T any](v T, err error) func(s *suite) T {
	return func(s *suite) T {
		s.t.Helper()
		s.ok(err)
		return v
	}
}

func ptr[T any](v T) *T { return &v }

func (s *suite) now() time.Time {
	s.t.Helper()
	var now time.Time
	s.tx(func(tx *store.Tx) (err error) {
		now, err = tx.Now(s.ctx())
		return err
	})
	return now
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// satellite inserts one.
func (s *suite) satellite(name string) fleet.Satellite {
	s.t.Helper()
	sat := fleet.Satellite{ID: newID(), Name: name, Region: "eu", Tags: map[string]string{"tier": "test"}}
	s.tx(func(tx *store.Tx) error { return tx.InsertSatellite(s.ctx(), sat, "hash of "+name) })
	return sat
}

// connect writes a satellite's connection: its last event and how long ago it was
// last heard; a negative age is the future, nil is never.
func (s *suite) connect(id string, epoch int64, event fleet.Edge, age *time.Duration) {
	s.t.Helper()
	s.tx(func(tx *store.Tx) error {
		c := fleet.Connection{SatelliteID: id, Epoch: epoch, LastEvent: event}
		if age != nil {
			now, err := tx.Now(s.ctx())
			if err != nil {
				return err
			}
			c.LastHeartbeatAt = ptr(now.Add(-*age))
		}
		return tx.WriteConnections(s.ctx(), []fleet.Connection{c})
	})
}

// world is the least in which something runs: a check of a system on a satellite.
type world struct {
	satellite  fleet.Satellite
	system     catalog.System
	check      catalog.Check
	assignment catalog.Assignment
}

func (w *world) placement() catalog.Placement {
	return catalog.Placement{AssignmentID: w.assignment.ID, SatelliteID: w.satellite.ID, CheckID: w.check.ID, SystemID: w.system.ID}
}

func (s *suite) world(suffix string) *world {
	s.t.Helper()
	w := &world{
		satellite: s.satellite("eu-" + suffix),
		system:    catalog.System{ID: newID(), Name: "shop-" + suffix, Description: "The shop", Labels: map[string]string{"env": "prod"}},
		check: catalog.Check{ID: newID(), Name: "front-" + suffix, Spec: check.Spec{
			Strategy: "healthcheck-http.http", Config: []byte(`{"timeout":5000}`), Interval: check.Duration(10 * time.Second),
			Collectors: []check.Collector{{
				ID: "root", Collector: "healthcheck-http.request", Config: []byte(`{"url":"http://127.0.0.1/"}`),
				Assertions: []check.Assertion{{Field: "statusCode", Operator: "equals", Value: 200.0}},
			}},
		}},
	}
	w.assignment = catalog.Assignment{
		ID: newID(), Name: "front-shop-" + suffix, CheckID: w.check.ID, SystemID: w.system.ID,
		Satellites: catalog.Selector{Names: []string{w.satellite.Name}}, Enabled: true,
	}
	s.tx(func(tx *store.Tx) error {
		return errors.Join(
			tx.LockDefinitions(s.ctx()),
			tx.PutSystems(s.ctx(), w.system),
			tx.PutChecks(s.ctx(), w.check),
			tx.PutAssignments(s.ctx(), w.assignment),
			tx.Place(s.ctx(), []catalog.Placement{w.placement()}, nil),
		)
	})
	return w
}

// pages reads a list to its end, page by page; between is called after each page.
func pages[T any](s *suite, size int, between func(page int), list func(p fleet.Page) ([]T, string, error)) []T {
	s.t.Helper()
	var items []T
	p := fleet.Page{Limit: size}
	for n := 0; ; n++ {
		page, next, err := list(p)
		s.ok(err)
		if len(page) > size {
			s.t.Fatalf("a page of %d has %d items", size, len(page))
		}
		items = append(items, page...)
		if next == "" {
			return items
		}
		p.Cursor = next
		between(n)
	}
}

func name(i int) string { return fmt.Sprintf("n%04d", i) }
