package fleet

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func ago(d time.Duration) *time.Time { t := now.Add(-d); return &t }

func TestEdgeMachine(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		row     Connection
		edge    edge
		changes bool
		want    Connection
	}{
		{
			"first connect",
			Connection{},
			edge{open: true, credential: 2},
			true,
			Connection{Epoch: 1, LastEvent: Connected, LastHeartbeatAt: &now, Credential: 2, Opened: true},
		},
		{
			"reconnect while the row says connected",
			Connection{Epoch: 4, LastEvent: Connected, LastHeartbeatAt: ago(time.Second)},
			edge{open: true, credential: 2},
			true,
			Connection{Epoch: 5, LastEvent: Connected, LastHeartbeatAt: &now, Credential: 2, Opened: true},
		},
		{
			"close",
			Connection{Epoch: 4, LastEvent: Connected, LastHeartbeatAt: ago(time.Second)},
			edge{want: Disconnected, epoch: 4},
			true,
			Connection{Epoch: 4, LastEvent: Disconnected},
		},
		{"close twice", Connection{Epoch: 4, LastEvent: Disconnected}, edge{want: Disconnected, epoch: 4}, false, Connection{Epoch: 4, LastEvent: Disconnected}},
		{
			"M14 M16 late close of an older session",
			Connection{Epoch: 5, LastEvent: Connected, LastHeartbeatAt: &now},
			edge{want: Disconnected, epoch: 4},
			false,
			Connection{Epoch: 5, LastEvent: Connected, LastHeartbeatAt: &now},
		},
		{
			"M47 close after the loss was told",
			Connection{Epoch: 4, LastEvent: HeartbeatLost, LastHeartbeatAt: ago(time.Hour)},
			edge{want: Disconnected, epoch: 4},
			false,
			Connection{Epoch: 4, LastEvent: HeartbeatLost, LastHeartbeatAt: ago(time.Hour)},
		},
		{
			"M43 heartbeats resume",
			Connection{Epoch: 4, LastEvent: HeartbeatLost, LastHeartbeatAt: ago(time.Hour)},
			edge{want: Connected, epoch: 4},
			true,
			Connection{Epoch: 4, LastEvent: Connected, LastHeartbeatAt: &now},
		},
		{"heartbeat flushed after the close", Connection{Epoch: 4, LastEvent: Disconnected}, edge{want: Connected, epoch: 4}, false, Connection{Epoch: 4, LastEvent: Disconnected}},
		{"heartbeat of an older session", Connection{Epoch: 5, LastEvent: HeartbeatLost}, edge{want: Connected, epoch: 4}, false, Connection{Epoch: 5, LastEvent: HeartbeatLost}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			row := tc.row
			if got := tc.edge.step(&row, now); got != tc.changes {
				t.Errorf("changed = %v, want %v", got, tc.changes)
			}
			if diff := cmp.Diff(tc.want, row); diff != "" {
				t.Errorf("row (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStateOfARow(t *testing.T) {
	t.Parallel()
	name := func(c Connection) Connection { c.Name, c.Region = "a", "eu"; return c }
	for _, tc := range []struct {
		name string
		row  Connection
		want entity.State
	}{
		{
			"L12 L57 recent heartbeat",
			Connection{LastEvent: Connected, LastHeartbeatAt: ago(time.Second)},
			entity.State{"status": "online", "name": "a", "region": "eu", "lastSeenAt": "2026-01-02T03:04:04.000Z", "lastEvent": "connected"},
		},
		{
			"L13 L58 old heartbeat heals itself",
			Connection{LastEvent: Connected, LastHeartbeatAt: ago(time.Hour)},
			entity.State{"status": "offline", "name": "a", "region": "eu", "lastSeenAt": "2026-01-02T02:04:05.000Z", "lastEvent": "connected"},
		},
		{
			"L14 clean disconnect",
			Connection{LastEvent: Disconnected},
			entity.State{"status": "offline", "name": "a", "region": "eu", "lastSeenAt": nil, "lastEvent": "disconnected"},
		},
		{
			"L175 threshold of its own",
			Connection{LastEvent: Connected, LastHeartbeatAt: ago(time.Hour), ThresholdMs: new(int64(7_200_000))},
			entity.State{"status": "online", "name": "a", "region": "eu", "lastSeenAt": "2026-01-02T02:04:05.000Z", "lastEvent": "connected"},
		},
		{"L15 never connected", Connection{}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			row := name(tc.row)
			if diff := cmp.Diff(tc.want, row.State(now)); diff != "" {
				t.Errorf("state (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStatusAgainstTheThreshold(t *testing.T) {
	t.Parallel()
	ms := func(d time.Duration) *int64 { v := d.Milliseconds(); return &v }
	for _, tc := range []struct {
		name      string
		heartbeat *time.Time
		threshold *int64
		want      Status
	}{
		{"L187 never", nil, nil, Offline},
		{"L187 never, however long the threshold", nil, ms(24 * time.Hour), Offline},
		{"L181 L188 recent", ago(time.Second), nil, Online},
		{"L192 exactly at the threshold", ago(45 * time.Second), nil, Online},
		{"L181 L189 past the threshold", ago(45*time.Second + time.Millisecond), nil, Offline},
		{"L182 L190 L193 longer threshold of its own", ago(time.Minute), ms(2 * time.Minute), Online},
		{"L182 L191 L194 shorter threshold of its own", ago(20 * time.Second), ms(15 * time.Second), Offline},
		{"L184 a threshold below zero is ignored", ago(40 * time.Second), ms(-time.Second), Online},
		{"L183 zero is ignored", ago(40 * time.Second), ms(0), Online},
		{"L195 a heartbeat from the future", ago(-time.Hour), nil, Online},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := StatusAt(tc.heartbeat, tc.threshold, now); got != tc.want {
				t.Errorf("status = %s, want %s", got, tc.want)
			}
		})
	}
}

func TestEventsAndPayloads(t *testing.T) {
	t.Parallel()
	row := Connection{SatelliteID: "s1", Name: "a", Region: "eu", LastHeartbeatAt: ago(time.Second), LastEvent: Connected}
	lost := row
	lost.LastEvent, lost.LastHeartbeatAt = HeartbeatLost, ago(time.Hour)
	gone := row
	gone.LastEvent, gone.LastHeartbeatAt = Disconnected, nil
	for _, tc := range []struct {
		name    string
		next    entity.State
		types   []string
		payload map[string]any
	}{
		{
			"L1 L4 connected", row.State(now),
			[]string{"satellite.connected"},
			map[string]any{"satelliteId": "s1", "name": "a", "region": "eu", "status": "online", "lastSeenAt": "2026-01-02T03:04:04.000Z"},
		},
		{
			"L2 L5 disconnected", gone.State(now),
			[]string{"satellite.disconnected"},
			map[string]any{"satelliteId": "s1", "name": "a", "region": "eu", "status": "offline", "lastSeenAt": nil},
		},
		{
			"L3 L6 heartbeat lost", lost.State(now),
			[]string{"satellite.heartbeat_lost"},
			map[string]any{"satelliteId": "s1", "name": "a", "region": "eu", "status": "offline", "lastSeenAt": "2026-01-02T02:04:05.000Z"},
		},
		{"L7 tombstone", nil, nil, nil},
		{"L8 unknown edge", entity.State{"lastEvent": "exploded"}, nil, nil},
		{"L8 no edge", entity.State{"status": "online"}, nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := entity.Change{Kind: KindConnection, ID: "s1", Next: tc.next}
			if diff := cmp.Diff(tc.types, connectionEvents(c)); diff != "" {
				t.Errorf("types (-want +got):\n%s", diff)
			}
			if tc.payload == nil {
				return
			}
			if diff := cmp.Diff(any(tc.payload), connectionPayload(c)); diff != "" {
				t.Errorf("payload (-want +got):\n%s", diff)
			}
		})
	}
}

// What the API takes in the place of an id must lead to its satellite.
func TestNamesCanStandInPaths(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"eu/1": "name: must not contain a slash", "/": "name: must not contain a slash",
		"7f4d2c1a-0b3e-4f5a-9c8d-1e2f3a4b5c6d": "name: must not look like an id",
		"7F4D2C1A-0B3E-4F5A-9C8D-1E2F3A4B5C6D": "name: must not look like an id",
	} {
		if err := Validate(Satellite{Name: name, Region: "eu"}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
	for _, name := range []string{"eu 1", "7f4d2c1a0b3e4f5a9c8d1e2f3a4b5c6d", "Zürich"} {
		if err := Validate(Satellite{Name: name, Region: "eu/west", Tags: map[string]string{"example.com/tier": "1"}}); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestValidateNamesTheFieldThatIsWrong(t *testing.T) {
	t.Parallel()
	short := int64(1000)
	err := Validate(Satellite{Name: " a", Region: "", Tags: map[string]string{"": "x"}, OfflineThresholdMs: &short})
	for _, want := range []string{"name: must not begin", "region: must not be empty", "tags.", "offlineThresholdMs: must be from 15000"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want it to say %q", err, want)
		}
	}
	if err := Validate(Satellite{Name: "eu-1", Region: "eu"}); err != nil {
		t.Errorf("a good satellite was refused: %v", err)
	}
}

func TestL9_EventsAreNamedAsTheTriggersOfTheOriginal(t *testing.T) {
	t.Parallel()
	var got []string
	for _, edge := range []Edge{Connected, Disconnected, HeartbeatLost} {
		got = append(got, connectionEvents(entity.Change{Next: entity.State{"lastEvent": string(edge)}})...)
	}
	want := []string{"satellite.connected", "satellite.disconnected", "satellite.heartbeat_lost"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
}

func TestL10_L11_TheStateIsTheCanonicalFiveFields(t *testing.T) {
	t.Parallel()
	for _, edge := range []Edge{Connected, Disconnected, HeartbeatLost} {
		row := Connection{Name: "a", Region: "eu", LastEvent: edge, LastHeartbeatAt: ago(time.Minute)}
		state := row.State(now)
		var fields []string
		for field := range state {
			fields = append(fields, field)
		}
		slices.Sort(fields)
		if diff := cmp.Diff([]string{"lastEvent", "lastSeenAt", "name", "region", "status"}, fields); diff != "" {
			t.Errorf("fields (-want +got):\n%s", diff)
		}
		if s := state["status"]; s != "online" && s != "offline" {
			t.Errorf("status %v is neither online nor offline", s)
		}
	}
}
