// Package resident keeps what a process has in memory to what it uses.
//
// A start runs through the whole program: every package makes its tables ready, whether its
// turn ever comes or not, and the kernel maps what lies around each page that is touched. So
// most of a large program is resident from then on, and little of it is used. [Release] gives
// all of that back; what is used comes in again, from the kernel's cache, at some microseconds
// for each sixteen pages.
//
// It is about what is mapped from the program's file and never written to; where that cannot be
// given back, nothing happens. The heap is the business of Go's garbage collector, which
// [Restrain] lets come sooner.
package resident

import (
	"os"
	"runtime/debug"
)

// growth is by how much of what is alive the heap grows until garbage is collected, in percent.
const growth = 75

// Restrain lets the heap grow by three quarters of what is alive until garbage is collected,
// or to 3 MiB; by itself Go lets it double, or grow to 4 MiB. Little is alive in a satellite,
// so to look through it a little more often costs little. GOGC in the environment has the
// last word.
func Restrain() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(growth)
	}
}
