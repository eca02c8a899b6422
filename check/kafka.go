package check

// Qualified ids of the Kafka strategy and its collector. The original has none.
const (
	Kafka         = "healthcheck-kafka.kafka"
	KafkaMetadata = "healthcheck-kafka.metadata"
)

func init() {
	register(strategy[KafkaConfig](Kafka, "Kafka", false),
		collector[KafkaMetadataConfig, KafkaMetadataResult](KafkaMetadata, "Brokers and partitions", true))
}

// KafkaConfig is the config of healthcheck-kafka.kafka: one broker. Connecting asks
// what it speaks, and signs in if there is a user.
type KafkaConfig struct {
	// The most that connecting and each collector may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// Name or address of a broker.
	Host string `json:"host" jsonschema:"title=Host,required,minLength=1,format=host" check:"templatable"`
	// Port to connect to.
	Port int `json:"port" jsonschema:"title=Port,minimum=1,maximum=65535"`
	// How to sign in.
	Mechanism string `json:"mechanism" jsonschema:"title=Mechanism,enum=none,enum=plain,enum=scram-sha-256,enum=scram-sha-512"`
	// User to sign in as.
	Username string `json:"username,omitempty" jsonschema:"title=User name" check:"templatable"`
	// Password to sign in with.
	Password string `json:"password,omitempty" jsonschema:"title=Password" check:"secret"`
	// Speak TLS.
	TLS bool `json:"tls" jsonschema:"title=TLS"`
	// Fail when the certificate cannot be verified.
	RejectUnauthorized bool `json:"rejectUnauthorized" jsonschema:"title=Verify certificate"`
}

func (c *KafkaConfig) defaults() {
	c.Timeout, c.Port, c.Mechanism, c.RejectUnauthorized = 30_000, 9092, "none", true
}

// KafkaMetadataConfig is the config of healthcheck-kafka.metadata.
type KafkaMetadataConfig struct {
	// One topic; all without it.
	Topic string `json:"topic,omitempty" jsonschema:"title=Topic" check:"templatable"`
}

func (c *KafkaMetadataConfig) defaults() {}

// KafkaMetadataResult is what the broker knows of its cluster.
type KafkaMetadataResult struct {
	BrokerCount  int  `json:"brokerCount"`
	ControllerID *int `json:"controllerId,omitempty"`
	TopicCount   int  `json:"topicCount"`
	// Of the topics that were asked about.
	PartitionCount int `json:"partitionCount"`
	// Without a leader: nobody can read or write them.
	OfflinePartitions int `json:"offlinePartitions"`
	// With fewer replicas in step than they should have.
	UnderReplicatedPartitions int     `json:"underReplicatedPartitions"`
	ResponseTimeMs            float64 `json:"responseTimeMs"`
}
