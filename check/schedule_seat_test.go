package check_test

import (
	"testing"
	"testing/quick"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// A seat has the same slots wherever it is; what is no seat has its satellite's own.
func TestSeatSchedule(t *testing.T) {
	t.Parallel()
	key := check.Key{CheckID: "c", SystemID: "s"}
	same := func(a, b string, seat uint8, seconds uint16) bool {
		interval := time.Duration(seconds) * time.Second
		n := int(seat)
		if n == 0 {
			return check.SeatSchedule(a, 0, key, interval) == check.NewSchedule(a, key, interval)
		}
		return check.SeatSchedule(a, n, key, interval) == check.SeatSchedule(b, n, key, interval)
	}
	if err := quick.Check(same, nil); err != nil {
		t.Error(err)
	}
	if check.SeatSchedule("a", 1, key, time.Hour) == check.SeatSchedule("a", 2, key, time.Hour) {
		t.Error("two seats have the same slots")
	}
}
