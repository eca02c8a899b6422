// Package protocol is the wire between a satellite and a core: one JSON object
// per WebSocket text message at [Path], "type" first.
//
// The base is the satellite protocol of satellite-subsystem sections A, E, F, G
// and H, in which an unmodified original agent and an unmodified original core
// take part. Our own two ends recognise each other by the object [Hello] in
// authenticate and [Welcome] in authenticated, which both originals ignore; only
// features that both name are used ([Features]). Extension messages carry the
// prefix "perigee_" and are never sent to a peer that did not agree.
//
// Decoding is strict about required fields and limits, and blind to unknown
// fields; an unknown type is ErrUnknownType, which a receiver counts and ignores.
//
// What was added, and when:
//
//	2026-11-22  protocol 1: ack, slots, delta, inventory, clock, assert
//	2026-11-26  chunk, seal, drain, run, opinion, observer, lease
//	2026-11-28  missing of inventory
package protocol

// Path is where a core serves satellites.
const Path = "/api/ws/satellite"

// Version is the number of the extension protocol (Hello.Protocol).
const Version = 1

// Features of the extension. A session uses those that both ends named.
const (
	// FeatureAck: results travel in sequence-numbered batches (Results) and are
	// acknowledged cumulatively (Ack) once they are durable; the core grants byte credit.
	FeatureAck = "ack"
	// FeatureSlots: results and skips name the slot in which the run was due, from
	// which both ends derive the run id (check.RunID).
	FeatureSlots = "slots"
	// FeatureDelta: assignments carry a revision, changes travel as Delta, and the
	// satellite reports what it applied (Applied).
	FeatureDelta = "delta"
	// FeatureInventory: the satellite says what it can run (Inventory).
	FeatureInventory = "inventory"
	// FeatureClock: heartbeats are answered (Clock), which gives offset and round trip.
	FeatureClock = "clock"
	// FeatureAssert: the satellite evaluates assertions itself and drops ephemeral
	// fields before it stores the result.
	FeatureAssert = "assert"
	// FeatureChunk: package blobs travel in pieces (BlobRequest, BlobChunk), and an
	// unknown manifest is answered with an error.
	FeatureChunk = "chunk"
	// FeatureSeal: secret values are sealed to a key that the satellite made for the
	// session, so that who ends TLS in between does not see them (Seal, Unseal).
	FeatureSeal = "seal"
	// FeatureDrain: a core that is about to stop says so (Drain).
	FeatureDrain = "drain"
	// FeatureRun: the core may ask for a run now (RunNow).
	FeatureRun = "run"
	// FeatureOpinion: the core may ask for one run of what the satellite does not hold
	// (RunNow.Assignment).
	FeatureOpinion = "opinion"
	// FeatureObserver: the satellite says how it fares itself (Observer), and marks runs
	// that failed because of that (Result.Inconclusive).
	FeatureObserver = "observer"
	// FeatureLease: assignments may be seats (Seat), of which the satellite runs the slots
	// that a Lease reaches; heartbeats that were written down are answered with one.
	FeatureLease = "lease"
	// FeatureTry: the core may ask for one run of what nobody has saved (Try), whose
	// answer (Tried) goes to who asks.
	FeatureTry = "try"
	// FeatureExpression: the satellite evaluates assertions that are expressions, and
	// bounds of how long single collectors take.
	FeatureExpression = "expression"
)

// Features are all that this build knows, in a fixed order.
func Features() []string {
	return []string{FeatureAck, FeatureSlots, FeatureDelta, FeatureInventory, FeatureClock, FeatureAssert, FeatureChunk, FeatureSeal, FeatureDrain, FeatureRun, FeatureOpinion, FeatureObserver, FeatureLease, FeatureTry, FeatureExpression}
}

// Agree returns the features that both lists name, in our order.
func Agree(ours, theirs []string) []string {
	var both []string
	for _, f := range ours {
		for _, t := range theirs {
			if f == t {
				both = append(both, f)
				break
			}
		}
	}
	return both
}
