package fence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// launcherName is argv[0] of a process that confines itself and becomes another program.
const launcherName = "perigee-fence"

// launch is what a launcher is told.
type launch struct {
	Confinement
	// Init: it is the first process of namespaces, and stays it. Proc: it mounts their /proc.
	Init bool `json:"init,omitempty"`
	Proc bool `json:"proc,omitempty"`
	// Own is hidden from it, but for what is Kept of it.
	Own  []string `json:"own,omitempty"`
	Kept []string `json:"kept,omitempty"`
	// Handover is the descriptor over which a launcher and its parent speak.
	Handover uintptr `json:"handover,omitempty"`

	barred string // on the way there, for who it was to become, and so did not; "" for nothing
}

// init makes this process a launcher, if it is to be one, wherever rules are used.
func init() {
	if len(os.Args) >= 2 && os.Args[0] == launcherName {
		if err := becomeProgram(os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "perigee: the sandbox could not be made:", err)
			os.Exit(launchFailed)
		}
		os.Exit(0)
	}
}

// launchFailed is the exit code of a launcher whose program did not begin.
const launchFailed = 125

// becomeProgram becomes, or leads, the program at words[0] with the rest as its arguments.
// It returns without an error when there is none: then this was to try whether it could.
func becomeProgram(spec string, words []string) error {
	var l launch
	if err := json.Unmarshal([]byte(spec), &l); err != nil {
		return err
	}
	runtime.LockOSThread() // capabilities are a thread's
	if l.Init {
		if err := l.settle(); err != nil {
			return err
		}
		if l.Processes > 0 {
			l.Processes += launcherThreads
		}
	}
	if len(words) < 2 {
		return nil
	}
	program, args := words[0], words[1:]
	memory := l.Memory // what the program may take; the launcher, which is gone then, takes more
	l.Memory = 0
	if err := Confine(l.Confinement); err != nil {
		return err
	}
	// Of what is open here the program gets its own, which come first, and nothing that
	// whoever started the satellite may have left open.
	if err := unix.CloseRange(uint(l.Handover), math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("keeping files to itself: %w", err)
	}
	handover := os.NewFile(l.Handover, "handover")
	if l.Watched {
		descriptor, err := watch(l.Confinement)
		if err != nil {
			return err
		}
		if err := offer(handover, descriptor); err != nil {
			return err
		}
		unix.Close(descriptor) // who gets at this process's memory must not answer for itself
	}
	environ := os.Environ()
	if l.Init {
		return lead(program, args, environ, memory, handover)
	}
	if memory > 0 {
		if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: uint64(memory), Max: uint64(memory)}); err != nil {
			return fmt.Errorf("limiting memory: %w", err)
		}
	}
	return unix.Exec(program, args, environ)
}

// offer tells the parent the number of the descriptor, and waits until it has taken it.
func offer(handover *os.File, descriptor int) error {
	if _, err := fmt.Fprintf(handover, "%08d", descriptor); err != nil {
		return err
	}
	if _, err := handover.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("nobody watches over its network: %w", err)
	}
	return nil
}

// Run runs a command, which must not have been started, within the rules, to its end, and
// gives its exit code: -1 when a signal ended it, or when it did not begin. started is called
// once it runs, with what holds it, in words. The error is an *Unenforced where that is what keeps it from running, an
// *Exceeded where what it took together ended it, and else what command.Wait gives.
func (r Rules) Run(ctx context.Context, command *exec.Cmd, place Place, started func(held string)) (code int, err error) {
	if len(r.enabled()) == 0 {
		return run(command, func() { started(unheld) })
	}
	if err := Available(); err != nil {
		if r.refuses() {
			return -1, &Unenforced{err.Error()}
		}
		return run(command, func() { started("nothing: " + err.Error()) })
	}
	l := launch{Confinement: r.confinement(place, true)}
	if l.UID != nil {
		if closed := unreachable(append(place.ReadOnly, filepath.Dir(place.Scratch))); closed != "" {
			if r.refuses() {
				return -1, &Unenforced{fmt.Sprintf("scripts are to run as user %d, who cannot get through %s (chmod o+x lets others pass, or privilege inherit lets scripts be who the satellite is)", *l.UID, closed)}
			}
			l.Confinement = r.confinement(place, false)
			l.barred = closed
		}
	}
	if l.UID != nil && place.Scratch != "" {
		if err := os.Chown(place.Scratch, int(*l.UID), int(*l.GID)); err != nil {
			return -1, fmt.Errorf("giving a script its directory: %w", err)
		}
	}
	if command.Err != nil {
		return -1, command.Err
	}
	return l.run(ctx, r, place, command, started)
}

// run runs the command by way of a launcher.
func (l launch) run(ctx context.Context, rules Rules, place Place, command *exec.Cmd, started func(held string)) (int, error) {
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	// Out of the session whose terminal the satellite may have been started from: who has a
	// terminal can type there, for whoever sits at it.
	command.SysProcAttr.Setsid, command.SysProcAttr.Setpgid = true, false
	if spaces, err := l.namespaces(); err == nil {
		l.Init, l.Proc = true, spaces.proc && l.NoFiles // whom the machine's files are open sees its processes, too
		if spaces.hides() && !l.NoFiles {
			l.Own, l.Kept = realPaths(place.Closed), realPaths(append(slices.Clone(place.ReadOnly), place.Scratch))
		}
		spaces.unshare(command.SysProcAttr, l.Confinement)
	}
	l.Handover = uintptr(3 + len(command.ExtraFiles)) // behind those of the program's own
	spec, err := json.Marshal(l)
	if err != nil {
		return -1, err
	}
	command.Args = append([]string{launcherName, string(spec), command.Path}, command.Args...)
	command.Path = "/proc/self/exe"
	ours, theirs, err := socketPair()
	if err != nil {
		return -1, err
	}
	defer ours.Close()
	command.ExtraFiles = append(command.ExtraFiles, theirs)
	err = command.Start()
	theirs.Close()
	if err != nil {
		return -1, err
	}
	if l.Watched {
		w, err := takeOver(ours, command.Process.Pid)
		if err != nil {
			_ = command.Process.Kill()
			failed := command.Wait()
			if e, ok := errors.AsType[*exec.ExitError](failed); ok && e.ExitCode() == launchFailed {
				return launchFailed, failed // it has said why
			}
			return -1, fmt.Errorf("watching over a script's network: %w", err)
		}
		w.rules = rules
		defer during(ctx, w.run)()
	}
	started(l.held(rules, place))
	var exceeded *Exceeded
	stop := during(ctx, func(ctx context.Context) {
		if exceeded = l.exceeds(ctx, command.Process.Pid); exceeded != nil {
			// Its session; where it is the first process of a namespace, all others end with it.
			_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
		}
	})
	err = command.Wait()
	stop()
	if exceeded != nil {
		return -1, exceeded
	}
	if killed := signalled(ours); killed != nil {
		return -1, killed
	}
	return command.ProcessState.ExitCode(), err
}

// held says what holds the program, and what does not although it was to.
func (l launch) held(rules Rules, place Place) string {
	files, network, who, spaces := "files closed", "network as the policy allows", "as who the satellite is", "in namespaces of its own"
	switch {
	case l.NoFiles:
	case len(place.Closed) == 0:
		files = "files open"
	case l.Own != nil:
		files = "files open, but for the satellite's own"
	default:
		files = "files open, the satellite's own among them"
	}
	switch {
	case l.NoNetwork:
		network = "no network"
	case rules.Unrestricted():
		network = "network open"
	}
	switch {
	case l.UID != nil:
		who = fmt.Sprintf("as user %d", *l.UID)
	case l.barred != "":
		who += ", because others cannot get through " + l.barred
	}
	if !l.Init {
		spaces = "without namespaces, which the system refuses"
	}
	return strings.Join([]string{files, network, who, spaces}, "; ")
}

// during does something until end is called, which waits for it.
func during(ctx context.Context, do func(context.Context)) (end func()) {
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		do(ctx)
	}()
	return func() {
		stop()
		<-ended
	}
}

// signalled reads by which signal the program ended, as its launcher has told before it
// ended; nil for none.
func signalled(from *os.File) *Killed {
	var text [24]byte
	if from.SetReadDeadline(time.Now().Add(time.Second)) != nil {
		return nil
	}
	if _, err := io.ReadFull(from, text[:]); err != nil {
		return nil
	}
	number, err := strconv.Atoi(string(text[:8]))
	peak, bad := strconv.ParseInt(string(text[8:]), 10, 64)
	if err != nil || bad != nil {
		return nil
	}
	return &Killed{Signal: syscall.Signal(number), Peak: peak}
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

func run(command *exec.Cmd, started func()) (int, error) {
	if err := command.Start(); err != nil {
		return -1, err
	}
	started()
	err := command.Wait()
	return command.ProcessState.ExitCode(), err
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
