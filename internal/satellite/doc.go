// Package satellite is the agent: it dials out to a core, takes its assignments,
// runs checks when they are due, and ships what it found.
//
// What it promises: every slot (an instant at which a run was due) of every
// assignment, from the moment the satellite took it in, ends in exactly one
// record: a result, or a skip that says why there is none. The promise holds
// across lost connections, restarts, kill -9 and a full spool, and it rests on
// three things that this package keeps apart:
//
//   - the ledger (ledger.go): since when, and until when, slots of a key are due.
//     It is on disk before it takes effect.
//   - the spool (spool.go): the records, on disk until the core has them, and for
//     each key the last slot that a record accounts for. Records of one key enter
//     it in the order of their slots, so that everything up to that slot is
//     accounted for and nothing after it is.
//   - the scheduler (scheduler.go): one goroutine, one heap, one timer. It owns
//     both of the above and is the only one to decide what becomes of a slot.
//
// A run that the core asks for (runnow.go) stands beside the schedule: it is answered
// by a result or a skip of the slot that the core chose, and the ledger does not hear
// of it. Only a kill leaves it without an answer.
//
// Whatever the ledger says was due and the spool does not account for at start
// was missed while the process was not running; it becomes one skip per key.
//
// What it does not promise: after a power cut (as against a kill) up to a second
// of records may be gone from the disk. Their slots are then reported as not
// executed, those that the core has received meanwhile included. Results of a satellite whose clock is set back by
// more than rewindLimit repeat slots that were already accounted for.
//
// A run that fails because of the target is a result. A run that fails because of
// the satellite is not: assignments that it cannot carry out produce nothing and
// are reported to the core by name (spec M71), and a panic of ours is reported as
// ours.
//
// Secrets (secret.go) are asked for when a run needs them and are nowhere but in its
// memory. A run that needs some while there is no core to ask is skipped; one that is
// refused them is degraded, not red (an original core, which knows no such thing, gets
// the failed check that its protocol demands).
//
// The wire side (connect.go, session.go, sender.go) speaks to an original core
// and to ours; what a session may use is decided once, by the features that both
// ends named. Scheduling does not depend on it: a satellite keeps checking while
// it is cut off, and after a restart without its core (spec M4).
package satellite
