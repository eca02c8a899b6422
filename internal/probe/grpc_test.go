package probe

import (
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/perigee-monitoring/perigee/check"
)

func TestGRPC(t *testing.T) {
	t.Parallel()
	against(check.GRPC, "module", "google.golang.org/grpc "+grpc.Version)
	start := func(register func(*grpc.Server)) target {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := grpc.NewServer()
		register(s)
		done := make(chan struct{})
		go func() { defer close(done); s.Serve(listener) }()
		t.Cleanup(func() { s.Stop(); <-done })
		return target{"127.0.0.1", listener.Addr().(*net.TCPAddr).Port}
	}
	s := start(func(s *grpc.Server) {
		h := health.NewServer()
		h.SetServingStatus("shop", healthpb.HealthCheckResponse_SERVING)
		h.SetServingStatus("depot", healthpb.HealthCheckResponse_NOT_SERVING)
		healthpb.RegisterHealthServer(s, h)
	})
	serving := map[string]any{"status": "SERVING", "serving": true}
	try(t, s, check.GRPC, []trial{
		{"connecting", ``, "", "", "", nil},
		{"the server", ``, check.GRPCHealth, `{}`, "", serving},
		{"a service", ``, check.GRPCHealth, `{"service":"shop"}`, "", serving},
		{"the strategy's service", `"service":"shop"`, check.GRPCHealth, `{}`, "", serving},
		{"not serving", ``, check.GRPCHealth, `{"service":"depot"}`, "Check failed: the server says that it is NOT_SERVING", map[string]any{"status": "NOT_SERVING", "serving": false}},
		{
			"no such service", ``, check.GRPCHealth, `{"service":"none"}`,
			"Check failed: the server does not know the service: unknown service",
			map[string]any{"status": "SERVICE_UNKNOWN", "serving": false},
		},
		{"TLS that it does not speak", `"useTls":true`, "", "", "tls: first record does not look like a TLS handshake", nil},
	})
	try(t, start(func(*grpc.Server) {}), check.GRPC, []trial{{
		"no health", ``, check.GRPCHealth, `{}`,
		"Check failed: the server does not implement the health checking protocol of gRPC",
		map[string]any{"status": "UNKNOWN", "serving": false},
	}})
}
