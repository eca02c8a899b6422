package resident

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Release gives the pages of the program's file back, once what only a start needs is done.
// It returns how much was mapped that way, in bytes.
func Release() (size int64) {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return 0
	}
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return 0
	}
	for _, p := range constant(string(smaps), program) {
		if _, _, failed := unix.Syscall(unix.SYS_MADVISE, p.from, p.to-p.from, unix.MADV_DONTNEED); failed == 0 {
			size += int64(p.to - p.from)
		}
	}
	return size
}

// part is a mapped part of a file.
type part struct{ from, to uintptr }

// constant finds the parts of the program's file that are as the file has them, so that the
// kernel can fetch them again. That a part is read-only is not enough: the loader may have
// written to it before, and such pages are in the file no more.
func constant(smaps, program string) (parts []part) {
	var candidate part
	for line := range strings.Lines(smaps) {
		var p part
		var mode string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &p.from, &p.to, &mode); n == 3 {
			candidate = part{}
			if strings.HasSuffix(line, " "+program+"\n") && !strings.Contains(mode, "w") {
				candidate = p
			}
		}
		if rest, ok := strings.CutPrefix(line, "Anonymous:"); ok && candidate != (part{}) && strings.TrimSpace(rest) == "0 kB" {
			parts = append(parts, candidate)
		}
	}
	return parts
}
