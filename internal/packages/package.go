package packages

import (
	"context"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
)

// KindPackage is a package of the list, by name.
const KindPackage = "script-package"

// Package is one of the list that scripts may import.
type Package struct {
	Name    string    `json:"name"`
	Version string    `json:"version" doc:"Exact."`
	Enabled bool      `json:"enabled" doc:"What is not enabled is left out of the next installation."`
	AddedBy string    `json:"addedBy"`
	AddedAt time.Time `json:"addedAt"`
}

func (p *Package) state() entity.State {
	return entity.State{"version": p.Version, "enabled": p.Enabled}
}

// maxList bounds the list of packages.
const maxList = 500

// Packages lists what scripts may import, by name.
func (s *Service) Packages(ctx context.Context) ([]Package, error) { return s.store.Packages(ctx) }

// Add puts a package on the list. It takes effect with the next installation. A
// package is on the list in one version: one tree has one place to import it from.
func (s *Service) Add(ctx context.Context, actor entity.Actor, name, version string) (Package, error) {
	if err := checked(name, version); err != nil {
		return Package{}, err
	}
	made := Package{Name: name, Version: version, Enabled: true, AddedBy: actor.Name}
	if made.AddedBy == "" {
		made.AddedBy = actor.ID
	}
	err := entity.Record(ctx, s.recorder, func(tx Tx) ([]entity.Change, error) {
		if err := tx.LockPackages(ctx); err != nil {
			return nil, err
		}
		list, err := tx.Packages(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range list {
			if p.Name == name {
				return nil, taken(p, version)
			}
		}
		if len(list) >= maxList {
			return nil, fault.New(fault.Conflict, "the list holds %d packages, which is the most", maxList)
		}
		if made.AddedAt, err = tx.Now(ctx); err != nil {
			return nil, err
		}
		if err := tx.InsertPackage(ctx, made); err != nil {
			return nil, err
		}
		return []entity.Change{{Kind: KindPackage, ID: name, Next: made.state(), Actor: actor}}, nil
	})
	return made, err
}

func checked(name, version string) error {
	var wrong []fault.Field
	if err := scriptpkg.CheckName(name); err != nil {
		wrong = append(wrong, fault.Field{Path: "name", Message: err.Error(), Value: name})
	}
	if err := scriptpkg.CheckVersion(version); err != nil {
		wrong = append(wrong, fault.Field{Path: "version", Message: err.Error(), Value: version})
	}
	if wrong != nil {
		return &fault.Error{Kind: fault.Invalid, Message: "this is not a package in an exact version", Fields: wrong}
	}
	return nil
}

func taken(p Package, version string) error {
	if p.Version == version {
		return fault.New(fault.Conflict, "%s@%s is on the list already", p.Name, version)
	}
	return fault.New(fault.Conflict, "%s@%s and %s@%s cannot both be on the list: remove %s first", p.Name, p.Version, p.Name, version, p.Name)
}

// SetEnabled takes a package out of the next installation, or back in.
func (s *Service) SetEnabled(ctx context.Context, actor entity.Actor, name string, enabled bool) (Package, error) {
	var next Package
	err := entity.Record(ctx, s.recorder, func(tx Tx) ([]entity.Change, error) {
		prev, err := tx.PackageForUpdate(ctx, name)
		if err != nil {
			return nil, err
		}
		next = prev
		next.Enabled = enabled
		if err := tx.EnablePackage(ctx, name, enabled); err != nil {
			return nil, err
		}
		return []entity.Change{{Kind: KindPackage, ID: name, Prev: prev.state(), Next: next.state(), Actor: actor}}, nil
	})
	return next, err
}

// Remove takes a package off the list. Satellites have it until the next installation.
func (s *Service) Remove(ctx context.Context, actor entity.Actor, name string) error {
	return entity.Record(ctx, s.recorder, func(tx Tx) ([]entity.Change, error) {
		prev, err := tx.PackageForUpdate(ctx, name)
		if err != nil {
			return nil, err
		}
		if err := tx.DeletePackage(ctx, name); err != nil {
			return nil, err
		}
		return []entity.Change{{Kind: KindPackage, ID: name, Prev: prev.state(), Actor: actor}}, nil
	})
}
