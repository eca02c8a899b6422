// Package fence keeps programs and scripts of others in: what the kernel offers for it
// (Landlock, seccomp, resource limits, another user), by what an operator and the core's
// policy ask for (spec G.8).
package fence
