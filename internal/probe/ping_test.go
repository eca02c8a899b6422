package probe

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	probing "github.com/prometheus-community/pro-bing"

	"github.com/perigee-monitoring/perigee/check"
)

// It needs CAP_NET_RAW or a wide net.ipv4.ping_group_range, and fails where it has neither.
func TestPingLoopback(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "localhost"} {
		r := New(Options{}).Execute(t.Context(), assignment(check.Ping, `{}`, check.PingPing, `{"host":"`+host+`","count":2}`), nil, nil)
		wantHealthy(t, r)
		want := map[string]any{"_collectorId": check.PingPing, "packetsSent": 2.0, "packetsReceived": 2.0, "packetLoss": 0.0}
		if diff := cmp.Diff(want, object(t, r, "e")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", host, diff)
		}
		var result check.PingPingResult
		if err := json.Unmarshal(r.Metadata.Collectors["e"], &result); err != nil {
			t.Fatal(err)
		}
		if result.MinLatency == nil || result.AvgLatency == nil || result.MaxLatency == nil || *result.MinLatency > *result.MaxLatency {
			t.Errorf("%s: %+v", host, result)
		}
	}
}

// Not being allowed to send to an address is not taken for not being able to ping.
func TestPingAddressThatMayNotBeSentTo(t *testing.T) {
	t.Parallel()
	r := New(Options{}).Execute(t.Context(), assignment(check.Ping, `{}`, check.PingPing, `{"host":"255.255.255.255","count":1,"timeout":100}`), nil, nil)
	if r.Status != check.Unhealthy || strings.Contains(r.Message, "this satellite") {
		t.Errorf("%s, %q", r.Status, r.Message)
	}
}

func TestPingLosses(t *testing.T) {
	t.Parallel()
	result, err := pinged("h", &probing.Statistics{PacketsSent: 3, PacketLoss: 100})
	if diff := cmp.Diff(&check.PingPingResult{PacketsSent: 3, PacketLoss: 100}, result); diff != "" || err == nil || err.Error() != "no reply from h; packets sent: 3" {
		t.Errorf("all lost: %v (-want +got):\n%s", err, diff)
	}
	result, err = pinged("h", &probing.Statistics{PacketsSent: 3, PacketsRecv: 2, PacketLoss: 100.0 / 3, MinRtt: time.Millisecond, AvgRtt: 1500 * time.Microsecond, MaxRtt: 2 * time.Millisecond})
	low, mean, high := 1.0, 1.5, 2.0
	want := &check.PingPingResult{PacketsSent: 3, PacketsReceived: 2, PacketLoss: 33, MinLatency: &low, AvgLatency: &mean, MaxLatency: &high}
	if diff := cmp.Diff(want, result); diff != "" || err != nil {
		t.Errorf("one lost: %v (-want +got):\n%s", err, diff)
	}
}

func TestPingUnknownName(t *testing.T) {
	t.Parallel()
	r := New(Options{}).Execute(t.Context(), assignment(check.Ping, `{"timeout":2000}`, check.PingPing, `{"host":"nothing.invalid"}`), nil, nil)
	if r.Status != check.Unhealthy || !strings.Contains(r.Message, "nothing.invalid") && !strings.Contains(r.Message, "resolving the name") {
		t.Errorf("%s, %q", r.Status, r.Message)
	}
}
