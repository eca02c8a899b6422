package probe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// plausible is a config with which a check could run: more is what it has beside host
// and port. Where it has a URL instead, $AT stands for them.
type plausible struct{ strategy, more, collector, config string }

// at is the check of a server. The config's timeout is given in milliseconds.
func (w plausible) at(s target, limit int) *protocol.Assignment {
	more := strings.TrimPrefix(fmt.Sprintf(`%s,"timeout":%d`, w.more, limit), ",")
	if !strings.Contains(w.more+w.config, "$AT") {
		return s.assignment(w.strategy, more, w.collector, w.config)
	}
	return assignment(w.strategy, "{"+strings.ReplaceAll(more, "$AT", s.address())+"}", w.collector, strings.ReplaceAll(w.config, "$AT", s.address()))
}

// whole are configs of strategies and collectors in which nothing that is needed is
// missing, for strategies that connect by TCP.
var whole = []plausible{
	{check.Redis, `"password":"p"`, check.RedisCommand, `{}`},
	{check.RCON, `"password":"p"`, check.RCONCommand, `{"command":"status"}`},
	{check.NATS, ``, check.NATSServer, `{}`},
	{check.SSH, `"username":"u"`, check.SSHCommand, `{"command":"true"}`},
	{check.GRPC, ``, check.GRPCHealth, `{}`},
	{check.MySQL, `"database":"d","user":"u","password":"p"`, check.MySQLQuery, `{}`},
	{check.Postgres, `"database":"d","user":"u","password":"p"`, check.PostgresQuery, `{}`},
	{check.SMTP, ``, check.SMTPServer, `{}`},
	{check.IMAP, `"security":"none"`, check.IMAPMailbox, `{}`},
	{check.LDAP, ``, check.LDAPSearch, `{}`},
	{check.MQTT, ``, check.MQTTRoundTrip, `{"topic":"t"}`},
	{check.Container, `"endpoint":"http://$AT","container":"c"`, check.ContainerStatus, `{}`},
	{check.Jenkins, `"baseUrl":"http://$AT","username":"u","apiToken":"t"`, check.JenkinsQueueInfo, `{}`},
	{check.Prometheus, `"baseUrl":"http://$AT"`, check.PrometheusQuery, `{"query":"up"}`},
	{check.Composite, ``, check.CompositeJourney, `{"steps":[{"name":"a","url":"http://$AT/"}]}`},
	{check.WebSocket, `"url":"ws://$AT"`, check.WebSocketMessage, `{}`},
}

// hostileElsewhere are the strategies that are tried with hostile servers in tests of
// their own: over datagrams, or because more than nonsense is nonsense to them.
var hostileElsewhere = map[string]string{
	check.TCP: "TestTCPReset", check.TLS: "TestTLSFailures", check.HTTP: "TestHTTPFailures", check.HTTP3: "TestHTTP3",
	check.DNS: "TestDNSRefusals", check.NTP: "TestNTPHostile", check.SNMP: "TestSNMP", check.Browser: "TestBrowser",
	check.Ping: "TestPingLosses", check.Script: "has no server",
}

func TestEveryStrategyIsTriedWithHostileServers(t *testing.T) {
	t.Parallel()
	tried := map[string]bool{}
	for _, w := range whole {
		tried[w.strategy] = true
	}
	for _, id := range New(Options{}).Inventory().Strategies {
		if _, elsewhere := hostileElsewhere[id]; elsewhere == tried[id] {
			t.Errorf("%s must be in one of the tables of hostile_test.go", id)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	s := closedPort(t)
	for _, w := range whole {
		t.Run(w.strategy, func(t *testing.T) {
			t.Parallel()
			r := New(Options{}).Execute(t.Context(), w.at(s, 30_000), nil, nil)
			if want := fmt.Sprintf("connection refused (127.0.0.1:%d)", s.port); r.Status != check.Unhealthy || !strings.HasSuffix(r.Message, want) {
				t.Errorf("%s, %q, want %q", r.Status, r.Message, want)
			}
		})
	}
}

// A server that accepts and says nothing is given up when the config's timeout is over.
func TestTimedOut(t *testing.T) {
	t.Parallel()
	s := serve(t, waitClosed)
	for _, w := range whole {
		t.Run(w.strategy, func(t *testing.T) {
			t.Parallel()
			r := New(Options{}).Execute(t.Context(), w.at(s, 300), nil, nil)
			if r.Status != check.Unhealthy || !strings.Contains(r.Message, "timed out after 300 ms") {
				t.Errorf("%s, %q", r.Status, r.Message)
			}
			if r.Blame&check.BlamePath == 0 {
				t.Errorf("blame %v is not the path's", r.Blame)
			}
		})
	}
}

// What no server of the kind says, or far too much of it, is a failure in bounded words.
func TestMalformedAnswers(t *testing.T) {
	t.Parallel()
	garbage := map[string]func(net.Conn){
		"zeros":    flood(make([]byte, 1<<12)),
		"ones":     flood(bytes.Repeat([]byte{0xff}, 1<<12)),
		"letters":  flood(bytes.Repeat([]byte("x"), 1<<12)),
		"lines":    flood([]byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno\n")),
		"hangs up": func(net.Conn) {},
		"resets":   reset,
	}
	for name, handle := range garbage {
		s := serve(t, handle)
		for _, w := range whole {
			t.Run(w.strategy+" "+name, func(t *testing.T) {
				t.Parallel()
				// To the library for LDAP zeros are small answers to questions nobody asked.
				patient, limit := w.strategy == check.LDAP && name == "zeros", 30_000
				if patient {
					limit = 1000
				}
				r := New(Options{}).Execute(t.Context(), w.at(s, limit), nil, nil)
				if text, _ := json.Marshal(r); r.Status != check.Unhealthy || len(text) > 100<<10 {
					t.Errorf("%s with %d bytes: %s", r.Status, len(text), cut(string(text), 500))
				}
				if strings.Contains(r.Message, "internal error") || strings.Contains(r.Message, "timed out") && !patient {
					t.Error(r.Message)
				}
			})
		}
	}
}

// flood says the same for as long as anybody listens.
func flood(text []byte) func(net.Conn) {
	return func(conn net.Conn) {
		for {
			if _, err := conn.Write(text); err != nil {
				return
			}
		}
	}
}
