// Package resident keeps what a process has in memory to what it uses.
//
// A start runs through the whole program: every package makes its tables ready, whether its
// turn ever comes or not, and the kernel maps what lies around each page that is touched. So
// most of a large program is resident from then on, and little of it is used. [Release] gives
// all of that back; what is used comes in again, from the kernel's cache, at some microseconds
// for each sixteen pages.
//
// It is about what is mapped from the program's file and never written to. The heap is the
// business of Go's garbage collector. Where it cannot be done, nothing happens.
package resident
