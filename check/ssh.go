package check

import "regexp"

// Qualified ids of the SSH strategy and its collectors (spec K.7).
const (
	SSH            = "healthcheck-ssh.ssh"
	SSHCommand     = "healthcheck-ssh.command"
	HardwareCPU    = "collector-hardware.cpu"
	HardwareMemory = "collector-hardware.memory"
	HardwareDisk   = "collector-hardware.disk"
)

func init() {
	register(strategy[SSHConfig](SSH, "SSH", false),
		collector[SSHCommandConfig, SSHCommandResult](SSHCommand, "Command", true),
		collector[HardwareCPUConfig, HardwareCPUResult](HardwareCPU, "CPU", false),
		collector[HardwareMemoryConfig, HardwareMemoryResult](HardwareMemory, "Memory", false),
		collector[HardwareDiskConfig, HardwareDiskResult](HardwareDisk, "Disk", true))
}

// SSHConfig is the config of healthcheck-ssh.ssh: a machine to sign in at.
type SSHConfig struct {
	// The most that connecting and each collector may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// Name or address to connect to.
	Host string `json:"host" jsonschema:"title=Host,required,minLength=1,format=host" check:"templatable"`
	// Port to connect to.
	Port int `json:"port" jsonschema:"title=Port,minimum=1,maximum=65535"`
	// User to sign in as.
	Username string `json:"username" jsonschema:"title=User name,required,minLength=1" check:"templatable"`
	// Password to sign in with.
	Password string `json:"password,omitempty" jsonschema:"title=Password" check:"secret"`
	// Private key to sign in with, in PEM or OpenSSH's own form.
	PrivateKey string `json:"privateKey,omitempty" jsonschema:"title=Private key" check:"secret"`
	// What the private key is encrypted with.
	Passphrase string `json:"passphrase,omitempty" jsonschema:"title=Passphrase" check:"secret"`
	// Public key of the machine, as in known_hosts (ssh-ed25519 AAAA…), or its fingerprint (SHA256:…). Without it any machine is believed.
	HostKey string `json:"hostKey,omitempty" jsonschema:"title=Host key" check:"templatable"`
}

func (c *SSHConfig) defaults() { c.Timeout, c.Port = 30_000, 22 }

// SSHCommandConfig is the config of healthcheck-ssh.command: what to run there.
type SSHCommandConfig struct {
	// What the user's shell there gets.
	Command string `json:"command" jsonschema:"title=Command,required,minLength=1" check:"templatable"`
}

func (c *SSHCommandConfig) defaults() {}

// SSHCommandResult is what the command did. Any exit code is a result: assertions say
// which is wanted.
type SSHCommandResult struct {
	// -1 when a signal ended it.
	ExitCode int `json:"exitCode"`
	// The beginning of what it printed.
	Stdout          string  `json:"stdout"`
	Stderr          string  `json:"stderr"`
	ExecutionTimeMs float64 `json:"executionTimeMs"`
}

// HardwareCPUConfig is the config of collector-hardware.cpu, for machines with Linux.
type HardwareCPUConfig struct {
	// Tell the load averages.
	IncludeLoadAverage bool `json:"includeLoadAverage" jsonschema:"title=Load average"`
	// Tell how many cores there are.
	IncludeCoreCount bool `json:"includeCoreCount" jsonschema:"title=Cores"`
}

func (c *HardwareCPUConfig) defaults() { c.IncludeLoadAverage, c.IncludeCoreCount = true, true }

// HardwareCPUResult is how busy the processors are.
type HardwareCPUResult struct {
	// Of all cores, over half a second.
	UsagePercent float64  `json:"usagePercent"`
	LoadAvg1m    *float64 `json:"loadAvg1m,omitempty"`
	LoadAvg5m    *float64 `json:"loadAvg5m,omitempty"`
	LoadAvg15m   *float64 `json:"loadAvg15m,omitempty"`
	CoreCount    *int     `json:"coreCount,omitempty"`
}

// HardwareMemoryConfig is the config of collector-hardware.memory, for machines with Linux.
type HardwareMemoryConfig struct {
	// Tell about swap too.
	IncludeSwap bool `json:"includeSwap" jsonschema:"title=Swap"`
	// Count buffers and cache, which the system gives back when needed, as used.
	IncludeBuffersCache bool `json:"includeBuffersCache" jsonschema:"title=Buffers and cache are used"`
}

func (c *HardwareMemoryConfig) defaults() { c.IncludeSwap = true }

// HardwareMemoryResult is how much memory there is and how much of it is used, in MiB.
type HardwareMemoryResult struct {
	TotalMb     float64  `json:"totalMb"`
	UsedMb      float64  `json:"usedMb"`
	FreeMb      float64  `json:"freeMb"`
	UsedPercent float64  `json:"usedPercent"`
	SwapUsedMb  *float64 `json:"swapUsedMb,omitempty"`
	SwapTotalMb *float64 `json:"swapTotalMb,omitempty"`
}

// HardwareDiskConfig is the config of collector-hardware.disk.
type HardwareDiskConfig struct {
	// Where the file system is mounted: letters, digits and the characters _ / . : -
	MountPoint string `json:"mountPoint" jsonschema:"title=Mount point,minLength=1,format=mount-point" check:"templatable"`
}

func (c *HardwareDiskConfig) defaults() { c.MountPoint = "/" }

// mountPoint is what a mount point may be made of (spec K.7): it becomes a word of a
// command.
var mountPoint = regexp.MustCompile(`^[\w/.:-]+$`)

// IsMountPoint reports whether a text can be the mount point of collector-hardware.disk.
func IsMountPoint(text string) bool { return mountPoint.MatchString(text) }

// HardwareDiskResult is how full a file system is, in GiB.
type HardwareDiskResult struct {
	Filesystem  string  `json:"filesystem"`
	TotalGb     float64 `json:"totalGb"`
	UsedGb      float64 `json:"usedGb"`
	AvailableGb float64 `json:"availableGb"`
	UsedPercent float64 `json:"usedPercent"`
	MountPoint  string  `json:"mountPoint"`
}
