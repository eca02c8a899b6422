package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/bus"
)

// About is how the core that answers is, and what it shares with others.
type About struct {
	Version   string        `json:"version"`
	Go        string        `json:"go" doc:"The version of Go that it was built with."`
	Platform  string        `json:"platform" doc:"Operating system and architecture."`
	StartedAt time.Time     `json:"startedAt"`
	Core      string        `json:"core" doc:"The name of the core that answers."`
	Cores     []RunningCore `json:"cores" doc:"Those that run on this database. None leads: each does what is due, and the database sees to it that it is done once."`
	Database  AboutDatabase `json:"database"`
	Bus       bus.Status    `json:"bus"`
	Parts     []Part        `json:"parts" doc:"What must work, as /readyz says it."`
	Sessions  int           `json:"sessions" doc:"Satellites connected to this core."`
	Settings  []InForce     `json:"settings" doc:"What it was started with, and limits that are built in. Secrets are not among them."`
}

// RunningCore is a core that runs.
type RunningCore struct {
	ID     string    `json:"id"`
	SeenAt time.Time `json:"seenAt"`
}

// AboutDatabase is how the database is.
type AboutDatabase struct {
	Engine    string  `json:"engine" enum:"sqlite,postgres"`
	Version   string  `json:"version"`
	Schema    int64   `json:"schema" doc:"The last migration."`
	SizeBytes int64   `json:"sizeBytes"`
	LatencyMs float64 `json:"latencyMs" doc:"How long it took to answer just now."`
}

// Part is one thing that must work.
type Part struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Optional bool   `json:"optional" doc:"The core is of use without it."`
}

// InForce is a setting or limit.
type InForce struct {
	Name   string `json:"name" doc:"The flag that sets it, or what is limited."`
	Env    string `json:"env" doc:"The variable of the environment that sets it too; the flag counts more."`
	Value  string `json:"value" doc:"As flag and variable take it; empty when it was left out and has no value of its own."`
	Secret bool   `json:"secret" doc:"The value may hold a password and is not told: it says set, or nothing."`
	Fixed  bool   `json:"fixed" doc:"Built in: no flag sets it."`
	Means  string `json:"means"`
}

func (a *API) addAbout() {
	route(a, http.MethodGet, "/about", "get-about", "How this core is: version, database, bus, the cores beside it, and the settings in force", func(ctx context.Context, _ *struct{}) (*answer[About], error) {
		about, err := a.About(ctx)
		if err != nil {
			return nil, err
		}
		about.Version = a.Version
		for _, c := range a.Ready {
			about.Parts = append(about.Parts, Part{Name: c.Name, OK: c.Check(ctx) == nil, Optional: c.Optional})
		}
		about.Settings = append(about.Settings, limits()...)
		return answered(about, nil)
	})
}

// limits are those of the API that no flag sets.
func limits() []InForce {
	fixed := func(name, value, means string) InForce {
		return InForce{Name: name, Value: value, Fixed: true, Means: means}
	}
	return []InForce{
		fixed("request body", bytesText(maxBody), "the largest body of a request"),
		fixed("apply body", bytesText(maxDocuments), "the largest body of an apply"),
		fixed("import body", bytesText(maxImport), "the largest body of an import"),
		fixed("request time", requestTimeout.String(), "how long a request may take"),
		fixed("apply time", documentsTimeout.String(), "how long an apply, import or export may take"),
		fixed("event streams", strconv.Itoa(maxStreams), "streams of events that may be open at once"),
		fixed("session age", auth.SessionAge.String(), "how long somebody stays signed in"),
	}
}

func bytesText(n int) string { return strconv.Itoa(n>>20) + " MiB" }
