package probe

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// clock is a stand-in for a server of the time, whose clock is ahead by an hour:
// servers of Debian want to be the machine's own, and set its clock.
func clock(t *testing.T, stratum byte, leap byte, drop int) target {
	t.Helper()
	return answering(t, func(question []byte) []byte {
		if drop > 0 || len(question) < 48 {
			drop--
			return nil
		}
		answer := make([]byte, 48)
		answer[0], answer[1], answer[2], answer[3] = leap<<6|4<<3|4, stratum, 6, 0xe9
		copy(answer[12:], map[bool]string{true: "RATE", false: "GPS\x00"}[stratum == 0])
		now := time.Now().Add(time.Hour)
		for _, at := range []int{16, 32, 40} {
			binary.BigEndian.PutUint32(answer[at:], uint32(now.Unix()+2208988800))
			binary.BigEndian.PutUint32(answer[at+4:], uint32(uint64(now.Nanosecond())<<32/1e9))
		}
		copy(answer[24:32], question[40:48])
		return answer
	})
}

func TestNTP(t *testing.T) {
	t.Parallel()
	against(check.NTP, "stand-in", "answers in the form of RFC 5905")
	found := map[string]any{"offsetMs": some, "stratum": 1.0, "reference": "GPS", "rootDistanceMs": some, "synchronized": true}
	try(t, clock(t, 1, 0, 0), check.NTP, []trial{{"time", ``, check.NTPTime, `{}`, "", found}})
	try(t, clock(t, 1, 0, 1), check.NTP, []trial{{"one is lost", `"timeout":3000`, check.NTPTime, `{}`, "", found}})
	try(t, clock(t, 16, 3, 0), check.NTP, []trial{{"not set", ``, check.NTPTime, `{}`, "Check failed: the server says that its clock is not set", map[string]any{
		"offsetMs": some, "stratum": 16.0, "reference": some, "rootDistanceMs": some, "synchronized": false,
	}}})
	try(t, clock(t, 0, 0, 0), check.NTP, []trial{{"kiss of death", ``, check.NTPTime, `{}`, "Check failed: the server refused: RATE", nil}})
	try(t, clock(t, 1, 0, 1000), check.NTP, []trial{{"silence", `"timeout":300`, check.NTPTime, `{}`, "Check failed: timed out after 300 ms while waiting for the server", nil}})
	try(t, closedPort(t), check.NTP, []trial{{"refused", ``, check.NTPTime, `{}`, "Check failed: connection refused…", nil}})
}
