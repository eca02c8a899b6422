package protocol

import (
	"encoding/json"
	"slices"
)

// Authenticate is a satellite's first message (A.5).
type Authenticate struct {
	ClientID     string   `json:"clientId"`
	Token        string   `json:"token"`
	Capabilities []string `json:"capabilities,omitempty"` // since 0.9
	// Perigee announces our satellite; the original core strips it.
	Perigee *Hello `json:"perigee,omitempty"`
}

// Hello is what our satellite says of itself.
type Hello struct {
	Protocol int      `json:"protocol"`
	Features []string `json:"features"`
	// BootID is new with every process, so that a restart can be told from a reconnect.
	BootID string `json:"bootId,omitempty"`
	// Revision of the assignments that the satellite holds, 0 for none.
	Revision int64 `json:"revision,omitempty"`
	// Inventory is what it can run.
	Inventory *Inventory `json:"inventory,omitempty"`
	// SealKey is the public key of this session to which secret values are sealed
	// (feature seal; see Seal).
	SealKey string `json:"sealKey,omitempty"`
}

// Inventory says what a satellite is and can run (spec M71, M72).
type Inventory struct {
	Version    string   `json:"version,omitempty"`
	OS         string   `json:"os,omitempty"`
	Arch       string   `json:"arch,omitempty"`
	Hostname   string   `json:"hostname,omitempty"`
	Strategies []string `json:"strategies,omitempty"`
	Collectors []string `json:"collectors,omitempty"`
	// Runtimes of inline scripts; an agent that does not tell has not said that it has none.
	Runtimes []string `json:"runtimes,omitempty"`
	// Missing says of strategies, collectors and runtimes that are not there why, where
	// whoever runs the agent can do something about it.
	Missing map[string]string `json:"missing,omitempty"`
	// Fence is how scripts are kept to their policy there; nil is not known.
	Fence *Fence `json:"fence,omitempty"`
	// Features that its last session agreed on. The core notes them; they do not travel.
	Features []string `json:"features,omitempty"`
}

// Fence says what keeps scripts to their policy on a satellite: Level, or why there is
// nothing (Missing). Without one, the policy's onUnavailable decides.
type Fence struct {
	Level   string `json:"level,omitempty"`
	Missing string `json:"missing,omitempty"`
}

// RunsAlike reports whether the same checks can be run by both; nil is not known.
func (m *Inventory) RunsAlike(other *Inventory) bool {
	if m == nil || other == nil {
		return m == other
	}
	return slices.Equal(m.Strategies, other.Strategies) && slices.Equal(m.Collectors, other.Collectors) && slices.Equal(m.Runtimes, other.Runtimes) &&
		slices.Contains(m.Features, FeatureExpression) == slices.Contains(other.Features, FeatureExpression)
}

// Authenticated answers Authenticate when the credentials are right (A.6).
// Assignments is always present on the wire, if empty.
type Authenticated struct {
	SatelliteID string       `json:"satelliteId"`
	Assignments []Assignment `json:"assignments"`
	// ScriptPackagesLockfileHash: absent means the core does not know, null no
	// packages, a string the tree to converge to.
	ScriptPackagesLockfileHash Nullable[string] `json:"scriptPackagesLockfileHash,omitzero"`
	SandboxPolicy              json.RawMessage  `json:"sandboxPolicy,omitempty"` // since 0.6
	Perigee                    *Welcome         `json:"perigee,omitempty"`
}

// Welcome answers Hello.
type Welcome struct {
	Protocol int      `json:"protocol"`
	Features []string `json:"features"`
	// Epoch numbers the satellite's sessions.
	Epoch int64 `json:"epoch"`
	// Revision of the assignments in this message.
	Revision int64 `json:"revision"`
	// Credit is how many bytes of Results may be sent and not yet acknowledged.
	Credit int64 `json:"credit,omitempty"`
}

// AuthFailed refuses a satellite. The reasons of the original are ReasonInvalid
// and ReasonFirst.
type AuthFailed struct {
	Reason string `json:"reason"`
}

const (
	ReasonInvalid = "Invalid client ID or token"
	ReasonFirst   = "Must authenticate first"
)

// Shutdown asks the satellite to disconnect.
type Shutdown struct {
	Reason string `json:"reason"`
}
