package probe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"

	"github.com/perigee-monitoring/perigee/check"
)

// plausible is a config with which a check could run.
type plausible struct{ strategy, more, collector, config string }

// whole are configs of strategies and collectors in which nothing that is needed is
// missing, for strategies that connect by TCP to a host and a port.
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
}

func TestEveryStrategyOfAPortIsTriedWithHostileServers(t *testing.T) {
	t.Parallel()
	tried := map[string]bool{check.TCP: true, check.TLS: true} // have tests of their own
	for _, w := range whole {
		tried[w.strategy] = true
	}
	offered, _, _ := New(Options{}).Inventory()
	for _, id := range offered {
		kind, _ := check.Strategy(id)
		if _, ok := reflect.TypeOf(kind.Default).FieldByName("Port"); ok && !tried[id] && !datagrams[id] {
			t.Errorf("%s is not in the table of hostile_test.go", id)
		}
	}
}

// datagrams are the strategies with a port that is not one of TCP.
var datagrams = map[string]bool{check.SNMP: true, check.NTP: true}

func TestRefused(t *testing.T) {
	t.Parallel()
	s := closedPort(t)
	for _, w := range whole {
		t.Run(w.strategy, func(t *testing.T) {
			t.Parallel()
			r := New(Options{}).Execute(t.Context(), s.assignment(w.strategy, w.more, w.collector, w.config), nil, nil)
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
			more := strings.TrimPrefix(w.more+`,"timeout":300`, ",")
			r := New(Options{}).Execute(t.Context(), s.assignment(w.strategy, more, w.collector, w.config), nil, nil)
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
				more := strings.TrimPrefix(fmt.Sprintf(`%s,"timeout":%d`, w.more, limit), ",")
				r := New(Options{}).Execute(t.Context(), s.assignment(w.strategy, more, w.collector, w.config), nil, nil)
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
