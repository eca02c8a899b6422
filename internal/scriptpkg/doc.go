// Package scriptpkg is what core and satellites agree on about script packages
// (spec G): names, integrity, the lockfile hash, the form of a blob, and on the
// satellite the cache and the tree that are made of them.
//
// Promised: bytes that come from elsewhere are compared with what was announced
// before anything is made of them, archives are read within limits, and nothing
// is written outside the directory that was named. It uses the standard library only.
package scriptpkg
