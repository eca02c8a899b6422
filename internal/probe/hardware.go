package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/perigee-monitoring/perigee/check"
)

// What the hardware collectors run at the other side needs nothing but a shell and,
// for the disk, df. /proc/stat is read twice: what counts is the difference.
const (
	cpuCommand    = "head -n1 /proc/stat && sleep 0.5 && head -n1 /proc/stat && cat /proc/loadavg && grep -c ^processor /proc/cpuinfo"
	memoryCommand = "cat /proc/meminfo"
	diskCommand   = "LC_ALL=C df -Pk -- "
)

// printed runs a command that must succeed and gives the lines that it prints.
func (s *sshSession) printed(ctx context.Context, command string) ([]string, error) {
	result, err := s.command(ctx, command)
	if err != nil {
		return nil, err
	}
	if result.ExitCode != 0 {
		return nil, fmt.Errorf("%q ended with %d: %s", command, result.ExitCode, cut(strings.TrimSpace(result.Stderr), 300))
	}
	return strings.Split(strings.TrimRight(result.Stdout, "\n"), "\n"), nil
}

func (s *sshSession) cpu(ctx context.Context, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.HardwareCPUConfig])
	if err != nil {
		return nil, err
	}
	lines, err := s.printed(ctx, cpuCommand)
	if err != nil {
		return nil, err
	}
	return cpuResult(lines, config)
}

func cpuResult(lines []string, c check.HardwareCPUConfig) (*check.HardwareCPUResult, error) {
	odd := fmt.Errorf("/proc/stat and /proc/loadavg are not those of Linux: %q", cut(strings.Join(lines, "\n"), 200))
	if len(lines) != 4 {
		return nil, odd
	}
	idle0, all0, ok0 := cpuTimes(lines[0])
	idle1, all1, ok1 := cpuTimes(lines[1])
	if !ok0 || !ok1 {
		return nil, odd
	}
	result := &check.HardwareCPUResult{}
	if all := all1 - all0; all > 0 {
		result.UsagePercent = percent(all-(idle1-idle0), all)
	}
	if c.IncludeLoadAverage {
		var load [3]float64
		if _, err := fmt.Sscan(lines[2], &load[0], &load[1], &load[2]); err != nil {
			return nil, odd
		}
		result.LoadAvg1m, result.LoadAvg5m, result.LoadAvg15m = &load[0], &load[1], &load[2]
	}
	if c.IncludeCoreCount {
		cores, err := strconv.Atoi(strings.TrimSpace(lines[3]))
		if err != nil {
			return nil, odd
		}
		result.CoreCount = &cores
	}
	return result, nil
}

// cpuTimes reads the first line of /proc/stat: user, nice, system, idle, iowait, irq,
// softirq, steal; what follows is contained in the first two.
func cpuTimes(line string) (idle, all float64, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 5 || fields[0] != "cpu" {
		return 0, 0, false
	}
	for i, field := range fields[1:min(len(fields), 9)] {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, 0, false
		}
		all += n
		if i == 3 || i == 4 {
			idle += n
		}
	}
	return idle, all, true
}

func (s *sshSession) memory(ctx context.Context, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.HardwareMemoryConfig])
	if err != nil {
		return nil, err
	}
	lines, err := s.printed(ctx, memoryCommand)
	if err != nil {
		return nil, err
	}
	return memoryResult(lines, config)
}

func memoryResult(lines []string, c check.HardwareMemoryConfig) (*check.HardwareMemoryResult, error) {
	kib := map[string]float64{}
	for _, line := range lines {
		name, rest, _ := strings.Cut(line, ":")
		if fields := strings.Fields(rest); len(fields) > 0 {
			if n, err := strconv.ParseFloat(fields[0], 64); err == nil {
				kib[name] = n
			}
		}
	}
	total, ok := kib["MemTotal"]
	if !ok || total <= 0 {
		return nil, fmt.Errorf("/proc/meminfo is not that of Linux: %q", cut(strings.Join(lines, "\n"), 200))
	}
	free := kib["MemFree"]
	if !c.IncludeBuffersCache {
		if available, ok := kib["MemAvailable"]; ok {
			free = available
		} else { // Linux before 3.14
			free += kib["Buffers"] + kib["Cached"]
		}
	}
	result := &check.HardwareMemoryResult{
		TotalMb: hundredths(total / 1024), UsedMb: hundredths((total - free) / 1024), FreeMb: hundredths(free / 1024), UsedPercent: percent(total-free, total),
	}
	if c.IncludeSwap {
		all, used := hundredths(kib["SwapTotal"]/1024), hundredths((kib["SwapTotal"]-kib["SwapFree"])/1024)
		result.SwapTotalMb, result.SwapUsedMb = &all, &used
	}
	return result, nil
}

func (s *sshSession) disk(ctx context.Context, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.HardwareDiskConfig])
	if err != nil {
		return nil, err
	}
	// It goes through a shell, and a template may have filled it with anything.
	if !check.IsMountPoint(config.MountPoint) {
		return nil, fmt.Errorf("the config cannot be used: %q is no mount point", cut(config.MountPoint, 200))
	}
	lines, err := s.printed(ctx, diskCommand+config.MountPoint)
	if err != nil {
		return nil, err
	}
	return diskResult(lines)
}

// diskResult reads the second line of df -Pk: the form of POSIX, in KiB. A mount point
// with blanks cannot be asked for, and is the last field.
func diskResult(lines []string) (*check.HardwareDiskResult, error) {
	odd := fmt.Errorf("df did not print what POSIX says: %q", cut(strings.Join(lines, "\n"), 200))
	if len(lines) != 2 {
		return nil, odd
	}
	fields := strings.Fields(lines[1])
	if len(fields) < 6 {
		return nil, odd
	}
	last := len(fields) - 1
	var kib [3]float64 // all, used, available
	for i := range kib {
		n, err := strconv.ParseFloat(fields[last-4+i], 64)
		if err != nil {
			return nil, odd
		}
		kib[i] = n
	}
	const gib = 1 << 20 // in KiB
	result := &check.HardwareDiskResult{
		Filesystem: cut(strings.Join(fields[:last-4], " "), 300), MountPoint: cut(fields[last], 300),
		TotalGb: hundredths(kib[0] / gib), UsedGb: hundredths(kib[1] / gib), AvailableGb: hundredths(kib[2] / gib),
	}
	// What only root may use is neither used nor available: df's own share leaves it out.
	if usable := kib[1] + kib[2]; usable > 0 {
		result.UsedPercent = percent(kib[1], usable)
	}
	return result, nil
}

func hundredths(n float64) float64 { return math.Round(n*100) / 100 }

func percent(part, whole float64) float64 { return hundredths(part / whole * 100) }
