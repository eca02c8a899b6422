//go:build unix

package satellite

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/probe"
	"github.com/perigee-monitoring/perigee/protocol"
)

// A stop in the middle of a script that would go on for ever: the satellite ends in
// its time, the script with it, and the slot is found missing at the next start.
func TestM28_StopEndsScripts(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pid")
	a := scripted(200 * time.Millisecond)
	a.Collectors = a.Collectors[1:]
	a.Collectors[0].Config = []byte(`{"script":"echo $$ >` + pids + `; exec sleep 600","timeout":300000}`)
	c := &core{revision: 1, assignments: []protocol.Assignment{a}}
	r := newRig(t, c)
	r.startWith(probe.New(probe.Options{AllowScripts: true}), io.Discard)
	pid := 0
	for pid == 0 {
		<-time.After(10 * time.Millisecond)
		b, _ := os.ReadFile(pids)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
	}
	r.end()
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d still runs (%v)", pid, err)
	}
	c.set(func(c *core) { c.records = nil })
	r.startWith(probe.New(probe.Options{AllowScripts: true}), io.Discard)
	first := r.oneRecord()
	if first.Skip == nil || first.Skip.Reason != protocol.SkipDown {
		t.Errorf("after the start the core gets %+v", first)
	}
	r.stop()
	<-r.ended
}
