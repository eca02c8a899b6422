package fence

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
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
	processes, memory int64
}

// exceeds waits until what is below a process takes more than c allows, and says what; nil
// when ctx ends before.
func (c Confinement) exceeds(ctx context.Context, pid int) *Exceeded {
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
		switch {
		case c.Memory > 0 && t.memory > c.Memory:
			return &Exceeded{fmt.Sprintf("%d MiB of memory", c.Memory>>20)}
		case c.Processes > 0 && t.processes > c.Processes:
			return &Exceeded{fmt.Sprintf("%d processes", c.Processes)}
		}
		wait.Reset(max(lookEvery, lookShare*time.Since(began)))
	}
}

// below is what the processes below one take. Those that end meanwhile are left out.
func below(pid int) (t taken) {
	ahead := childrenOf(pid)
	for len(ahead) > 0 {
		next := ahead[0]
		ahead = append(ahead[1:], childrenOf(next)...)
		t.processes++
		t.memory += memoryOf(next)
	}
	return t
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
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		return 0 // it has ended
	}
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		if len(fields) == 3 && (fields[0] == "Pss:" || fields[0] == "SwapPss:") {
			if kib, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
				bytesTaken += kib << 10
			}
		}
	}
	return bytesTaken
}
