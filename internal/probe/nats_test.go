package probe

import (
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/perigee-monitoring/perigee/check"
)

func TestNATS(t *testing.T) {
	t.Parallel()
	start := func(change func(*server.Options)) target {
		options := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, ServerName: "n1", NoLog: true, NoSigs: true}
		change(options)
		s, err := server.NewServer(options)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		if !s.ReadyForConnections(time.Minute) {
			t.Fatal("the server did not start")
		}
		return target{"127.0.0.1", s.Addr().(*net.TCPAddr).Port}
	}
	against(check.NATS, "module", "github.com/nats-io/nats-server/v2 "+server.VERSION)
	told := map[string]any{"serverName": "n1", "version": server.VERSION, "jetStream": false, "maxPayload": 1048576.0}
	try(t, start(func(*server.Options) {}), check.NATS, []trial{
		{"open", ``, check.NATSServer, `{}`, "", told},
		{"a message", ``, check.NATSRoundTrip, `{"subject":"perigee.test"}`, "", map[string]any{"success": true}},
		{
			"not a subject", ``, check.NATSRoundTrip, `{"subject":"perigee.*"}`,
			`Check failed: the config cannot be used: "perigee.*" is no subject that can be published to`, nil,
		},
		{"TLS that it does not speak", `"tls":true,"timeout":2000`, "", "", "shaking hands: …", nil},
	})
	named := start(func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "right", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"no"}}}}}
	})
	try(t, named, check.NATS, []trial{
		{"by name", `"username":"u","password":"right"`, check.NATSServer, `{}`, "", told},
		{"wrong password", `"username":"u","password":"wrong"`, check.NATSServer, `{}`, "the server answered Authorization Violation", nil},
		{
			"forbidden", `"username":"u","password":"right"`, check.NATSRoundTrip, `{"subject":"no"}`,
			`Check failed: the server answered Permissions Violation for Publish to "no"`,
			map[string]any{"success": false},
		},
	})
	try(t, start(func(o *server.Options) { o.Authorization = "secret" }), check.NATS, []trial{
		{"token", `"token":"secret"`, check.NATSServer, `{}`, "", told},
		{"no token", ``, check.NATSServer, `{}`, "the server answered Authorization Violation", nil},
	})
}
