package resident

import (
	"os"
	"regexp"
	"strconv"
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

var residentFile = regexp.MustCompile(`(?m)^Rss(?:File|Shmem):\s+(\d+) kB$`)

// mapped is how much of files is resident, in bytes; a program that lies in memory is
// shared memory to the kernel.
func mapped(t *testing.T) (size int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range residentFile.FindAllSubmatch(text, -1) {
		kib, err := strconv.ParseInt(string(found[1]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		size += kib << 10
	}
	return size
}
