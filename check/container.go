package check

// Qualified ids of the container strategy and its collectors (spec K.7).
const (
	Container       = "healthcheck-container.container"
	ContainerStatus = "healthcheck-container.container-status"
	ContainerStats  = "healthcheck-container.container-stats"
)

func init() {
	register(strategy[ContainerConfig](Container, "Container", false),
		collector[ContainerStatusConfig, ContainerStatusResult](ContainerStatus, "State", false),
		collector[ContainerStatsConfig, ContainerStatsResult](ContainerStats, "CPU and memory", false))
}

// ContainerConfig is the config of healthcheck-container.container: one container of a
// runtime that speaks Docker's API, such as Docker and Podman.
type ContainerConfig struct {
	// The most that connecting and each collector may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// Where the runtime's API is: http://host:port of a proxy that only reads, or unix:///path/of.sock. Whoever may use the socket itself is root there.
	Endpoint string `json:"endpoint" jsonschema:"title=Endpoint,minLength=1,format=container-url" check:"templatable"`
	// Name or id of the container.
	Container string `json:"container" jsonschema:"title=Container,required,minLength=1" check:"templatable"`
}

func (c *ContainerConfig) defaults() { c.Timeout, c.Endpoint = 30_000, "http://socket-proxy:2375" }

// ContainerStatusConfig is the config of healthcheck-container.container-status, which needs none.
type ContainerStatusConfig struct{}

func (c *ContainerStatusConfig) defaults() {}

// ContainerStatusResult is what the runtime says of the container. That there is none
// is a result too: assertions say what is wanted.
type ContainerStatusResult struct {
	Exists  bool  `json:"exists"`
	Running *bool `json:"running,omitempty"`
	// created, running, paused, restarting, removing, exited or dead.
	State string `json:"state,omitempty"`
	// healthy, unhealthy, starting, or none without a health check.
	Health       string `json:"health,omitempty"`
	ExitCode     *int   `json:"exitCode,omitempty"`
	RestartCount *int   `json:"restartCount,omitempty"`
	OOMKilled    *bool  `json:"oomKilled,omitempty"`
}

// ContainerStatsConfig is the config of healthcheck-container.container-stats, which needs none.
type ContainerStatsConfig struct{}

func (c *ContainerStatsConfig) defaults() {}

// ContainerStatsResult is what a running container uses. What the runtime does not say
// is absent.
type ContainerStatsResult struct {
	// Of one core: four busy cores are 400.
	CPUPercent *float64 `json:"cpuPercent,omitempty"`
	// Of the limit.
	MemoryPercent *float64 `json:"memoryPercent,omitempty"`
	// Without the cache.
	MemoryUsageBytes *float64 `json:"memoryUsageBytes,omitempty"`
	MemoryLimitBytes *float64 `json:"memoryLimitBytes,omitempty"`
}
