package script

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/perigee-monitoring/perigee/internal/fence"
)

// escaperName is argv[0] of a process that has what a child has, and tries to get more; of
// freeName of one that tries the same with nothing given away.
const (
	escaperName = "perigee-escaper"
	freeName    = "perigee-free"
)

func init() {
	if name := os.Args[0]; name == escaperName || name == freeName {
		fmt.Print(tryToEscape(name == escaperName, os.Args[1], os.Args[2]))
		os.Exit(0)
	}
}

// A child that runs a script has no files, no sockets and no programs, and gets at no other
// process: what a script that broke out of the engine would find.
func TestTheChildHasNothing(t *testing.T) {
	t.Parallel()
	for what := range escapes {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			if got, err := escape(t, freeName, what); err != nil || got != "" {
				t.Fatalf("of who gives nothing away it is refused as well, so that nothing is shown: %q, %v", got, err)
			}
			want := "denied"
			if raced && what == "memory" {
				want = ""
			}
			if got, err := escape(t, escaperName, what); err != nil || got != want {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// The children that run scripts have given it away before they do: while one waits for an
// answer, the system says so.
func TestChildrenAreConfined(t *testing.T) {
	found := make(chan string, 1)
	// Alone: the children of other tests may be about to begin.
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		all := ""
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, file := range files {
			stat, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "status"))
			if text, _ := os.ReadFile(file); strings.HasPrefix(string(text), childName+"\x00") && strings.Contains(string(stat), fmt.Sprintf("PPid:\t%d\n", os.Getpid())) {
				limits, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "limits"))
				if data := strings.Fields(string(regexp.MustCompile("Max data size.*").Find(limits))); len(data) < 4 || (data[3] == "unlimited") != raced || !strings.Contains(string(stat), "Seccomp:\t2\n") || !strings.Contains(string(stat), "NoNewPrivs:\t1\n") {
					stat = append(stat, "NOT CONFINED"...)
				}
				all += string(stat)
			}
		}
		found <- all
	}))
	t.Cleanup(server.Close)
	if _, err := runWithin(t, patient, Input{Source: `await fetch("` + server.URL + `")`}, http.DefaultTransport); err != nil {
		t.Fatal(err)
	}
	if stat := <-found; strings.Contains(stat, "NOT CONFINED") || !strings.Contains(stat, "Seccomp") {
		t.Error(stat)
	}
}

func escape(t *testing.T, as, what string) (string, error) {
	t.Helper()
	socket := "@perigee-" + strings.ReplaceAll(what, " ", "-") + as
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	command := exec.Command("/proc/self/exe")
	command.Args = []string{as, what, filepath.Join(t.TempDir(), "written")}
	command.Env = []string{"SOCKET=" + socket}
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, os.Stderr
	err = command.Run()
	return strings.TrimSpace(out.String()), err
}

// raw makes a system call, for those that have no function.
func raw(number uintptr, args ...uintptr) error {
	args = append(args, make([]uintptr, 6-len(args))...)
	if _, _, errno := syscall.Syscall6(number, args[0], args[1], args[2], args[3], args[4], args[5]); errno != 0 {
		return errno
	}
	return nil
}

// escapes are what is tried. The victim is a process of the same user that was there before.
var escapes = map[string]func(file string, victim int) error{
	"read":   func(string, int) error { _, err := os.ReadFile("/etc/passwd"); return err },
	"write":  func(file string, _ int) error { return os.WriteFile(file, nil, 0o600) },
	"list":   func(string, int) error { _, err := os.ReadDir("/"); return err },
	"proc":   func(string, int) error { _, err := os.ReadFile("/proc/self/environ"); return err },
	"socket": func(string, int) error { _, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0); return err },
	"datagrams": func(string, int) error {
		_, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
		return err
	},
	"a socket of the machine": func(string, int) error { _, err := net.Dial("unix", os.Getenv("SOCKET")); return err },
	"the kernel's own talk":   func(string, int) error { _, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW, 0); return err },
	"exec":                    func(string, int) error { return syscall.Exec("/bin/true", []string{"true"}, nil) },
	"fork": func(string, int) error {
		pid, _, errno := syscall.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
		switch {
		case errno != 0:
			return errno
		case pid == 0:
			syscall.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
		}
		return nil
	},
	"signal": func(_ string, victim int) error { return syscall.Kill(victim, syscall.SIGCONT) },
	"ptrace": func(_ string, victim int) error { return syscall.PtraceAttach(victim) },
	"its limits": func(_ string, victim int) error {
		l := syscall.Rlimit{Cur: 100, Max: 100}
		return raw(unix.SYS_PRLIMIT64, uintptr(victim), unix.RLIMIT_CPU, uintptr(unsafe.Pointer(&l)))
	}, //nolint:gosec // how it is called
	"its turns": func(_ string, victim int) error {
		var priority int32
		return raw(unix.SYS_SCHED_SETSCHEDULER, uintptr(victim), 5, uintptr(unsafe.Pointer(&priority))) //nolint:gosec // how it is called
	},
	"its priority": func(_ string, victim int) error { return syscall.Setpriority(syscall.PRIO_PROCESS, victim, 19) },
	"io_uring": func(string, int) error {
		var params [120]byte
		return raw(unix.SYS_IO_URING_SETUP, 8, uintptr(unsafe.Pointer(&params))) //nolint:gosec // how it is called
	},
	"keys": func(string, int) error {
		_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true)
		return err
	},
	"memory that outlives":  func(string, int) error { return raw(unix.SYS_SHMGET, 0, 4096, 0o1600) },
	"memory that is a file": func(string, int) error { _, err := unix.MemfdCreate("x", 0); return err },
	"memory": func(string, int) error {
		_, err := syscall.Mmap(-1, 0, 2<<30, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		return err
	},
}

func tryToEscape(confined bool, what, file string) string {
	victim := exec.Command("/bin/sleep", "600")
	victim.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := victim.Start(); err != nil {
		return err.Error()
	}
	defer victim.Process.Kill() //nolint:errcheck // it ends with this process as well
	if confined {
		if err := fence.Confine(fence.Confinement{NoNetwork: true, NoPrograms: true, NoFiles: true, Memory: 1 << 30}); err != nil {
			return err.Error()
		}
	}
	err := escapes[what](file, victim.Process.Pid)
	for _, denied := range []error{syscall.EPERM, syscall.EACCES, syscall.ENOSYS, syscall.ENOMEM} {
		if errors.Is(err, denied) {
			return "denied"
		}
	}
	if err != nil {
		return err.Error()
	}
	return ""
}
