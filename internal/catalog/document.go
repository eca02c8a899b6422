package catalog

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/strictjson"
)

// APIVersion is what every document says.
const APIVersion = "perigee/v1"

// Kinds of document, in the order in which Export writes them by name.
const (
	DocAssignment = "Assignment"
	// DocAutomation is judged by package automation, and applied by itself.
	DocAutomation  = "Automation"
	DocCheck       = "Check"
	DocMaintenance = "Maintenance"
	DocSatellite   = "Satellite"
	DocSystem      = "System"
)

// Document is one definition as people keep it in files. Spec is by kind: a
// SystemSpec, a check.Spec, an AssignmentSpec, a MaintenanceSpec or a SatelliteSpec.
// A satellite's labels are its tags.
type Document struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Metadata   Metadata        `json:"metadata"`
	Spec       json.RawMessage `json:"spec"`
	// wrong is what UnmarshalJSON could not take in; Apply reports it with all else.
	wrong problems
}

// Metadata names a document. Kind and name together identify a definition.
type Metadata struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
}

// SystemSpec is the spec of a System document.
type SystemSpec struct {
	Description  string            `json:"description,omitempty"`
	Fields       map[string]any    `json:"fields,omitempty"`
	Environments []EnvironmentSpec `json:"environments,omitempty"`
	DependsOn    []string          `json:"dependsOn,omitempty"`
}

// EnvironmentSpec is an environment in a System document, where its name is what
// tells it from others.
type EnvironmentSpec struct {
	Name   string         `json:"name"`
	Fields map[string]any `json:"fields,omitempty"`
}

// AssignmentSpec is the spec of an Assignment document. Check and System are
// names; IncludeLocal and Enabled are true when absent.
type AssignmentSpec struct {
	Check        string       `json:"check"`
	System       string       `json:"system"`
	IncludeLocal *bool        `json:"includeLocal,omitempty"`
	Enabled      *bool        `json:"enabled,omitempty"`
	Satellites   Selector     `json:"satellites,omitzero"`
	Policy       check.Policy `json:"policy,omitzero"`
	// As those of Assignment: absent and an empty list differ.
	Environments          []string            `json:"environments,omitzero"`
	SatelliteEnvironments map[string][]string `json:"satelliteEnvironments,omitempty"`
}

// MaintenanceSpec is the spec of a Maintenance document: start and end, or a
// schedule. The mode is mute when absent.
type MaintenanceSpec struct {
	Description string          `json:"description,omitempty"`
	Mode        MaintenanceMode `json:"mode,omitempty"`
	Systems     Selector        `json:"systems"`
	Checks      []string        `json:"checks,omitempty"`
	Start       *time.Time      `json:"start,omitempty"`
	End         *time.Time      `json:"end,omitempty"`
	Schedule    *Schedule       `json:"schedule,omitempty"`
}

// SatelliteSpec is the spec of a Satellite document (spec I.5). Absent, the
// threshold is the default, and the weight 1.
type SatelliteSpec struct {
	Region           string          `json:"region"`
	OfflineThreshold *check.Duration `json:"offlineThreshold,omitempty"`
	Weight           int64           `json:"weight,omitempty"`
}

// UnmarshalJSON reads strictly: unknown fields and wrong types are errors. They
// are kept for Apply, which reports the problems of all documents together.
func (d *Document) UnmarshalJSON(raw []byte) error {
	type plain Document
	var p plain
	wrong := strictjson.Decode(raw, &p, "")
	*d = Document(p)
	d.wrong = wrong
	return nil
}

// document renders a definition; the same definition gives the same bytes.
func document(kind, name string, labels map[string]string, spec any) Document {
	text, err := json.Marshal(spec)
	if err != nil { // everything in a stored spec came from JSON
		panic(fmt.Sprintf("catalog: %s %q cannot be written: %v", kind, name, err))
	}
	if len(labels) == 0 {
		labels = nil
	}
	return Document{APIVersion: APIVersion, Kind: kind, Metadata: Metadata{Name: name, Labels: labels}, Spec: text}
}

func systemDocument(s System) Document {
	spec := SystemSpec{Description: s.Description, Fields: s.Fields, DependsOn: s.DependsOn}
	for _, env := range s.Environments {
		spec.Environments = append(spec.Environments, EnvironmentSpec{Name: env.Name, Fields: env.Fields})
	}
	return document(DocSystem, s.Name, s.Labels, spec)
}

func checkDocument(c Check) Document { return document(DocCheck, c.Name, c.Labels, c.Spec) }

// assignmentDocument needs the edit for the names of check and system.
func (e *edit) assignmentDocument(a Assignment) Document {
	return document(DocAssignment, a.Name, a.Labels, AssignmentSpec{
		Check: e.checks.after[a.CheckID].Name, System: e.systems.after[a.SystemID].Name,
		IncludeLocal: &a.IncludeLocal, Enabled: &a.Enabled, Satellites: a.Satellites, Policy: a.Policy,
		Environments: a.Environments, SatelliteEnvironments: a.SatelliteEnvironments,
	})
}

func maintenanceDocument(m Maintenance) Document {
	return document(DocMaintenance, m.Name, m.Labels, MaintenanceSpec{
		Description: m.Description, Mode: m.Mode, Systems: m.Systems, Checks: m.Checks, Start: m.Start, End: m.End, Schedule: m.Schedule,
	})
}

func satelliteDocument(s fleet.Satellite) Document {
	spec := SatelliteSpec{Region: s.Region}
	if s.OfflineThresholdMs != nil {
		threshold := check.Duration(time.Duration(*s.OfflineThresholdMs) * time.Millisecond)
		spec.OfflineThreshold = &threshold
	}
	if s.Weighs() != 1 {
		spec.Weight = s.Weighs()
	}
	return document(DocSatellite, s.Name, s.Tags, spec)
}
