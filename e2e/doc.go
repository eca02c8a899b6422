// Package e2e tests the two binaries as a user runs them: real processes, real
// sockets, real databases, killed at random and counted from outside. Nothing
// here imports the code that it checks.
package e2e
