package script

import "encoding/json"

// task is what a child is told, first and once.
type task struct {
	// Build, else Run.
	Build *buildTask `json:"build,omitempty"`
	Run   *runTask   `json:"run,omitempty"`
}

type buildTask struct {
	Source  string `json:"source"`
	Name    string `json:"name"`
	Root    string `json:"root,omitempty"`
	Runtime string `json:"runtime,omitempty"` // "" for the engine
}

// built is what a build gives. Either Code or Problem is there.
type built struct {
	Code    string `json:"code,omitempty"`
	Map     string `json:"map,omitempty"`
	Problem *Error `json:"problem,omitempty"`
	// Hosted: it is for a runtime other than the engine.
	Hosted bool `json:"hosted,omitempty"`
}

type runTask struct {
	Code    string            `json:"code"`
	Context json.RawMessage   `json:"context"`
	Env     map[string]string `json:"env"`
	Memory  int64             `json:"memory"`
	// Millis is how long it may take.
	Millis int64 `json:"millis"`
}

// said is one message of a child that runs a script. One field is there.
type said struct {
	Log   *logged      `json:"log,omitempty"`
	Fetch *fetchTask   `json:"fetch,omitempty"`
	Abort int64        `json:"abort,omitempty"` // the id of a fetch that nobody waits for any more
	End   *ended       `json:"end,omitempty"`
	Built *built       `json:"built,omitempty"`
	Ill   *illConfined `json:"ill,omitempty"`
}

// illConfined is that a child could not give its rights away, and did not begin.
type illConfined struct {
	Reason string `json:"reason"`
}

type logged struct {
	Text string `json:"text"`
}

// ended is how a script ended: with a value, or with something thrown.
type ended struct {
	Value   json.RawMessage `json:"value,omitempty"`
	Thrown  *thrown         `json:"thrown,omitempty"`
	Timeout bool            `json:"timeout,omitempty"`
}

type thrown struct {
	Name    string `json:"name"`
	Message string `json:"message"`
	// Stack is the engine's, of the built code.
	Stack string `json:"stack"`
}

type fetchTask struct {
	ID      int64       `json:"id"`
	Method  string      `json:"method"`
	URL     string      `json:"url"`
	Headers [][2]string `json:"headers"`
	Body    []byte      `json:"body,omitempty"`
	// Redirect is follow, error or manual.
	Redirect string `json:"redirect"`
}

// fetched answers a fetchTask.
type fetched struct {
	ID         int64       `json:"id"`
	Error      string      `json:"error,omitempty"`
	Status     int         `json:"status,omitempty"`
	StatusText string      `json:"statusText,omitempty"`
	URL        string      `json:"url,omitempty"`
	Redirected bool        `json:"redirected,omitempty"`
	Headers    [][2]string `json:"headers,omitempty"`
	Body       []byte      `json:"body,omitempty"`
}

// Bounds of what travels.
const (
	maxMessage  = 16 << 20
	maxSource   = 1 << 20
	maxBundle   = 8 << 20
	maxFetches  = 200     // of one run
	fetchesOpen = 8       // at once; further ones wait
	maxBody     = 2 << 20 // of a request, and of a response
)
