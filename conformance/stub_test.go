package conformance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/perigee-monitoring/perigee/conformance"
	"github.com/perigee-monitoring/perigee/internal/link"
)

// stub is a core that does as the specification says, but for one thing. It is its own
// administrator.
type stub struct {
	defect string

	mu         sync.Mutex
	count      int
	satellites map[string]*stubSatellite
	installed  bool // its one package is

	// Said instead of what is right, if they are set.
	entries  string // of the manifest
	data     []byte // of the blob
	farewell string // when the package is taken away
}

// stubSatellite is a satellite of the stub, guarded by its mu.
type stubSatellite struct {
	conformance.Satellite
	session link.Conn // nil when there is none
	state   conformance.Connection
	given   []stubAssigned
	stored  []conformance.Stored
	// What it said of its packages.
	packages conformance.PackageState
	// As the satellite was first, and last, let in.
	first   string
	allowed []stubAssigned
}

type stubAssigned struct {
	conformance.Assigned
	interval int
	env      map[string]string // secrets
}

func newStub(defect string) *stub {
	return &stub{defect: defect, satellites: map[string]*stubSatellite{"sat": {Satellite: conformance.Satellite{ID: "sat", Token: "good"}}}}
}

func (s *stub) knows(id string, token any) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sat := s.satellites[id]
	return sat != nil && sat.Token == token
}

func (s *stub) refuse(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sat := s.satellites[id]; sat != nil && s.defect == "L49_refused" {
		sat.state.Edge = "disconnected"
	}
}

// connect makes conn the session, and ends the one before.
func (s *stub) connect(id string, conn link.Conn, capabilities any) (assignments string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sat := s.satellites[id]
	if sat.session != nil && s.defect != "M14_M15_two_connections" {
		_ = sat.session.Close(1000, "")
	}
	sat.session, sat.allowed = conn, slices.Clone(sat.given)
	sat.state.Edge, sat.state.Online, sat.state.Heard = "connected", true, time.Now()
	if s.defect == "L45_connected" {
		sat.state.Heard = time.Time{}
	}
	if list, _ := capabilities.([]any); s.defect != "L159_capabilities" {
		for _, c := range list {
			sat.state.Capabilities = append(sat.state.Capabilities, fmt.Sprint(c))
		}
	}
	assignments = s.wire(sat.given)
	if sat.first == "" {
		sat.first = assignments
	}
	if s.defect == "L36_L38_away" {
		return sat.first
	}
	return assignments
}

func (s *stub) disconnect(id string, conn link.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sat := s.satellites[id]
	if sat == nil || s.defect == "L48_disconnected" || sat.session != conn && s.defect != "M16_late_close" {
		return
	}
	sat.state.Edge, sat.state.Online, sat.state.Heard = "disconnected", false, time.Time{}
	if sat.session == conn {
		sat.session = nil
	}
}

func (s *stub) heard(id string, version any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := version.(string); ok && s.defect != "L33_noted" {
		s.satellites[id].state.Version = v
	}
}

// take stores the result if the satellite may report it.
func (s *stub) take(id string, m map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sat := s.satellites[id]
	if sat == nil {
		return
	}
	allowed := sat.given
	switch s.defect {
	case "L155_refreshed":
		allowed = sat.allowed
	case "L152_not_assigned":
		for _, other := range s.satellites {
			allowed = append(slices.Clip(allowed), other.given...)
		}
	}
	fits := func(as stubAssigned) bool {
		return as.ConfigID == m["configId"] && (as.SystemID == m["systemId"] || s.defect == "L153_other_system")
	}
	if !slices.ContainsFunc(allowed, fits) {
		return
	}
	latency, _ := m["latencyMs"].(float64)
	source := sat.Name + " (" + sat.Region + ")"
	if s.defect == "L34_L154_result" {
		source = sat.Name
	}
	status, detail := s.judge(m)
	sat.stored = append(sat.stored, conformance.Stored{
		ConfigID: fmt.Sprint(m["configId"]), SystemID: fmt.Sprint(m["systemId"]), Status: status, LatencyMs: int64(latency), Source: source, Detail: detail,
	})
}

// judge evaluates the assertions that the stub's checks have.
func (s *stub) judge(m map[string]any) (status, detail string) {
	status = fmt.Sprint(m["status"])
	result, _ := m["result"].(map[string]any)
	if result == nil {
		return status, ""
	}
	metadata, _ := result["metadata"].(map[string]any)
	collectors, _ := metadata["collectors"].(map[string]any)
	entry, _ := collectors["e"].(map[string]any)
	failing := entry["statusCode"] != 200.0 || !strings.Contains(fmt.Sprint(entry["body"]), "all is well")
	if failing && s.defect != "L225_failing" || len(collectors) > 1 && s.defect == "L229_unknown_entry" {
		status = "unhealthy"
	}
	if s.defect != "L226_L228_passing" {
		delete(entry, "body")
	}
	text, _ := json.Marshal(result) // which was read from JSON
	return status, string(text)
}

// secrets are the answer to a request for those of a check, "" is an error.
func (s *stub) secrets(id string, config any) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	sat := s.satellites[id]
	i := slices.IndexFunc(sat.given, func(as stubAssigned) bool { return as.ConfigID == config })
	text, _ := config.(string)
	switch {
	case i < 0 && s.defect == "L27_foreign_secrets" && strings.HasPrefix(text, "check-"), i >= 0 && sat.given[i].env == nil && s.defect == "L28_no_secrets":
		return `{}`
	case i < 0 || sat.given[i].env == nil:
		return ""
	}
	env := maps.Clone(sat.given[i].env)
	if s.defect == "L26_L82_run_secrets" {
		env["ANOTHER"] = "value"
	}
	answer, _ := json.Marshal(env) // which can be written
	return string(answer)
}

// wire are the assignments as they are sent.
func (s *stub) wire(given []stubAssigned) string {
	list := make([]map[string]any, len(given))
	for i, as := range given {
		list[i] = map[string]any{
			"configId": as.ConfigID, "systemId": as.SystemID, "strategyId": "healthcheck-http.http", "config": map[string]any{}, "intervalSeconds": as.interval,
			"collectors": []any{map[string]any{"id": "e", "collectorId": "healthcheck-http.request", "config": map[string]any{}}},
			"configName": as.ConfigName, "systemName": as.SystemName,
		}
		if s.defect == "L220_assignment" {
			delete(list[i], "systemName")
		}
	}
	text, _ := json.Marshal(list) // which can be written
	return string(text)
}

// push tells the satellite, if it is there.
func (s *stub) push(sat *stubSatellite, given []stubAssigned) {
	if sat.session != nil {
		_ = sat.session.Write([]byte(`{"type":"config_updated","assignments":` + s.wire(given) + `}`))
	}
}

func (s *stub) name(kind string) string {
	s.count++
	return fmt.Sprintf("%s-%d", kind, s.count)
}

// with looks at a satellite, which has to be there.
func (s *stub) with(id string, look func(*stubSatellite)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sat := s.satellites[id]
	if sat == nil {
		return fmt.Errorf("there is no satellite %s", id)
	}
	look(sat)
	return nil
}

func (s *stub) Enrol(context.Context) (conformance.Satellite, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	made := conformance.Satellite{ID: s.name("satellite"), Token: s.name("token"), Name: s.name("name"), Region: s.name("region")}
	s.satellites[made.ID] = &stubSatellite{Satellite: made}
	return made, nil
}

func (s *stub) Rotate(_ context.Context, id string) (token string, err error) {
	err = s.with(id, func(sat *stubSatellite) {
		token = s.name("token")
		sat.Token = token
		if s.defect != "M32_rotated" {
			s.shutDown(sat)
		}
	})
	return token, err
}

func (s *stub) Remove(_ context.Context, id string) error {
	return s.with(id, func(sat *stubSatellite) {
		delete(s.satellites, id)
		s.shutDown(sat)
	})
}

func (s *stub) shutDown(sat *stubSatellite) {
	if sat.session == nil {
		return
	}
	if s.defect != "M32_deleted" || s.satellites[sat.ID] != nil {
		_ = sat.session.Write([]byte(`{"type":"shutdown","reason":"go"}`))
	}
	_ = sat.session.Close(1000, "")
}

func (s *stub) Connection(_ context.Context, id string) (c conformance.Connection, err error) {
	err = s.with(id, func(sat *stubSatellite) { c = sat.state })
	return c, err
}

func (s *stub) Results(_ context.Context, id string) (all []conformance.Stored, err error) {
	err = s.with(id, func(sat *stubSatellite) { all = slices.Clone(sat.stored) })
	return all, err
}

func (s *stub) Assign(_ context.Context, id string, interval int) (as conformance.Assigned, err error) {
	err = s.with(id, func(sat *stubSatellite) {
		as = conformance.Assigned{ConfigID: s.name("check"), ConfigName: s.name("name"), SystemID: s.name("system"), SystemName: s.name("name")}
		sat.given = append(sat.given, stubAssigned{Assigned: as, interval: interval})
		told := sat.given
		if s.defect == "L37_config_updated" {
			told = told[len(told)-1:]
		}
		s.push(sat, told)
		if s.defect != "M64_others" {
			return
		}
		for _, other := range s.satellites {
			if other != sat {
				s.push(other, other.given)
			}
		}
	})
	return as, err
}

func (s *stub) AssignScript(ctx context.Context, id, variable, value string) (conformance.Assigned, error) {
	as, err := s.Assign(ctx, id, 60)
	s.each(as, func(sat *stubSatellite, i int) { sat.given[i].env = map[string]string{variable: value} })
	return as, err
}

func (s *stub) Alter(_ context.Context, as conformance.Assigned, interval int) error {
	s.each(as, func(sat *stubSatellite, i int) {
		sat.given[i].interval = interval
		if s.defect != "M62_M63_altered" {
			s.push(sat, slices.Delete(slices.Clone(sat.given), i, i+1))
		}
		s.push(sat, sat.given)
	})
	return nil
}

func (s *stub) Withdraw(_ context.Context, as conformance.Assigned) error {
	s.each(as, func(sat *stubSatellite, i int) {
		sat.given = slices.Delete(slices.Clone(sat.given), i, i+1)
		s.push(sat, sat.given)
	})
	return nil
}

// each looks at the satellites that were given it.
func (s *stub) each(as conformance.Assigned, look func(*stubSatellite, int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sat := range s.satellites {
		if i := slices.IndexFunc(sat.given, func(given stubAssigned) bool { return given.Assigned == as }); i >= 0 {
			look(sat, i)
		}
	}
}
