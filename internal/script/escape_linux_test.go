package script

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/fence"
)

// escaperName is argv[0] of a process that has what a child has, and tries to get more.
const escaperName = "perigee-escaper"

func init() {
	if os.Args[0] == escaperName {
		fmt.Print(tryToEscape(os.Args[1], os.Args[2]))
		os.Exit(0)
	}
}

// A child that runs a script has no files, no sockets and no programs: what a script that
// broke out of the engine would find.
func TestTheChildHasNothing(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"read", "write", "socket", "exec", "fork", "signal"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			got, err := escape(t, what)
			if err != nil || got != "denied" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func escape(t *testing.T, what string) (string, error) {
	t.Helper()
	command := exec.Command("/proc/self/exe")
	command.Args = []string{escaperName, what, filepath.Join(t.TempDir(), "written")}
	command.Env = []string{}
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, os.Stderr
	err := command.Run()
	return strings.TrimSpace(out.String()), err
}

func tryToEscape(what, file string) string {
	parent := os.Getppid()
	if err := fence.Confine(fence.Confinement{NoNetwork: true, NoPrograms: true, NoFiles: true, Memory: 1 << 30}); err != nil {
		return err.Error()
	}
	var err error
	switch what {
	case "read":
		_, err = os.ReadFile("/etc/passwd")
	case "write":
		err = os.WriteFile(file, nil, 0o600)
	case "socket":
		_, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	case "exec":
		err = syscall.Exec("/bin/true", []string{"true"}, nil)
	case "fork":
		_, err = syscall.ForkExec("/bin/true", []string{"true"}, nil)
	case "signal":
		err = syscall.PtraceAttach(parent)
	}
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		return "denied"
	}
	return fmt.Sprint(err)
}
