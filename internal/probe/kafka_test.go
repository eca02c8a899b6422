//go:build !lean

package probe

import (
	"net"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/perigee-monitoring/perigee/check"
)

func init() { whole = append(whole, plausible{check.Kafka, ``, check.KafkaMetadata, `{}`}) }

func TestKafka(t *testing.T) {
	t.Parallel()
	against(check.Kafka, "module", "github.com/twmb/franz-go/pkg/kfake")
	start := func(options ...kfake.Opt) target {
		cluster, err := kfake.NewCluster(append(options, kfake.NumBrokers(3), kfake.SeedTopics(4, "orders"), kfake.SeedTopics(2, "bills"))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cluster.Close)
		host, port, err := net.SplitHostPort(cluster.ListenAddrs()[0])
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(port)
		return target{host, n}
	}
	found := func(topics, partitions float64) map[string]any {
		return map[string]any{
			"brokerCount": 3.0, "controllerId": some, "topicCount": topics, "partitionCount": partitions, "offlinePartitions": 0.0, "underReplicatedPartitions": 0.0,
		}
	}
	all := found(2, 6)
	try(t, start(), check.Kafka, []trial{
		{"connecting", ``, "", "", "", nil},
		{"all", ``, check.KafkaMetadata, `{}`, "", all},
		{"one topic", ``, check.KafkaMetadata, `{"topic":"orders"}`, "", found(1, 4)},
		{"no such topic", ``, check.KafkaMetadata, `{"topic":"none"}`, "Check failed: there is no topic none, or this user may not see it", found(0, 0)},
		{"TLS that it does not speak", `"tls":true,"timeout":1500`, "", "", "…", nil},
	})
	secured := start(kfake.EnableSASL(), kfake.Superuser("PLAIN", "u", "right"), kfake.Superuser("SCRAM-SHA-256", "s", "right"), kfake.Superuser("SCRAM-SHA-512", "l", "right"))
	try(t, secured, check.Kafka, []trial{
		{"plain", `"mechanism":"plain","username":"u","password":"right"`, check.KafkaMetadata, `{}`, "", all},
		{"scram 256", `"mechanism":"scram-sha-256","username":"s","password":"right"`, check.KafkaMetadata, `{}`, "", all},
		{"scram 512", `"mechanism":"scram-sha-512","username":"l","password":"right"`, check.KafkaMetadata, `{}`, "", all},
		{"wrong password", `"mechanism":"plain","username":"u","password":"wrong"`, check.KafkaMetadata, `{}`, "signing in: …", nil},
		{"wrong password, scram", `"mechanism":"scram-sha-256","username":"s","password":"wrong"`, check.KafkaMetadata, `{}`, "signing in: …", nil},
	})
}

// A broker that hangs up instead of signing in may refuse the password, or be cut off.
func TestKafkaHangsUp(t *testing.T) {
	t.Parallel()
	s := serve(t, func(conn net.Conn) {
		buffer := make([]byte, 1000)
		_, _ = conn.Read(buffer)
		// The first question's number, no error, and one key: metadata in versions 0 to 8.
		_, _ = conn.Write([]byte{0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 3, 0, 0, 0, 8})
		_, _ = conn.Read(buffer)
	})
	r := New(Options{}).Execute(t.Context(), s.assignment(check.Kafka, `"mechanism":"plain","username":"u","password":"p"`, check.KafkaMetadata, `{}`), nil, nil)
	wantUnconnected(t, r, "signing in: the broker hung up, as some do to refuse a password")
	if r.Blame != check.BlamePath {
		t.Errorf("blamed on %v", r.Blame)
	}
}
