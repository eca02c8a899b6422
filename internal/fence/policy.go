package fence

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// Policy is the object of spec G.8.
type Policy struct {
	Enabled       bool       `json:"enabled"`
	OnUnavailable string     `json:"onUnavailable" enum:"degrade,fail" doc:"What becomes of a script where the sandbox cannot be made."`
	Resources     Resources  `json:"resources"`
	Filesystem    Filesystem `json:"filesystem"`
	Network       Network    `json:"network"`
	Privilege     Privilege  `json:"privilege"`
}

// Resources are limits of one script; nil for none.
type Resources struct {
	CPUSeconds       *int64 `json:"cpuSeconds,omitempty"`
	MemoryBytes      *int64 `json:"memoryBytes,omitempty"`
	MaxOpenFiles     *int64 `json:"maxOpenFiles,omitempty"`
	MaxProcesses     *int64 `json:"maxProcesses,omitempty"`
	MaxOutputBytes   *int64 `json:"maxOutputBytes,omitempty"`
	MaxFileSizeBytes *int64 `json:"maxFileSizeBytes,omitempty"`
}

// Filesystem is what a script sees of it.
type Filesystem struct {
	Mode         string `json:"mode" enum:"off,scratch-only,scratch-plus-ro"`
	ScratchBytes *int64 `json:"scratchBytes,omitempty"`
}

// Network is whom a script may reach.
type Network struct {
	Mode                     string   `json:"mode" enum:"unrestricted,deny,allowlist"`
	Allow                    []string `json:"allow,omitempty" doc:"Hosts, addresses and networks of an allow-list."`
	DenyLinkLocalAndMetadata bool     `json:"denyLinkLocalAndMetadata"`
}

// Privilege is as whom a script runs.
type Privilege struct {
	Mode string `json:"mode" enum:"inherit,drop-to-uid"`
	UID  *int64 `json:"uid,omitempty"`
	GID  *int64 `json:"gid,omitempty"`
}

// Default is the policy that the original ships (spec G.8).
func Default() Policy {
	return Policy{
		Enabled: true, OnUnavailable: "fail",
		Resources: Resources{
			CPUSeconds: new(int64(60)), MemoryBytes: new(int64(512 << 20)), MaxOpenFiles: new(int64(1024)), MaxProcesses: new(int64(256)),
			MaxOutputBytes: new(int64(5 << 20)), MaxFileSizeBytes: new(int64(256 << 20)),
		},
		Filesystem: Filesystem{Mode: "scratch-plus-ro"},
		Network:    Network{Mode: "allowlist", DenyLinkLocalAndMetadata: true},
		Privilege:  Privilege{Mode: "drop-to-uid"},
	}
}

// UnmarshalJSON fills in what spec G.8 says of fields that are left out. Keys that are
// not known are for the caller to refuse.
func (p *Policy) UnmarshalJSON(text []byte) error {
	type plain Policy
	filled := plain{
		Enabled: true, OnUnavailable: "degrade", Filesystem: Filesystem{Mode: "off"},
		Network: Network{Mode: "unrestricted", DenyLinkLocalAndMetadata: true}, Privilege: Privilege{Mode: "inherit"},
	}
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&filled); err != nil {
		return err
	}
	*p = Policy(filled)
	return nil
}

const (
	maxCPUSeconds = 3600
	maxOpenFiles  = 1 << 20
	maxProcesses  = 1 << 16
	maxBytes      = 1 << 50
	maxID         = 1<<31 - 1
	maxAllowed    = 1000
)

// Validate says what is wrong with it. Fault: Invalid with every wrong place.
func (p *Policy) Validate() error {
	var wrong []fault.Field
	add := func(path string, value any, format string, args ...any) {
		wrong = append(wrong, fault.Field{Path: path, Value: value, Message: fmt.Sprintf(format, args...)})
	}
	for _, choice := range []struct {
		path, value string
		of          []string
	}{
		{"onUnavailable", p.OnUnavailable, []string{"degrade", "fail"}},
		{"filesystem.mode", p.Filesystem.Mode, []string{"off", "scratch-only", "scratch-plus-ro"}},
		{"network.mode", p.Network.Mode, []string{"unrestricted", "deny", "allowlist"}},
		{"privilege.mode", p.Privilege.Mode, []string{"inherit", "drop-to-uid"}},
	} {
		if !slices.Contains(choice.of, choice.value) {
			add(choice.path, choice.value, "must be one of %s", strings.Join(choice.of, ", "))
		}
	}
	for _, limit := range []struct {
		path       string
		value      *int64
		from, upTo int64
	}{
		{"resources.cpuSeconds", p.Resources.CPUSeconds, 1, maxCPUSeconds},
		{"resources.memoryBytes", p.Resources.MemoryBytes, 1, maxBytes},
		{"resources.maxOpenFiles", p.Resources.MaxOpenFiles, 1, maxOpenFiles},
		{"resources.maxProcesses", p.Resources.MaxProcesses, 1, maxProcesses},
		{"resources.maxOutputBytes", p.Resources.MaxOutputBytes, 1, maxBytes},
		{"resources.maxFileSizeBytes", p.Resources.MaxFileSizeBytes, 1, maxBytes},
		{"filesystem.scratchBytes", p.Filesystem.ScratchBytes, 1, maxBytes},
		{"privilege.uid", p.Privilege.UID, 0, maxID},
		{"privilege.gid", p.Privilege.GID, 0, maxID},
	} {
		if limit.value != nil && (*limit.value < limit.from || *limit.value > limit.upTo) {
			add(limit.path, *limit.value, "must be from %d to %d", limit.from, limit.upTo)
		}
	}
	if len(p.Network.Allow) > maxAllowed {
		add("network.allow", nil, "must be at most %d", maxAllowed)
	}
	for i, host := range p.Network.Allow {
		if !allowable(host) {
			add(fmt.Sprintf("network.allow[%d]", i), host, "is no host, address or network")
		}
	}
	if wrong != nil {
		return &fault.Error{Kind: fault.Invalid, Message: "the sandbox policy is not valid", Fields: wrong}
	}
	return nil
}

// allowable takes what names a place: a network, an address, or a name; with a port or
// without.
func allowable(host string) bool {
	if _, err := netip.ParsePrefix(host); err == nil {
		return true
	}
	return host != "" && len(host) <= 260 && !strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == '/' || r > '~' })
}
