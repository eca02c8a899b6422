// Package script runs checks that are written in TypeScript or JavaScript, with nothing
// on the machine but this program: esbuild puts a script and the packages that it imports
// together, QuickJS runs it (spec G.7).
//
// Neither happens in this process. Each run, and each build, is a child of its own: this
// same program, started anew, which gives away its right to files, sockets and programs
// before it reads a line of the script. What a script may have of the world (fetch,
// secrets, where its console goes) its parent gives it, over a pipe. So a script that
// breaks out of the engine is in a process that has nothing.
//
// Every run has a deadline, a bound on memory and on what it prints and fetches, and ends
// with a result or with an error that points into the source.
package script
