package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/packages"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
	"github.com/perigee-monitoring/perigee/internal/store"
	"github.com/perigee-monitoring/perigee/protocol"
)

// atOnce runs fn n times at once; each must succeed.
func (s *suite) atOnce(n int, fn func() error) {
	s.t.Helper()
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if err := fn(); err != nil {
				s.t.Error(err)
			}
		})
	}
	all.Wait()
}

func testPackages(_ *testing.T, s *suite) {
	s.same([]packages.Package{}, must(s.db.Packages(s.ctx()))(s), cmpopts.EquateEmpty())
	zod := packages.Package{Name: "zod", Version: "4.2.1", Enabled: true, AddedBy: "jane", AddedAt: s.now()}
	scoped := packages.Package{Name: "@scope/name", Version: "1.0.0-rc.1+build", AddedBy: "a\uFFFDb", AddedAt: zod.AddedAt.Add(time.Second)}
	s.tx(func(tx *store.Tx) error { return tx.InsertPackage(s.ctx(), zod) })
	s.tx(func(tx *store.Tx) error {
		raw := scoped
		raw.AddedBy = "a\x00b"
		return tx.InsertPackage(s.ctx(), raw)
	})
	s.same([]packages.Package{scoped, zod}, must(s.db.Packages(s.ctx()))(s))
	s.tx(func(tx *store.Tx) error {
		s.same([]packages.Package{scoped, zod}, must(tx.Packages(s.ctx()))(s))
		s.same(scoped, must(tx.PackageForUpdate(s.ctx(), "@scope/name"))(s))
		return nil
	})
	// One tree has one place for a name.
	other := zod
	other.Version = "3.0.0"
	s.fails(s.try(func(tx *store.Tx) error { return tx.InsertPackage(s.ctx(), other) }), fault.Conflict, "zod")

	scoped.Enabled, zod.Enabled = true, false
	s.tx(func(tx *store.Tx) error { return tx.EnablePackage(s.ctx(), scoped.Name, true) })
	s.tx(func(tx *store.Tx) error { return tx.EnablePackage(s.ctx(), zod.Name, false) })
	s.same([]packages.Package{scoped, zod}, must(s.db.Packages(s.ctx()))(s))
	s.tx(func(tx *store.Tx) error { return tx.DeletePackage(s.ctx(), zod.Name) })
	s.same([]packages.Package{scoped}, must(s.db.Packages(s.ctx()))(s))

	for _, missing := range []func(tx *store.Tx) error{
		func(tx *store.Tx) error { return tx.EnablePackage(s.ctx(), "zod", true) },
		func(tx *store.Tx) error { return tx.DeletePackage(s.ctx(), "zod") },
		func(tx *store.Tx) error { _, err := tx.PackageForUpdate(s.ctx(), "zod"); return err },
	} {
		s.fails(s.try(missing), fault.NotFound, `package "zod" on the list`)
	}
}

// testPackagesLock: who looks at the list under the lock sees what others added.
func testPackagesLock(_ *testing.T, s *suite) {
	s.atOnce(10, func() error {
		return s.try(func(tx *store.Tx) error {
			if err := tx.LockPackages(s.ctx()); err != nil {
				return err
			}
			list, err := tx.Packages(s.ctx())
			if err != nil {
				return err
			}
			now, err := tx.Now(s.ctx())
			if err != nil {
				return err
			}
			return tx.InsertPackage(s.ctx(), packages.Package{Name: name(len(list)), Version: "1.0.0", AddedBy: "jane", AddedAt: now})
		})
	})
	s.same(10, len(must(s.db.Packages(s.ctx()))(s)))
}

func testInstallation(_ *testing.T, s *suite) {
	// A lease that nobody has is over.
	s.same(packages.Installation{Status: packages.Idle, List: []string{}, Warnings: []string{}, Lapsed: true}, must(s.db.Installation(s.ctx()))(s))
	now := s.now()
	want := packages.Installation{
		Status: packages.Failed, LockfileHash: ptr("hash"), List: []string{"zod@4.2.1"}, TotalSizeBytes: 1 << 40, LastInstalledAt: &now,
		ErrorMessage: "the registry said: a\uFFFDb", Warnings: []string{"large"}, Done: 3, Total: 12, Holder: "core", LeaseUntil: ptr(now.Add(time.Hour)),
	}
	s.tx(func(tx *store.Tx) error {
		raw := want
		raw.ErrorMessage = "the registry said: a\x00b" // what a registry says may be anything
		return tx.PutInstallation(s.ctx(), raw)
	})
	s.same(want, must(s.db.Installation(s.ctx()))(s))

	// Whether a lease has lapsed is for the database's clock to say.
	want.LeaseUntil = ptr(now.Add(-time.Second))
	s.tx(func(tx *store.Tx) error { return tx.PutInstallation(s.ctx(), want) })
	want.Lapsed = true
	s.same(want, must(s.db.Installation(s.ctx()))(s))
	s.tx(func(tx *store.Tx) error {
		s.same(want, must(tx.InstallationForUpdate(s.ctx()))(s))
		return tx.PutInstallation(s.ctx(), packages.Installation{Status: packages.Ready, List: []string{}, Warnings: []string{}})
	})
	released := must(s.db.Installation(s.ctx()))(s)
	if released.LockfileHash != nil || released.LastInstalledAt != nil || released.LeaseUntil != nil || released.Holder != "" {
		s.t.Errorf("what is not there any more is %+v", released)
	}

	// Of several cores that claim it at once, each sees what the one before wrote.
	s.atOnce(10, func() error {
		return s.try(func(tx *store.Tx) error {
			i, err := tx.InstallationForUpdate(s.ctx())
			if err != nil {
				return err
			}
			i.Total++
			return tx.PutInstallation(s.ctx(), i)
		})
	})
	s.same(10, must(s.db.Installation(s.ctx()))(s).Total)
}

func (s *suite) lockfile(l packages.Lockfile) {
	s.t.Helper()
	s.tx(func(tx *store.Tx) error { return tx.PutLockfile(s.ctx(), l) })
}

func testLockfiles(_ *testing.T, s *suite) {
	now := s.now()
	var made []packages.Lockfile
	for i := range 4 {
		l := packages.Lockfile{
			Hash: fmt.Sprint("hash-", i), RecordedAt: now, // the same: the order does not come from the clock
			Entries: []scriptpkg.Entry{{Name: "@scope/name", Version: fmt.Sprint(i, ".0.0"), Integrity: "sha512-a/b+c==", Paths: []string{"node_modules/@scope/name"}}},
		}
		s.lockfile(l)
		made = append(made, l)
	}
	hashes := func(n int, want ...int) {
		s.t.Helper()
		var wanted []packages.Lockfile
		for _, i := range want {
			wanted = append(wanted, made[i])
		}
		s.same(wanted, must(s.db.Lockfiles(s.ctx(), n))(s), cmpopts.EquateEmpty())
	}
	hashes(2, 3, 2)
	hashes(100, 3, 2, 1, 0)
	s.same(made[1], must(s.db.Lockfile(s.ctx(), "hash-1"))(s))
	for _, hash := range []string{"unknown", ""} {
		_, err := s.db.Lockfile(s.ctx(), hash)
		s.fails(err, fault.NotFound)
	}

	made[0].RecordedAt, made[0].Entries = now.Add(time.Hour), []scriptpkg.Entry{}
	s.lockfile(made[0]) // installed once more
	hashes(100, 0, 3, 2, 1)
	s.ok(s.db.ForgetLockfiles(s.ctx(), 3))
	hashes(100, 0, 3, 2)
	s.ok(s.db.ForgetLockfiles(s.ctx(), 3))
	hashes(100, 0, 3, 2)
	_, err := s.db.Lockfile(s.ctx(), "hash-1")
	s.fails(err, fault.NotFound, "hash-1")
	s.lockfile(made[1])
	hashes(100, 1, 0, 3, 2)
}

func testPackageBlobs(_ *testing.T, s *suite) {
	before := s.now()
	a := packages.Blob{Integrity: "sha512-a/b+c==", Name: "@scope/name", Version: "1.0.0", Sha256: "aa", Size: 1 << 40, Backend: "db"}
	b := packages.Blob{Integrity: "sha512-b==", Name: "zod", Version: "4.2.1", Sha256: "bb", Size: 1, Backend: "s3"}
	s.ok(s.db.PutPackageBlob(s.ctx(), b))
	s.ok(s.db.PutPackageBlob(s.ctx(), a))
	storedNow := cmpopts.IgnoreFields(packages.Blob{}, "StoredAt")
	found := must(s.db.PackageBlobs(s.ctx(), []string{a.Integrity, b.Integrity, "unknown"}))(s)
	s.same(map[string]packages.Blob{a.Integrity: a, b.Integrity: b}, found, storedNow)
	if at := found[a.Integrity].StoredAt; at.Before(before) || at.After(s.now()) {
		s.t.Errorf("it was stored at %v, after %v", at, before)
	}
	s.same(map[string]packages.Blob{}, must(s.db.PackageBlobs(s.ctx(), nil))(s))

	s.same([]packages.Blob{a, b}, must(s.db.OldPackageBlobs(s.ctx(), 0))(s), storedNow)
	s.same([]packages.Blob{}, must(s.db.OldPackageBlobs(s.ctx(), time.Hour))(s), cmpopts.EquateEmpty())

	// Made anew in another place, it is as young as on its first day.
	a.Sha256, a.Size, a.Backend = "cc", 2, "dir"
	s.ok(s.db.PutPackageBlob(s.ctx(), a))
	again := must(s.db.PackageBlobs(s.ctx(), []string{a.Integrity}))(s)
	s.same(map[string]packages.Blob{a.Integrity: a}, again, storedNow)
	if !again[a.Integrity].StoredAt.After(found[a.Integrity].StoredAt) {
		s.t.Error("it is as old as before")
	}
	for range 2 {
		s.ok(s.db.DeletePackageBlob(s.ctx(), a.Integrity))
		s.same([]packages.Blob{b}, must(s.db.OldPackageBlobs(s.ctx(), 0))(s), storedNow)
	}
}

func testPackageSyncStates(_ *testing.T, s *suite) {
	s.same([]packages.SatelliteState{}, must(s.db.PackageSyncStates(s.ctx()))(s), cmpopts.EquateEmpty())
	silent, failing := s.satellite("us-1"), s.satellite("eu-1")
	other := s.satellite("eu-2") // has reported, but not of packages
	s.tx(func(tx *store.Tx) error {
		return tx.SetInventory(s.ctx(), other.ID, protocol.Inventory{Version: "1.2.3"})
	})
	said := protocol.ScriptPackageSyncState{LockfileHash: ptr("hash"), Status: protocol.SyncError, ErrorMessage: "disk full"}
	s.tx(func(tx *store.Tx) error { return tx.SetSyncState(s.ctx(), failing.ID, said) })
	want := []packages.SatelliteState{
		{SatelliteID: failing.ID, Name: "eu-1", LockfileHash: ptr("hash"), Status: protocol.SyncError, ErrorMessage: "disk full"},
		{SatelliteID: other.ID, Name: "eu-2", Status: protocol.SyncPending},
		{SatelliteID: silent.ID, Name: "us-1", Status: protocol.SyncPending},
	}
	got := must(s.db.PackageSyncStates(s.ctx()))(s)
	s.same(want, got, cmpopts.IgnoreFields(packages.SatelliteState{}, "SyncedAt"))
	for i, at := range got {
		if (at.SyncedAt != nil) != (i == 0) {
			s.t.Errorf("%s spoke at %v", at.Name, at.SyncedAt)
		}
	}
}
