package probe

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// clock is a server of the time whose clock is ahead by an hour, and which says what no
// server of ours can be made to say.
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
	path := program(t, "chronyd")
	against(check.NTP, "program", versionOf(t, path, "-v"))
	p := New(Options{})
	// chronyd with a clock of its own, or with none: -x leaves the machine's clock alone.
	chrony := func(more string) target {
		dir := t.TempDir()
		return childOn(t, "udp", func(s target) bool {
			r := p.Execute(t.Context(), s.assignment(check.NTP, `"timeout":1000`, check.NTPTime, `{}`), nil, nil)
			return r.Status == check.Healthy || strings.Contains(r.Message, "not set")
		}, func(port int) []string {
			config := fmt.Sprintf("port %d\nbindaddress 127.0.0.1\nallow 127.0.0.1\ncmdport 0\nbindcmdaddress /\npidfile %s/pid\n%s", port, dir, more)
			return []string{path, "-x", "-n", "-u", "root", "-f", write(t, dir, "chrony.conf", config)}
		})
	}
	try(t, chrony("local stratum 5\n"), check.NTP, []trial{{"time", ``, check.NTPTime, `{}`, "", map[string]any{
		"offsetMs": some, "stratum": 5.0, "reference": "127.127.1.1", "rootDistanceMs": some, "synchronized": true,
	}}})
	try(t, chrony(""), check.NTP, []trial{{"not set", ``, check.NTPTime, `{}`, "Check failed: the server says that its clock is not set", map[string]any{
		"offsetMs": some, "stratum": 0.0, "rootDistanceMs": some, "synchronized": false,
	}}})
}

func TestNTPHostile(t *testing.T) {
	t.Parallel()
	against(check.NTP, "stand-in", "what a real server cannot be made to say, in the form of RFC 5905")
	try(t, clock(t, 1, 0, 1), check.NTP, []trial{{"one is lost", `"timeout":3000`, check.NTPTime, `{}`, "", map[string]any{
		"offsetMs": some, "stratum": 1.0, "reference": "GPS", "rootDistanceMs": some, "synchronized": true,
	}}})
	try(t, clock(t, 0, 0, 0), check.NTP, []trial{{"kiss of death", ``, check.NTPTime, `{}`, "Check failed: the server refused: RATE", nil}})
	try(t, clock(t, 1, 0, 1000), check.NTP, []trial{{"silence", `"timeout":300`, check.NTPTime, `{}`, "Check failed: timed out after 300 ms while waiting for the server", nil}})
	try(t, closedPort(t), check.NTP, []trial{{"refused", ``, check.NTPTime, `{}`, "Check failed: connection refused…", nil}})
	for name, answer := range map[string][]byte{"nothing": {}, "zeros": make([]byte, 48), "ones": bytes.Repeat([]byte{0xff}, 48), "half": make([]byte, 20), "letters": bytes.Repeat([]byte("x"), 600)} {
		s := answering(t, func([]byte) []byte { return answer })
		try(t, s, check.NTP, []trial{{name, `"timeout":300`, check.NTPTime, `{}`, "Check failed: …", nil}})
	}
}
