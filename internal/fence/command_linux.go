package fence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// launcherName is argv[0] of a process that confines itself and becomes another program.
const launcherName = "perigee-fence"

// launch is what a launcher is told.
type launch struct {
	Confinement
	Watched bool `json:"watched,omitempty"`
	// Handover is the descriptor over which a launcher and its parent speak, if it is watched.
	Handover uintptr `json:"handover,omitempty"`
}

// init makes this process a launcher, if it is to be one, wherever rules are used.
func init() {
	if len(os.Args) >= 4 && os.Args[0] == launcherName {
		fmt.Fprintln(os.Stderr, "perigee: the sandbox could not be made:", becomeProgram(os.Args[1], os.Args[2], os.Args[3:]))
		os.Exit(launchFailed)
	}
}

// launchFailed is the exit code of a launcher whose program did not begin.
const launchFailed = 125

func becomeProgram(spec, program string, args []string) error {
	var l launch
	if err := json.Unmarshal([]byte(spec), &l); err != nil {
		return err
	}
	memory := l.Memory // what the program may take; the launcher, which is gone then, takes more
	l.Memory = 0
	if err := Confine(l.Confinement); err != nil {
		return err
	}
	if l.Watched {
		descriptor, err := watch()
		if err != nil {
			return err
		}
		if err := offer(l.Handover, descriptor); err != nil {
			return err
		}
	}
	environ := os.Environ()
	if memory > 0 {
		if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: uint64(memory), Max: uint64(memory)}); err != nil {
			return fmt.Errorf("limiting memory: %w", err)
		}
	}
	return unix.Exec(program, args, environ)
}

// offer tells the parent the number of the descriptor, and waits until it has taken it.
func offer(handover uintptr, descriptor int) error {
	pipe := os.NewFile(handover, "handover")
	if _, err := fmt.Fprintf(pipe, "%08d", descriptor); err != nil {
		return err
	}
	if _, err := pipe.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("nobody watches over its network: %w", err)
	}
	return pipe.Close()
}

// Run runs a command, which must not have been started, within the rules, to its end.
// started is called once it runs. The error is an *Unenforced where that is what keeps it
// from running, and else what command.Wait gives.
func (r Rules) Run(ctx context.Context, command *exec.Cmd, place Place, started func()) error {
	if len(r.enabled()) == 0 {
		return run(command, started)
	}
	if err := Available(); err != nil {
		if r.refuses() {
			return &Unenforced{err.Error()}
		}
		return run(command, started)
	}
	l := launch{Confinement: r.confinement(place), Watched: !r.Closed() && !r.Unrestricted()}
	if l.UID != nil {
		if closed := unreachable(append(place.ReadOnly, filepath.Dir(place.Scratch))); closed != "" {
			if r.refuses() {
				return &Unenforced{fmt.Sprintf("scripts are to run as user %d, who cannot get through %s (chmod o+x lets others pass, or privilege inherit lets scripts be who the satellite is)", *l.UID, closed)}
			}
			l.UID, l.GID = nil, nil
		}
	}
	if l.UID != nil && place.Scratch != "" {
		if err := os.Chown(place.Scratch, int(*l.UID), int(*l.GID)); err != nil {
			return fmt.Errorf("giving a script its directory: %w", err)
		}
	}
	if command.Err != nil {
		return command.Err
	}
	l.Handover = uintptr(3 + len(command.ExtraFiles)) // behind those of the program's own
	spec, err := json.Marshal(l)
	if err != nil {
		return err
	}
	command.Args = append([]string{launcherName, string(spec), command.Path}, command.Args...)
	command.Path = "/proc/self/exe"
	if !l.Watched {
		return run(command, started)
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return err
	}
	defer ours.Close()
	command.ExtraFiles = append(command.ExtraFiles, theirs)
	err = command.Start()
	theirs.Close()
	if err != nil {
		return err
	}
	w, err := takeOver(ours, command.Process.Pid)
	if err != nil {
		_ = command.Process.Kill()
		failed := command.Wait()
		if e, ok := errors.AsType[*exec.ExitError](failed); ok && e.ExitCode() == launchFailed {
			return failed // it has said why
		}
		return fmt.Errorf("watching over a script's network: %w", err)
	}
	w.rules = r
	watching, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.run(watching)
	}()
	started()
	err = command.Wait()
	stop()
	<-ended
	return err
}

// unreachable is a directory on the way to one of the paths through which not everybody
// may pass; "" for none.
func unreachable(paths []string) string {
	for _, path := range paths {
		for at := path; at != "/" && at != "."; at = filepath.Dir(at) {
			if info, err := os.Stat(at); err != nil || info.IsDir() && info.Mode().Perm()&0o001 == 0 {
				return at
			}
		}
	}
	return ""
}

func run(command *exec.Cmd, started func()) error {
	if err := command.Start(); err != nil {
		return err
	}
	started()
	return command.Wait()
}

func socketPair() (ours, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := syscall.SetNonblock(pair[0], true); err != nil { // so that it can have a deadline
		unix.Close(pair[0])
		unix.Close(pair[1])
		return nil, nil, err
	}
	return os.NewFile(uintptr(pair[0]), "handover"), os.NewFile(uintptr(pair[1]), "handover"), nil
}
