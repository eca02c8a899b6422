package check

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// Key names what is run: one check for one system in one environment.
type Key struct {
	CheckID       string
	SystemID      string
	EnvironmentID string // "" for the environment-less run
}

func (k Key) String() string { return k.CheckID + ":" + k.SystemID + ":" + k.EnvironmentID }

// Schedule says when runs of one key are due at one satellite. Slots are pinned
// to absolute time (Unix milliseconds), so that neither a restart nor a second
// look moves them; the phase is a hash, so that a thousand checks of one
// interval do not start together (spec M74, M75).
type Schedule struct {
	Interval time.Duration // at least one millisecond
	Phase    time.Duration // in [0, Interval)
}

// NewSchedule gives the schedule of key at the satellite.
func NewSchedule(satelliteID string, key Key, interval time.Duration) Schedule {
	interval = max(interval.Truncate(time.Millisecond), time.Millisecond)
	sum := sha256.Sum256([]byte(satelliteID + "\x00" + key.CheckID + "\x00" + key.SystemID + "\x00" + key.EnvironmentID))
	ms := binary.BigEndian.Uint64(sum[:8]) % uint64(interval.Milliseconds())
	return Schedule{Interval: interval, Phase: time.Duration(ms) * time.Millisecond}
}

// SeatSchedule gives the schedule of key where it is placed. A seat, numbered from
// 1, has the same slots wherever it is, so that the satellite that takes it over goes
// on where the one before it ended; 0 is a placement without a seat, whose slots are
// the satellite's own.
func SeatSchedule(satelliteID string, seat int, key Key, interval time.Duration) Schedule {
	if seat == 0 {
		return NewSchedule(satelliteID, key, interval)
	}
	return NewSchedule(fmt.Sprintf("seat %d", seat), key, interval)
}

// Next returns the first slot strictly after t.
func (s Schedule) Next(t time.Time) time.Time {
	interval, phase := s.Interval.Milliseconds(), s.Phase.Milliseconds()
	n := floorDiv(t.UnixMilli()-phase, interval) + 1
	return time.UnixMilli(n*interval + phase).UTC()
}

// Due returns how many slots lie in (after, until].
func (s Schedule) Due(after, until time.Time) int64 {
	interval, phase := s.Interval.Milliseconds(), s.Phase.Milliseconds()
	return max(0, floorDiv(until.UnixMilli()-phase, interval)-floorDiv(after.UnixMilli()-phase, interval))
}

// Last returns the latest slot not after t.
func (s Schedule) Last(t time.Time) time.Time {
	interval, phase := s.Interval.Milliseconds(), s.Phase.Milliseconds()
	return time.UnixMilli(floorDiv(t.UnixMilli()-phase, interval)*interval + phase).UTC()
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// RunID names the run of key at the satellite in the given slot. It leads with
// the time, twelve hex digits of Unix milliseconds, which keeps the unique index
// of a results table hot; twenty hex digits of a hash follow. The same slot gives
// the same id however often the result is sent. For satellites that know no slots
// (original agents) the executed time stands in for the slot (spec M2).
func RunID(slot time.Time, satelliteID string, key Key) string {
	sum := sha256.Sum256([]byte(satelliteID + "\x00" + key.CheckID + "\x00" + key.SystemID + "\x00" + key.EnvironmentID))
	return fmt.Sprintf("%012x", max(0, slot.UnixMilli())) + hex.EncodeToString(sum[:10])
}
