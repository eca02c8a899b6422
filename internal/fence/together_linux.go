package fence

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of the kernel's are for each process. What all processes of a script take together
// is looked at again and again: they are those below the first of its namespace, and cannot
// get away from there. What grows faster than it is looked at is over for a moment.

const (
	// lookEvery is how often it is looked; a look is to take a tenth of the time at most.
	lookEvery = 100 * time.Millisecond
	lookShare = 10
)

// taken is what processes take together.
type taken struct {
	processes, memory, disk int64

	seen map[[2]uint64]bool // files without a name
}

// exceeds waits until a script takes more than it may, and says what; nil when ctx ends
// before. pid is the first process of its namespace or, where it has none, itself.
func (l launch) exceeds(ctx context.Context, pid int) *Exceeded {
	wait := time.NewTimer(lookEvery)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wait.C:
		}
		began := time.Now()
		t := below(pid)
		if !l.Init {
			t.add(pid)
		}
		for _, dir := range l.ReadWrite {
			if l.Disk > 0 && t.disk <= l.Disk {
				t.disk += diskBelow(unix.AT_FDCWD, dir, l.Disk-t.disk, 0)
			}
		}
		switch {
		case l.Memory > 0 && t.memory > l.Memory:
			return &Exceeded{inMiB(l.Memory) + " of memory"}
		case l.Processes > 0 && t.processes > l.Processes:
			return &Exceeded{fmt.Sprintf("%d processes", l.Processes)}
		case l.Disk > 0 && t.disk > l.Disk:
			return &Exceeded{inMiB(l.Disk) + " of disk"}
		}
		wait.Reset(max(lookEvery, lookShare*time.Since(began)))
	}
}

func inMiB(bytes int64) string {
	return strconv.FormatFloat(float64(bytes)/(1<<20), 'f', -1, 64) + " MiB"
}

// below is what the processes below one take. Those that end meanwhile are left out.
func below(pid int) (t taken) {
	ahead := childrenOf(pid)
	for len(ahead) > 0 {
		next := ahead[0]
		ahead = append(ahead[1:], childrenOf(next)...)
		t.add(next)
	}
	return t
}

func (t *taken) add(pid int) {
	if t.seen == nil {
		t.seen = map[[2]uint64]bool{}
	}
	t.processes++
	t.memory += memoryOf(pid)
	t.disk += removed(pid, t.seen)
}

func childrenOf(pid int) (pids []int) {
	threads, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children") // the pattern is right
	for _, file := range threads {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		for field := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// memoryOf is the memory that a process takes, of what it shares with others its share.
func memoryOf(pid int) (bytesTaken int64) {
	at := "/proc/" + strconv.Itoa(pid)
	text, err := os.ReadFile(at + "/smaps_rollup")
	if err != nil { // it has ended, or may not be looked into, and then all of it counts
		text, _ = os.ReadFile(at + "/status")
	}
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		if len(fields) == 3 && slices.Contains([]string{"Pss:", "SwapPss:", "VmRSS:", "VmSwap:"}, fields[0]) {
			if kib, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
				bytesTaken += kib << 10
			}
		}
	}
	return bytesTaken
}
