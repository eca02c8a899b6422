// Package fleet is satellites as the records say: creating, naming and removing
// them, their tokens, their edges and liveness, and what each of them should run.
//
// It promises that an edge is recorded once, in the order in which sessions
// happened (epochs), and that a status is computed from the database's clock
// when somebody looks. Sockets are package hub's.
package fleet
