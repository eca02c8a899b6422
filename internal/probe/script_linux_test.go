package probe

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A satellite that is killed leaves no script behind that loops for ever.
func TestScriptsDieWithASatelliteThatIsKilled(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pid")
	satellite := exec.Command(os.Args[0])
	satellite.Env = append(os.Environ(), scriptEnv+"=echo $$ >"+pids+"; while :; do sleep 0.05; done")
	if err := satellite.Start(); err != nil {
		t.Fatal(err)
	}
	for {
		if b, err := os.ReadFile(pids); err == nil && len(b) > 0 {
			break
		}
		<-time.After(5 * time.Millisecond)
	}
	if err := satellite.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = satellite.Wait() // killed, as it says
	wantGone(t, pids)
}
