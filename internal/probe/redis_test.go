package probe

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

func TestRedis(t *testing.T) {
	t.Parallel()
	path := program(t, "redis-server", "valkey-server")
	against(check.Redis, "program", versionOf(t, path, "--version"))
	s := child(t, func(port int) []string {
		return []string{path, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir(), "--requirepass", "right"}
	})
	try(t, s, check.Redis, []trial{
		{"connecting signs in", `"password":"right"`, "", "", "", nil},
		{"ping", `"password":"right"`, check.RedisCommand, `{}`, "", map[string]any{"response": "PONG", "success": true}},
		{"another database", `"password":"right","database":3`, check.RedisCommand, `{}`, "", map[string]any{"response": "PONG", "success": true}},
		{"section", `"password":"right"`, check.RedisCommand, `{"command":"INFO","args":"server"}`, "", map[string]any{"response": some, "success": true}},
		{"no such key", `"password":"right"`, check.RedisCommand, `{"command":"GET","args":"nothing"}`, "", map[string]any{"success": true}},
		{"by name", `"username":"default","password":"right"`, check.RedisCommand, `{}`, "", map[string]any{"response": "PONG", "success": true}},
		{
			"wrong usage", `"password":"right"`, check.RedisCommand, `{"command":"GET"}`,
			"Check failed: the server answered ERR wrong number of arguments for 'get' command",
			map[string]any{"success": false},
		},
		{"wrong password", `"password":"wrong"`, check.RedisCommand, `{}`, "signing in: the server answered WRONGPASS…", nil},
		{"no password", ``, check.RedisCommand, `{}`, "the server answered NOAUTH Authentication required.", nil},
		{"no such database", `"password":"right","database":99`, "", "", "selecting the database: the server answered ERR DB index is out of range", nil},
		{"TLS that it does not speak", `"tls":true,"timeout":200`, "", "", "timed out after 200 ms while shaking hands", nil},
	})
}

// An answer that comes too late is not taken for that to the next question.
func TestLateAnswersAreNobodyElses(t *testing.T) {
	t.Parallel()
	s := serve(t, func(conn net.Conn) {
		buffer := make([]byte, 1000)
		for _, answer := range []string{"+PONG\r\n", "", "+first\r\n+second\r\n"} {
			if _, err := conn.Read(buffer); err != nil {
				return
			}
			fmt.Fprint(conn, answer)
		}
		waitClosed(conn)
	})
	a := s.assignment(check.Redis, `"timeout":300`, "", "")
	for _, id := range []string{"a", "b"} {
		a.Collectors = append(a.Collectors, protocol.Collector{ID: id, CollectorID: check.RedisCommand, Config: json.RawMessage(`{"command":"GET","args":"x"}`)})
	}
	r := New(Options{}).Execute(t.Context(), a, nil, nil)
	got := []any{object(t, r, "a")["error"], object(t, r, "b")["error"]}
	slices.SortFunc(got, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	want := []any{
		"not asked: what was asked before on this connection was not answered in time",
		"timed out after 300 ms while waiting for the answer to GET",
	}
	if diff := cmp.Diff(want, got); diff != "" || r.Status != check.Unhealthy || r.Blame&check.BlamePath == 0 {
		t.Errorf("%s, %v (-want +got):\n%s", r.Status, r.Blame, diff)
	}
}
