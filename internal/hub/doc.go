// Package hub is satellites as connected to this process: it takes them in,
// keeps one live session of each, hands their results on, tells them what to run
// and says why each session ended.
//
// What it promises:
//   - A connection that has not authenticated costs little and not for long.
//   - A satellite has one session; a newer one ends the older, and nothing that the
//     older does afterwards touches the newer (epochs).
//   - Messages of one connection are handled in order. A result is acknowledged
//     after it is durable; while the database is away nothing is dropped, reading
//     stops instead.
//   - A change of what a satellite should run reaches it, whatever was lost on the
//     way, because revisions are compared again and again.
//   - Every session ends for one named reason, which is counted and, as far as its
//     end of the wire understands, told.
//
// What it does not do: records (package fleet), verdicts (package health),
// liveness. It writes no edge when the core itself is stopping.
//
// The way of a session: [Hub.ServeHTTP] or [Hub.Serve] → handshake.go → session.go
// → results.go; pushes come from relay.go through outbox.go.
package hub
