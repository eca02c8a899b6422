package fence_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/perigee-monitoring/perigee/internal/fence"
)

// withheld tells these tests, run once more, to be on a machine that withholds namespaces.
const withheld = "PERIGEE_TEST_NO_NAMESPACES"

func TestMain(m *testing.M) {
	if os.Getenv(withheld) != "" {
		if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if dir := os.Getenv(satellite); dir != "" {
		runtime.LockOSThread()
		script := "echo began >&2; sleep 600; : " + dir
		if os.Getenv(withheld) != "" { // then the kernel ends the program alone, and not what it started
			script = "echo began >&2; exec perl -e 'sleep 600' ': " + dir + "'"
		}
		command := exec.Command("sh", "-c", script)
		command.Dir, command.Stderr = dir, os.Stderr
		command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		_, err := strict().Run(context.Background(), command, fence.Place{Scratch: dir}, func(string) {})
		fmt.Fprintln(os.Stderr, "ended:", err)
		os.Exit(1)
	}
	if os.Geteuid() == 0 { // as root has groups where somebody has logged in as it
		if err := syscall.Setgroups([]int{4}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	// As whoever starts a satellite may leave it one.
	if _, err := unix.FcntlInt(os.Stderr.Fd(), unix.F_DUPFD, 100); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// satellite tells this program to be one, which runs a script in that directory.
const satellite = "PERIGEE_TEST_SATELLITE"

// A satellite that is killed leaves no script behind, also none of another user.
func TestScriptsEndWithTheirSatellite(t *testing.T) {
	t.Parallel()
	dir := scratch(t)
	killed := exec.Command("/proc/self/exe")
	killed.Env = append(os.Environ(), satellite+"="+dir)
	said, err := killed.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len("began\n"))
	if _, err := io.ReadFull(said, line); err != nil || string(line) != "began\n" {
		rest, _ := io.ReadAll(said)
		t.Fatalf("%s%s, %v", line, rest, err)
	}
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(said) // until nobody is left who could print: none ended in time if this does not end
	if left := named(t, ": "+dir); left != nil {
		t.Errorf("%v are left", left)
	}
	_ = killed.Wait() // killed, as it says
}

// again runs some of these tests once more, as a user without rights.
func again(t *testing.T, tests string, more ...func(*exec.Cmd)) {
	t.Helper()
	const someone = 61_000
	if os.Geteuid() != 0 {
		t.Log("this is a user without rights")
		return
	}
	dir := scratch(t)
	if err := os.Chown(dir, someone, someone); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("/proc/self/exe", "-test.run", tests)
	command.Dir, command.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir}
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: someone, Gid: someone}}
	for _, f := range more {
		f(command)
	}
	if text, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}

// What holds for a satellite that is root holds for one that is not.
func TestAsAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	again(t, "^(TestWhatScriptsMayDo|TestEscapes|TestBombs|TestWhomProgramsReach|TestNothingIsLeftBehind|TestOwnProcesses|TestTogether|TestAllInAll|TestCallsThatAreRefused|TestEvasions|TestWhatIsForSome|TestEnds|TestServices|TestWhoAsksBinds|TestMemoryLimits|TestScriptsEndWithTheirSatellite)$")
}

// Namespaces are one layer of several: where there are none, the others hold, and it is said.
func TestWithoutNamespaces(t *testing.T) {
	t.Parallel()
	if os.Getenv(withheld) == "" {
		if level, err := fence.Level(); err != nil || !strings.HasSuffix(level, ", namespaces") {
			t.Errorf("this machine has %q, %v; these tests need namespaces", level, err)
		}
		again(t, "^(TestWhatScriptsMayDo|TestEscapes|TestWhomProgramsReach|TestBombs|TestAllInAll|TestCallsThatAreRefused|TestEvasions|TestWhatIsForSome|TestEnds|TestServices|TestWhoAsksBinds|TestMemoryLimits|TestScriptsEndWithTheirSatellite|TestWithoutNamespaces)$", func(command *exec.Cmd) {
			command.Env = append(command.Env, withheld+"=yes")
			attr := command.SysProcAttr
			id := []syscall.SysProcIDMap{{ContainerID: int(attr.Credential.Uid), HostID: int(attr.Credential.Uid), Size: 1}}
			attr.Cloneflags, attr.UidMappings, attr.GidMappings = unix.CLONE_NEWUSER, id, id
			attr.Credential.NoSetGroups, attr.AmbientCaps = true, []uintptr{unix.CAP_SYS_RESOURCE}
		})
		return
	}
	if level, err := fence.Level(); err != nil || !strings.HasSuffix(level, "; no namespaces, because the system refuses them; open files show the satellite's own") {
		t.Errorf("%q, %v", level, err)
	}
}

// What a script leaves behind is gone when it has ended, also what has left its session and
// its group, and has nobody above it.
func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	daemon := `perl -MPOSIX -e 'exit if fork; setsid(); exit if fork; open STDIN, "</dev/null"; open STDOUT, ">/dev/null"; open STDERR, ">/dev/null"; open(my $f, ">", "began"); close $f; sleep 600' MARK; while ! test -e began; do :; done; `
	for name, c := range map[string]struct {
		script string
		rules  fence.Rules
	}{
		"a script that ends":       {"echo ended", strict()},
		"one that fails":           {"exit 3", strict()},
		"one that is ended":        {"kill -9 $$", strict()},
		"one whose time is up":     {"echo late; exec sleep 600", strict()},
		"one with a network":       {"echo ended", strict(network("unrestricted"))},
		"one with files":           {"echo ended", strict(func(p *fence.Policy) { p.Filesystem.Mode = fence.FilesOff })},
		"one that stays who it is": {"echo ended", strict(func(p *fence.Policy) { p.Privilege.Mode = fence.PrivilegeInherit })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := scratch(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			command := exec.CommandContext(ctx, "sh", "-c", strings.Replace(daemon, "MARK", dir, 1)+c.script)
			command.Dir, command.Env = dir, []string{"PATH=" + os.Getenv("PATH")}
			command.Stdout = when(func(text string) { // the daemon runs, and so does the script
				if strings.HasPrefix(text, "late") {
					cancel()
				}
			})
			_, err := c.rules.Run(t.Context(), command, fence.Place{Scratch: dir}, func(string) {})
			if _, err := os.Stat(filepath.Join(dir, "began")); err != nil {
				t.Fatal("no daemon began:", err)
			}
			if left := named(t, dir); left != nil {
				t.Errorf("it ended (%v), and %v are left", err, left)
			}
		})
	}
}

// when is told what is printed.
type when func(string)

func (w when) Write(text []byte) (int, error) {
	w(string(text))
	return len(text), nil
}

// named are the processes with these words in their command line.
func named(t *testing.T, words string) (pids []int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		text, err := os.ReadFile(file)
		if err == nil && bytes.Contains(text, []byte(words)) { // else it is gone
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// A script that has no files sees its own processes, of which the first buries those that
// nobody waits for.
func TestOwnProcesses(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"no others":       `set -- /proc/[0-9]*; test $# -lt 5 && test -d /proc/1 && echo $$ is $(basename $(readlink /proc/self))`,
		"no zombies":      `perl -e 'for (1..20) { if (!fork) { exit if fork; exit } } 1 while wait > 0'; while grep -q "State:.Z" /proc/[0-9]*/status 2>/dev/null; do :; done; echo is`,
		"no network's":    `test $(grep -c : /proc/net/dev) = 1 && grep -q lo: /proc/net/dev && echo is`,
		"signals":         `kill -9 1; sh -c 'kill -TERM $$'; test $? = 143 && echo is`,
		"no capabilities": `grep -q 'CapEff:.0000000000000000' /proc/self/status && grep -q 'CapPrm:.0000000000000000' /proc/self/status && echo is`,
		"no groups":       `grep -q '^Groups:.*[0-9]' /proc/self/status || echo is`,
		"no descriptors":  `test "$(ls /proc/self/fd | tr '\n' ' ')" = "0 1 2 3 " && echo is`, // the last is the folder's
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := shell(t, strict(), fence.Place{Scratch: scratch(t)}, script); err != nil || !strings.Contains(got, "is") {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// What a script takes is bounded for all of its processes together, and is its own: of what
// others of the same user take, nothing is missing.
func TestTogether(t *testing.T) {
	t.Parallel()
	limits := func(p *fence.Policy) {
		p.Resources.MaxProcesses, p.Resources.MemoryBytes = new(int64(40)), new(int64(64<<20))
		p.Privilege.UID = new(int64(60_000))
	}
	inherit := func(p *fence.Policy) { p.Privilege = fence.Privilege{Mode: fence.PrivilegeInherit} }
	processes := `i=0; while [ $i -lt 200 ]; do sleep 600 & i=$((i+1)); done; echo all; wait`
	for name, c := range map[string]struct {
		script   string
		change   func(*fence.Policy)
		exceeded string
	}{
		"memory of many processes":          {`for i in 1 2 3 4 5 6 7 8; do perl -e '$x = "x" x 20_000_000; sleep 600' & done; wait`, limits, "it took more than 64 MiB of memory"},
		"memory of processes nobody awaits": {`for i in 1 2 3 4 5 6 7 8; do (setsid perl -e '$x = "x" x 20_000_000; sleep 600' &); done; sleep 600`, limits, "it took more than 64 MiB of memory"},
		"many processes":                    {processes, limits, ""},
		"many processes of who it is":       {processes, inherit, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := shell(t, strict(limits, c.change), fence.Place{Scratch: scratch(t)}, c.script)
			exceeded, ok := errors.AsType[*fence.Exceeded](err)
			if c.exceeded != "" && (!ok || !strings.HasPrefix(exceeded.Error(), c.exceeded)) {
				t.Errorf("%q, %v; want %s", got, err, c.exceeded)
			}
			if err == nil || strings.Contains(got, "all") && !ok {
				t.Errorf("nothing was in its way: %q, %v", got, err)
			}
		})
	}
	t.Run("each for itself", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		first := exec.CommandContext(ctx, "sh", "-c", `for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do sleep 600 & done; echo there; wait`)
		place := fence.Place{Scratch: scratch(t)}
		there, ended := make(chan struct{}), make(chan error)
		first.Stdout = when(func(string) { close(there) })
		go func() {
			_, err := strict(limits).Run(ctx, first, place, func(string) {})
			ended <- err
		}()
		select {
		case <-there:
		case err := <-ended:
			t.Fatal("the first ended by itself:", err)
		}
		got, err := shell(t, strict(limits), fence.Place{Scratch: scratch(t)}, `for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do sleep 600 & done; echo all`)
		if got != "all\n" || err != nil {
			t.Errorf("a second script could not start what it may: %q, %v", got, err)
		}
		cancel()
		<-ended
	})
}

// Whatever the policy allows of memory, a script has it as its limit, and cannot raise it.
func TestMemoryLimits(t *testing.T) {
	t.Parallel()
	for _, mib := range []int64{64, 255, 256, 512, 4096} {
		rules := strict(func(p *fence.Policy) { p.Resources.MemoryBytes = new(mib << 20) })
		got, err := shell(t, rules, fence.Place{Scratch: scratch(t)}, "ulimit -Sd; ulimit -Hd; ulimit -d unlimited 2>/dev/null || echo no; exec sh -c 'ulimit -d'")
		kib := mib << 10
		if want := fmt.Sprintf("%d\n%d\nno\n%d\n", kib, kib, kib); got != want || err != nil {
			t.Errorf("%d MiB: %q, %v", mib, got, err)
		}
	}
}

// How a program ended is known as if nothing was between.
func TestEnds(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]struct {
		code int
		err  string
	}{
		"true":             {0, ""},
		"exit 7":           {7, "exit status 7"},
		"exit 137":         {137, "exit status 137"},
		"kill -9 $$":       {-1, "signal: killed"},
		"kill -TERM $$":    {-1, "signal: terminated"},
		"kill -TERM 0":     {-1, "signal: terminated"},
		"sleep 600 & true": {0, ""},
	} {
		for _, rules := range []fence.Rules{strict(), strict(network("unrestricted"))} {
			command := exec.Command("sh", "-c", script)
			dir := scratch(t)
			command.Dir, command.SysProcAttr = dir, &syscall.SysProcAttr{Setpgid: true}
			code, err := rules.Run(t.Context(), command, fence.Place{Scratch: dir}, func(string) {})
			_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) // what it left behind, where there are no namespaces
			if text := errors.Join(err); code != want.code || (text == nil) != (want.err == "") || text != nil && text.Error() != want.err {
				t.Errorf("%s: %d, %v; want %d, %s", script, code, err, want.code, want.err)
			}
		}
	}
}

// Root that stays root gets nothing back that is closed, by way of what only root may do.
func TestRootIsFencedInToo(t *testing.T) {
	t.Parallel()
	inherit := func(p *fence.Policy) { p.Privilege.Mode = fence.PrivilegeInherit }
	for name, c := range map[string]struct {
		script string
		rules  fence.Rules
	}{
		"a device made anew": {`mknod zero c 1 5 && : <zero && echo through`, strict(inherit)}, // as it could be the disk
		"a device":           {`: </dev/kmsg && echo through`, strict(inherit)},
		"the memory of all":  {`perl -ne 'print "through" if /^CapBnd:\s*(\S+)/ && hex($1) >> 17 & 1' /proc/self/status`, strict(inherit)}, // CAP_SYS_RAWIO, where there is /proc/kcore
		"shared memory":      {`ls /dev/shm && echo through`, strict(inherit)},
		"interfaces": { // may it? then it is told that there is no such
			`perl -e 'socket(my $s, 2, 2, 0) or die "no: $!"; my $ask = pack "a16sx14", "none0", 0; ioctl $s, 0x8914, $ask; print "through" if $!{ENODEV}'`,
			strict(inherit, network("allowlist", "127.0.0.1")),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := shell(t, nil, fence.Place{Scratch: scratch(t)}, c.script); os.Geteuid() == 0 && !strings.Contains(got, "through") {
				t.Fatalf("without a fence it fails as well, so that nothing is shown: %q, %v", got, err)
			}
			if got, err := shell(t, c.rules, fence.Place{Scratch: scratch(t)}, c.script); strings.Contains(got, "through") {
				t.Errorf("it went through: %q, %v", got, err)
			}
		})
	}
}
