package check_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
)

// original is what spec K.7 says of strategies: config fields beside the timeout that
// all have, a star after secrets, a t after what templates are filled into.
var original = map[string]string{
	"healthcheck-http.http":           "authType authUsername authPassword* authToken* proxyUrl:t proxyUsername proxyPassword* egressDenyCidrs",
	"healthcheck-script.script":       "",
	"healthcheck-ping.ping":           "",
	"healthcheck-dns.dns":             "nameserver:t",
	"healthcheck-tcp.tcp":             "host:t port",
	"healthcheck-tls.tls":             "host:t port servername:t minDaysUntilExpiry rejectUnauthorized",
	"healthcheck-ssh.ssh":             "host:t port username:t password* privateKey* passphrase*",
	"healthcheck-grpc.grpc":           "host:t port service useTls",
	"healthcheck-mysql.mysql":         "host:t port database:t user:t password*",
	"healthcheck-postgres.postgres":   "host:t port database:t user:t password* ssl",
	"healthcheck-redis.redis":         "host:t port password* database tls",
	"healthcheck-rcon.rcon":           "host:t port password*",
	"healthcheck-jenkins.jenkins":     "baseUrl:t username apiToken*",
	"healthcheck-container.container": "endpoint:t container:t",
	"healthcheck-snmp.snmp":           "host:t port version community* v3Username v3SecurityLevel v3AuthProtocol v3AuthKey* v3PrivProtocol v3PrivKey*",
}

// originalCollectors are config fields and, after the colon, result fields of
// collectors in K.7, with a + where a check may have several.
var originalCollectors = map[string]string{
	"healthcheck-http.request+":              "url:t method headers body:t timeout emitTraceparent > statusCode statusText responseTimeMs body bodyLength success traceId",
	"healthcheck-script.execute+":            "script cwd:t env secretEnv timeout > exitCode stdout stderr executionTimeMs success timedOut",
	"healthcheck-ping.ping+":                 "host:t count timeout > packetsSent packetsReceived packetLoss minLatency avgLatency maxLatency",
	"healthcheck-dns.lookup+":                "hostname:t recordType nameserver:t > values recordCount resolutionTimeMs",
	"healthcheck-tcp.banner":                 "timeout > banner hasBanner readTimeMs",
	"healthcheck-tls.certificate":            "> subject issuer validFrom validTo daysRemaining valid",
	"healthcheck-ssh.command+":               "command:t > exitCode stdout stderr executionTimeMs",
	"healthcheck-grpc.health+":               "service:t > status serving responseTimeMs",
	"healthcheck-mysql.query+":               "query:t > rowCount executionTimeMs success",
	"healthcheck-postgres.query+":            "query:t > rowCount executionTimeMs success",
	"healthcheck-redis.command+":             "command args:t > response responseTimeMs success",
	"healthcheck-rcon.command+":              "command:t > response executionTimeMs",
	"healthcheck-rcon.source-status":         "> hostname version map humanPlayers botPlayers maxPlayers",
	"healthcheck-rcon.source-players":        "> playerCount playerNames",
	"healthcheck-rcon.minecraft-server":      "includeTps > motd tps",
	"healthcheck-rcon.minecraft-players":     "> onlinePlayers maxPlayers playerNames",
	"healthcheck-jenkins.server-info":        "> jenkinsVersion mode numExecutors usableWorkers totalJobs uptime",
	"healthcheck-jenkins.queue-info":         "> queueLength blockedCount buildableCount stuckCount oldestWaitingMs avgWaitingMs",
	"healthcheck-jenkins.job-status+":        "jobName:t checkLastBuild > jobName buildable lastBuildNumber lastBuildResult lastBuildDurationMs lastBuildTimestamp timeSinceLastBuildMs inQueue color",
	"healthcheck-jenkins.build-history+":     "jobName:t buildCount > totalBuilds successCount failureCount unstableCount abortedCount successRate avgDurationMs minDurationMs maxDurationMs lastSuccessBuildNumber lastFailureBuildNumber",
	"healthcheck-jenkins.node-health+":       "nodeName > totalNodes onlineNodes offlineNodes busyExecutors idleExecutors totalExecutors executorUtilization nodeDisplayName nodeOffline nodeOfflineReason",
	"healthcheck-container.container-status": "> exists running state health exitCode restartCount oomKilled",
	"healthcheck-container.container-stats":  "> cpuPercent memoryPercent memoryUsageBytes memoryLimitBytes",
	"healthcheck-snmp.snmp+":                 "oid:t > value valueString valueType responseTimeMs",
	"collector-hardware.cpu":                 "includeLoadAverage includeCoreCount > usagePercent loadAvg1m loadAvg5m loadAvg15m coreCount",
	"collector-hardware.memory":              "includeSwap includeBuffersCache > totalMb usedMb freeMb usedPercent swapUsedMb swapTotalMb",
	"collector-hardware.disk+":               "mountPoint > filesystem totalGb usedGb availableGb usedPercent mountPoint",
}

// configFields writes the fields of a config as the tables above do.
func configFields(config any) map[string]bool {
	fields := map[string]bool{}
	for f := range reflect.TypeOf(config).Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch f.Tag.Get("check") {
		case "secret":
			name += "*"
		case "templatable":
			name += ":t"
		}
		fields[name] = true
	}
	return fields
}

// Definitions of the original's are understood: each strategy and collector is there,
// by its id, with its fields, and finds what the original's finds. More fields than
// the original has are allowed, if they may be absent.
func TestEverythingOfTheOriginalIsThere(t *testing.T) {
	t.Parallel()
	for id, text := range original {
		kind, ok := check.Strategy(id)
		if !ok {
			t.Errorf("there is no %s", id)
			continue
		}
		fields := configFields(kind.Default)
		for _, name := range append(strings.Fields(text), "timeout") {
			if !fields[name] && !fields[name+":t"] {
				t.Errorf("%s has no field %s", id, name)
			}
		}
	}
	for id, text := range originalCollectors {
		name, multiple := strings.CutSuffix(id, "+")
		kind, ok := check.CollectorKind(name)
		if !ok {
			t.Errorf("there is no %s", id)
			continue
		}
		if multiple && !kind.Multiple {
			t.Errorf("%s may be there once only", id)
		}
		given, found, _ := strings.Cut(text, ">")
		fields := configFields(kind.Default)
		for _, name := range strings.Fields(given) {
			if !fields[name] && !fields[name+":t"] {
				t.Errorf("%s has no field %s", id, name)
			}
		}
		var names []string
		for _, f := range check.ResultFields(name) {
			names = append(names, f.Name)
		}
		want := strings.Fields(found)
		slices.Sort(want)
		slices.Sort(names)
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("%s finds (-want +got):\n%s", name, diff)
		}
	}
}
