package probe

import (
	"strconv"
	"testing"

	"github.com/perigee-monitoring/perigee/check"
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
