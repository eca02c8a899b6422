package protocol

// Observer is how the satellite itself fares as an observer (feature observer): what
// is wrong with the place from which it looks, as against what it looks at.
type Observer struct {
	// Ill is what is wrong, at most one entry of each kind; none is well.
	Ill []Illness `json:"ill,omitempty"`
	// LagMs is how late the worst slot of the last seconds began.
	LagMs float64 `json:"lagMs,omitempty"`
}

// Illness is one thing that is wrong with an observer.
type Illness struct {
	Kind IllnessKind `json:"kind"`
	// Since is when it was first noticed, by the satellite's clock, in Unix milliseconds.
	Since int64 `json:"since"`
	// Detail says what was seen, for people.
	Detail string `json:"detail,omitempty"`
}

// IllnessKind is an open set: a newer satellite may know more.
type IllnessKind string

const (
	// IllScheduler: slots begin late, because the process gets no time.
	IllScheduler IllnessKind = "scheduler"
	// IllResolver: names are not resolved.
	IllResolver IllnessKind = "resolver"
	// IllGateway: the default gateway cannot be reached.
	IllGateway IllnessKind = "gateway"
	// IllReference: too few of the targets answer that the operator chose as references.
	IllReference IllnessKind = "reference"
	// IllClock: the clock is further from the core's than it may be.
	IllClock IllnessKind = "clock"
)

// maxIll bounds Observer.Ill.
const maxIll = 16
