// Package auth says who makes a request: API tokens, the page's sessions, and the
// limit on guessing them.
//
// A token is [Prefix] and 32 random bytes; the store keeps its SHA-256. A fast
// digest is enough because a random text of that size cannot be guessed, however
// fast the guesses are; what it buys is that every check, right or wrong, costs one
// look-up by an indexed digest, so that neither time nor load tells them apart.
// What people choose themselves (PERIGEE_ADMIN_TOKEN) is guarded by the limit on
// failed attempts.
//
// Whoever holds a token may do everything; there are no roles yet.
package auth
