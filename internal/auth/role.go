package auth

import "slices"

// Role is what somebody may do. Each may also do what those below it may.
type Role string

const (
	// Viewer reads everything that is watched and changes nothing but their own password
	// and tokens.
	Viewer Role = "viewer"
	// Operator does the daily work: definitions, satellites, incidents, secrets' values.
	Operator Role = "operator"
	// Admin decides who may do what, and what may run on satellites.
	Admin Role = "admin"
)

// roles from the least.
var roles = []Role{Viewer, Operator, Admin}

// Valid reports whether there is such a role.
func (r Role) Valid() bool { return slices.Contains(roles, r) }

// Includes reports whether who has the role may do what the other may. What is no role
// includes nothing.
func (r Role) Includes(other Role) bool {
	return r.Valid() && other.Valid() && slices.Index(roles, r) >= slices.Index(roles, other)
}

// lesser is the role that allows less.
func lesser(a, b Role) Role {
	if a.Includes(b) {
		return b
	}
	return a
}
