//go:build race

package script

// raced: the memory of the race detector is beyond any limit, so that programs have none and
// seem larger than they are.
const raced = true
