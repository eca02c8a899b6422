// Package packages keeps the npm packages that scripts may import (spec G).
//
// People keep a list of packages in exact versions. An installation resolves the
// list against one registry, with every dependency of a dependency pinned to a
// version and a place in the tree, downloads what is new, verifies it, and puts it
// away as blobs under their integrity. What satellites should have is then a
// lockfile hash; they ask this service for what it holds and for the blobs, and
// never a registry.
//
// Promised: bytes that do not hash to what the registry announced are not taken in
// (spec M39); one core installs at a time, and a core that dies on it is taken over
// from when its lease has lapsed; a failed installation leaves what satellites should
// have as it was; what satellites may still need is not collected. A hash that was
// never made here is NotFound, not an empty tree (spec M82). Scripts of packages are
// never run.
//
// Errors are faults. Those of an installation are its state: nobody waits for it.
package packages
