package check

// Qualified ids of the Jenkins strategy and its collectors (spec K.7).
const (
	Jenkins             = "healthcheck-jenkins.jenkins"
	JenkinsServerInfo   = "healthcheck-jenkins.server-info"
	JenkinsQueueInfo    = "healthcheck-jenkins.queue-info"
	JenkinsJobStatus    = "healthcheck-jenkins.job-status"
	JenkinsBuildHistory = "healthcheck-jenkins.build-history"
	JenkinsNodeHealth   = "healthcheck-jenkins.node-health"
)

func init() {
	register(strategy[JenkinsConfig](Jenkins, "Jenkins", false),
		collector[JenkinsServerInfoConfig, JenkinsServerInfoResult](JenkinsServerInfo, "Server", false),
		collector[JenkinsQueueInfoConfig, JenkinsQueueInfoResult](JenkinsQueueInfo, "Queue", false),
		collector[JenkinsJobStatusConfig, JenkinsJobStatusResult](JenkinsJobStatus, "Job", true),
		collector[JenkinsBuildHistoryConfig, JenkinsBuildHistoryResult](JenkinsBuildHistory, "Builds of a job", true),
		collector[JenkinsNodeHealthConfig, JenkinsNodeHealthResult](JenkinsNodeHealth, "Nodes", true))
}

// JenkinsConfig is the config of healthcheck-jenkins.jenkins: a server and who asks it.
// Connecting asks for its mode.
type JenkinsConfig struct {
	// The most that connecting and each collector may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// URL of the server.
	BaseURL string `json:"baseUrl" jsonschema:"title=URL,required,minLength=1,format=http-url" check:"templatable"`
	// User whose token it is.
	Username string `json:"username" jsonschema:"title=User name,required,minLength=1"`
	// API token of the user.
	APIToken string `json:"apiToken" jsonschema:"title=API token,required,minLength=1" check:"secret"`
}

func (c *JenkinsConfig) defaults() { c.Timeout = 30_000 }

// JenkinsServerInfoConfig is the config of healthcheck-jenkins.server-info, which needs none.
type JenkinsServerInfoConfig struct{}

func (c *JenkinsServerInfoConfig) defaults() {}

// JenkinsServerInfoResult is what the server says of itself.
type JenkinsServerInfoResult struct {
	JenkinsVersion string `json:"jenkinsVersion"`
	// NORMAL or EXCLUSIVE.
	Mode string `json:"mode"`
	// Of the built-in node.
	NumExecutors  int `json:"numExecutors"`
	UsableWorkers int `json:"usableWorkers"`
	TotalJobs     int `json:"totalJobs"`
	// Hours since it started, where the Metrics plugin is installed and the user may view metrics: Jenkins itself tells nobody.
	Uptime *float64 `json:"uptime,omitempty"`
}

// JenkinsQueueInfoConfig is the config of healthcheck-jenkins.queue-info, which needs none.
type JenkinsQueueInfoConfig struct{}

func (c *JenkinsQueueInfoConfig) defaults() {}

// JenkinsQueueInfoResult is what waits to be built.
type JenkinsQueueInfoResult struct {
	QueueLength     int     `json:"queueLength"`
	BlockedCount    int     `json:"blockedCount"`
	BuildableCount  int     `json:"buildableCount"`
	StuckCount      int     `json:"stuckCount"`
	OldestWaitingMs float64 `json:"oldestWaitingMs"`
	AvgWaitingMs    float64 `json:"avgWaitingMs"`
}

// JenkinsJobStatusConfig is the config of healthcheck-jenkins.job-status: one job.
type JenkinsJobStatusConfig struct {
	// Name of the job, with its folders: folder/job.
	JobName string `json:"jobName" jsonschema:"title=Job,required,minLength=1" check:"templatable"`
	// Tell about the last build too, and fail when it failed or was aborted.
	CheckLastBuild bool `json:"checkLastBuild" jsonschema:"title=Last build"`
}

func (c *JenkinsJobStatusConfig) defaults() { c.CheckLastBuild = true }

// JenkinsJobStatusResult is a job and its last build.
type JenkinsJobStatusResult struct {
	JobName         string `json:"jobName"`
	Buildable       bool   `json:"buildable"`
	LastBuildNumber *int   `json:"lastBuildNumber,omitempty"`
	// SUCCESS, UNSTABLE, FAILURE, ABORTED or NOT_BUILT; UNKNOWN while it runs.
	LastBuildResult      string   `json:"lastBuildResult,omitempty"`
	LastBuildDurationMs  *float64 `json:"lastBuildDurationMs,omitempty"`
	LastBuildTimestamp   *float64 `json:"lastBuildTimestamp,omitempty"`
	TimeSinceLastBuildMs *float64 `json:"timeSinceLastBuildMs,omitempty"`
	InQueue              bool     `json:"inQueue"`
	// As the server's pages show it: blue is good, red is not.
	Color string `json:"color"`
}

// JenkinsBuildHistoryConfig is the config of healthcheck-jenkins.build-history: the
// latest builds of one job.
type JenkinsBuildHistoryConfig struct {
	// Name of the job, with its folders: folder/job.
	JobName string `json:"jobName" jsonschema:"title=Job,required,minLength=1" check:"templatable"`
	// How many of the latest builds count.
	BuildCount int `json:"buildCount" jsonschema:"title=Builds,minimum=1,maximum=100"`
}

func (c *JenkinsBuildHistoryConfig) defaults() { c.BuildCount = 10 }

// JenkinsBuildHistoryResult counts builds.
type JenkinsBuildHistoryResult struct {
	TotalBuilds   int `json:"totalBuilds"`
	SuccessCount  int `json:"successCount"`
	FailureCount  int `json:"failureCount"`
	UnstableCount int `json:"unstableCount"`
	AbortedCount  int `json:"abortedCount"`
	// Percent of all.
	SuccessRate            float64 `json:"successRate"`
	AvgDurationMs          float64 `json:"avgDurationMs"`
	MinDurationMs          float64 `json:"minDurationMs"`
	MaxDurationMs          float64 `json:"maxDurationMs"`
	LastSuccessBuildNumber *int    `json:"lastSuccessBuildNumber,omitempty"`
	LastFailureBuildNumber *int    `json:"lastFailureBuildNumber,omitempty"`
}

// JenkinsNodeHealthConfig is the config of healthcheck-jenkins.node-health.
type JenkinsNodeHealthConfig struct {
	// One node only; all without it.
	NodeName string `json:"nodeName,omitempty" jsonschema:"title=Node"`
}

func (c *JenkinsNodeHealthConfig) defaults() {}

// JenkinsNodeHealthResult counts nodes and what they do. The last three are those of one node.
type JenkinsNodeHealthResult struct {
	TotalNodes     int `json:"totalNodes"`
	OnlineNodes    int `json:"onlineNodes"`
	OfflineNodes   int `json:"offlineNodes"`
	BusyExecutors  int `json:"busyExecutors"`
	IdleExecutors  int `json:"idleExecutors"`
	TotalExecutors int `json:"totalExecutors"`
	// Percent of the executors that are busy.
	ExecutorUtilization float64 `json:"executorUtilization"`
	NodeDisplayName     string  `json:"nodeDisplayName,omitempty"`
	NodeOffline         *bool   `json:"nodeOffline,omitempty"`
	NodeOfflineReason   string  `json:"nodeOfflineReason,omitempty"`
}
