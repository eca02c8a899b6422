package resident

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What was let go is not resident, and what is used of it is there again.
func TestRelease(t *testing.T) {
	before := mapped(t)
	if size := Release(); size < before {
		t.Fatalf("%d bytes were given back of %d that were resident", size, before)
	}
	if after := mapped(t); after >= before || after == 0 {
		t.Errorf("%d bytes of the program are resident, and were %d before", after, before)
	}
}

func TestOnlyWhatIsAsTheFileHasItIsReleased(t *testing.T) {
	t.Parallel()
	const smaps = `00400000-012c3000 r-xp 00000000 00:1b 23   /usr/bin/perigee-satellite
Rss:               10188 kB
Anonymous:             0 kB
012c3000-021a1000 r--p 00ec3000 00:1b 23   /usr/bin/perigee-satellite
Anonymous:             0 kB
021a1000-021b0000 r--p 01da1000 00:1b 23   /usr/bin/perigee-satellite
Anonymous:            60 kB
021b0000-02290000 rw-p 01db0000 00:1b 23   /usr/bin/perigee-satellite
Anonymous:             0 kB
7f00-7f10 r--p 00000000 00:1b 24           /usr/lib/libc.so.6
Anonymous:             0 kB
12d59c800000-12d59d400000 rw-p 00000000 00:00 0 
Anonymous:             0 kB
7f7022310000-7f7022312000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
`
	want := []part{{0x400000, 0x12c3000}, {0x12c3000, 0x21a1000}}
	if diff := cmp.Diff(want, constant(smaps, "/usr/bin/perigee-satellite"), cmp.AllowUnexported(part{})); diff != "" {
		t.Errorf("released (-want +got):\n%s", diff)
	}
}

// mapped is how much of the program's file is resident and not to be written to, in bytes.
// Of the libraries that the race detector loads nothing is given back.
func mapped(t *testing.T) (size int64) {
	t.Helper()
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	ours := false
	for line := range strings.Lines(string(smaps)) {
		var kib int64
		if fields := strings.Fields(line); len(fields) >= 5 && strings.Contains(fields[0], "-") {
			ours = strings.HasSuffix(line, " "+program+"\n") && !strings.Contains(fields[1], "w")
		} else if n, _ := fmt.Sscanf(line, "Rss: %d kB", &kib); n == 1 && ours {
			size += kib << 10
		}
	}
	return size
}
