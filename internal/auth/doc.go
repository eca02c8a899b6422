// Package auth says who makes a request and whether they may: users with their
// passwords, API tokens, the page's sessions, roles, and the limit on guessing. It keeps
// the audit log of what was changed and refused.
//
// A token is [Prefix] and 32 random bytes; the store keeps its SHA-256. A fast
// digest is enough because a random text of that size cannot be guessed, however
// fast the guesses are; what it buys is that every check, right or wrong, costs one
// look-up by an indexed digest, so that neither time nor load tells them apart.
// Sessions and set-up codes are kept in the same way. What people choose themselves is
// guarded by the limit on failed attempts, and passwords by a slow digest as well
// (password.go).
//
// What each operation of the API needs is one table (permission.go).
package auth
