package protocol

import "time"

// Times of the base protocol (satellite-subsystem A.2).
const (
	HeartbeatInterval = 15 * time.Second
	OfflineThreshold  = 45 * time.Second
	// AuthTimeout is how long either end waits for the handshake (spec M17, M18).
	AuthTimeout = 10 * time.Second
	// ReconnectBase and ReconnectMax bound a satellite's back-off (K.5).
	ReconnectBase = time.Second
	ReconnectMax  = 30 * time.Second
)

// Limits. A message beyond them is refused whole; a frame beyond them closes
// the connection with CloseTooBig.
const (
	// MaxFrame is the largest message either side accepts once authenticated: what
	// the original core accepts from its agents (A.1).
	MaxFrame = 16 << 20
	// MaxFrameWhole is the largest message that a satellite accepts from a core that
	// sends blobs whole, as an original core does (A.1, G.2).
	MaxFrameWhole = 128 << 20
	// MaxFrameUnauthenticated is the largest first message.
	MaxFrameUnauthenticated = 64 << 10
	// MaxBatchBytes is the most that our satellite puts into one Results message.
	MaxBatchBytes = 256 << 10
	// MaxBatchRecords is the most records in one Results message.
	MaxBatchRecords = 500
	// MaxResult is the largest result of one run, all collectors together.
	MaxResult = 15 << 20
	// MaxID bounds identifiers (client, config, system, environment, collector …).
	MaxID = 256
	// MaxName bounds names shown to people.
	MaxName = 512
	// MaxText bounds messages and error texts.
	MaxText = 64 << 10
	// MaxToken bounds a token.
	MaxToken = 512
	// MaxList bounds lists of ids and features, MaxAssignments a set of assignments,
	// MaxCollectors the collectors of one assignment.
	MaxList        = 1024
	MaxAssignments = 100_000
	MaxCollectors  = 256
	// MaxSeats bounds the seats of one assignment.
	MaxSeats = 1000
	// MaxEntries bounds lists that grow with what they describe: packages of a
	// manifest, refused records of an ack.
	MaxEntries = 100_000
	// MaxChunk is the most bytes of a blob in one BlobChunk.
	MaxChunk = 256 << 10
	// MaxSealed bounds sealed values and the keys to which they are sealed.
	MaxSealed  = 8 << 20
	maxSealKey = 4 << 10
	// maxPath bounds one path of a package in a tree.
	maxPath = 4 << 10
	// MaxDepth bounds how deep values nest.
	MaxDepth = 100
	// MaxCredit is the most bytes a core lets a satellite have in flight.
	MaxCredit = 4 << 20
)
