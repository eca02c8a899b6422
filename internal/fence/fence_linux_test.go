package fence_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/perigee-monitoring/perigee/internal/fence"
)

// shell runs a shell script within the rules, in a directory that exists for it alone. It
// gives what it printed, both streams together.
func shell(t *testing.T, rules fence.Rules, place fence.Place, script string) (string, error) {
	t.Helper()
	printed, _, err := held(t, rules, place, script)
	return printed, err
}

// held is shell, and says what held the script, too.
func held(t *testing.T, rules fence.Rules, place fence.Place, script string) (printed, by string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "sh", "-c", script)
	command.Dir, command.Env = place.Scratch, []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + place.Scratch}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	command.WaitDelay = time.Second // what it left behind holds its output
	_, err = rules.Run(ctx, command, place, func(held string) { by = held })
	if by != "" {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) // what it left behind
	}
	return out.String(), by, err
}

// scratch is a directory that a user without rights can reach.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "perigee-fence-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func strict(change ...func(*fence.Policy)) fence.Rules {
	p := fence.Default()
	for _, f := range change {
		f(&p)
	}
	return fence.Rules{p}
}

func network(mode string, allow ...string) func(*fence.Policy) {
	return func(p *fence.Policy) {
		p.Network = fence.Network{Mode: mode, Allow: allow, DenyLinkLocalAndMetadata: true}
	}
}

// What scripts need goes on behind the fence.
func TestWhatScriptsMayDo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ script, want string }{
		"programs, pipes and files of their own": {`printf 'b\na\n' | sort >out && cat out && rm out`, "a\nb\n"},
		"here documents":                         {"cat <<END\nx\nEND", "x\n"},
		"what the system keeps for all":          {`test -r /etc/passwd && test -d /proc/self && echo yes >/dev/null && echo yes`, "yes\n"},
		"the end of a script":                    {`echo no; exit 3`, "no\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := shell(t, strict(), fence.Place{Scratch: scratch(t)}, c.script)
			if got != c.want {
				t.Errorf("%q, want %q (%v)", got, c.want, err)
			}
			if code, ok := errors.AsType[*exec.ExitError](err); strings.Contains(c.script, "exit 3") && (!ok || code.ExitCode() != 3) {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

// Who tries to get out gets nothing.
func TestEscapes(t *testing.T) {
	t.Parallel()
	outside := scratch(t)
	if err := os.WriteFile(filepath.Join(outside, "token"), []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	tree := scratch(t)
	if err := errors.Join(os.Chmod(tree, 0o777), os.WriteFile(filepath.Join(tree, "index.js"), []byte("module"), 0o666), os.Chmod(filepath.Join(tree, "index.js"), 0o666), os.Chmod(outside, 0o755)); err != nil {
		t.Fatal(err)
	}
	victim := exec.Command("sleep", "600")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = victim.Process.Kill(); _ = victim.Wait() })
	named, err := net.Listen("unix", filepath.Join(outside, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { named.Close() })
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tcp.Close() })
	for name, c := range map[string]struct {
		script string
		// harms: it is not tried without a fence, or only root could do it there.
		harms bool
	}{
		"a file outside":           {script: `cat ` + outside + `/token`},
		"a file through a link":    {script: `ln -s ` + outside + `/token link && cat link`},
		"a hard link":              {script: `ln ` + outside + `/token hard && cat hard`, harms: true},
		"the root's files":         {script: `ls /home/ /var/lib/`},
		"writing outside":          {script: `echo x >` + outside + `/new`},
		"writing into the system":  {script: `echo x >/etc/perigee-was-here`, harms: true},
		"writing into packages":    {script: `echo x >>` + tree + `/index.js`},
		"new files in packages":    {script: `echo x >` + tree + `/new.js`},
		"moving packages":          {script: `mv ` + tree + `/index.js ` + tree + `/other.js`, harms: true},
		"the parent's environment": {script: fmt.Sprintf(`cat /proc/%d/environ`, os.Getpid())},
		"the parent's memory":      {script: fmt.Sprintf(`head -c 1 /proc/%d/maps`, os.Getpid())},
		"the parent's files":       {script: fmt.Sprintf(`ls /proc/%d/cwd/`, os.Getpid())},
		"ending another process":   {script: fmt.Sprintf(`kill -0 %d`, victim.Process.Pid)},
		"another user again":       {script: `perl -e '$> = 0; $< = 0; die "no" if $> || $<'`, harms: os.Geteuid() != 0},
		"mounting":                 {script: `mount -t tmpfs none .`, harms: true},
		"a new namespace":          {script: `unshare -Urn true`, harms: true},
		"a namespace by clone":     {script: `perl -e 'my $p = syscall(` + fmt.Sprint(unix.SYS_CLONE) + `, ` + fmt.Sprint(unix.CLONE_NEWUSER|int(unix.SIGCHLD)) + `, 0, 0, 0, 0); exit 0 if !$p; die "no: $!" if $p < 0; waitpid $p, 0'`, harms: os.Getenv(withheld) != ""},
		"a namespace by clone3":    {script: `perl -e 'my $a = pack "Q8", ` + fmt.Sprint(unix.CLONE_NEWUSER) + `, 0, 0, 0, ` + fmt.Sprint(int(unix.SIGCHLD)) + `, 0, 0, 0; my $p = syscall(` + fmt.Sprint(unix.SYS_CLONE3) + `, $a, 64); exit 0 if !$p; die "no: $!" if $p < 0; waitpid $p, 0'`, harms: os.Getenv(withheld) != ""},
		"the network":              {script: dial + tcp.Addr().String()},
		"a socket of the machine":  {script: `perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new("` + outside + `/socket") or die "no: $!"'`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !c.harms {
				if got, err := shell(t, nil, fence.Place{Scratch: scratch(t)}, c.script); err != nil {
					t.Fatalf("without a fence it fails as well, so that nothing is shown: %q, %v", got, err)
				}
			}
			got, err := shell(t, strict(), fence.Place{Scratch: scratch(t), ReadOnly: []string{tree}}, c.script)
			if err == nil || strings.Contains(got, "secret") || strings.Contains(got, "through") {
				t.Errorf("it went through: %q", got)
			}
			if strings.Contains(got, "the sandbox could not be made") || strings.Contains(got, "not found") {
				t.Errorf("nothing was tried: %s", got)
			}
		})
	}
}

// Bombs end with the script, within its limits.
func TestBombs(t *testing.T) {
	t.Parallel()
	limits := func(p *fence.Policy) {
		p.Resources.MemoryBytes, p.Resources.MaxFileSizeBytes = new(int64(64<<20)), new(int64(1<<20))
		p.Resources.CPUSeconds, p.Resources.MaxOpenFiles = new(int64(2)), new(int64(32))
	}
	user := int64(60_000)
	for name, c := range map[string]struct{ script, want string }{
		"processes":  {`i=0; while [ $i -lt 200 ]; do sleep 30 & i=$((i+1)); done; echo all`, "Cannot fork"},
		"a core":     {`test $(ulimit -Hc) = 0 && echo none`, "none"},
		"memory":     {`perl -e '$x = "x" x 400_000_000; print length $x'`, ""},
		"a file":     {`head -c 5000000 /dev/zero >big; wc -c <big`, "1048576"},
		"time":       {`sh -c 'while :; do :; done'; echo ended with $?`, "ended with 137"},
		"open files": {`perl -e 'my @f; for (1..100) { open(my $f, "<", "/dev/null") or die "at $_: $!"; push @f, $f } print "all"'`, "Too many open files"},
	} {
		user++
		rules := strict(limits)
		rules[0].Privilege.UID = new(user) // its processes are counted by themselves
		if name == "processes" {
			rules[0].Resources.MaxProcesses = new(int64(40))
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := shell(t, rules, fence.Place{Scratch: scratch(t)}, c.script)
			if c.want == "" && (err == nil || strings.Contains(got, "all") || strings.Contains(got, "400000000")) || !strings.Contains(got, c.want) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

const dial = `perl -MIO::Socket::INET -e 'IO::Socket::INET->new(PeerAddr => $ARGV[0], Timeout => 20) or die "no: $!"; print "through"' `

// Programs reach whom the policy allows: by address and by name, over TCP and UDP, whether
// they connect or just send.
func TestWhomProgramsReach(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	tcp := strings.TrimPrefix(server.URL, "http://")
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { packets.Close() })
	udp := packets.LocalAddr().String()
	udpHost, udpPort, _ := net.SplitHostPort(udp)
	sendTo := fmt.Sprintf(`perl -MSocket -e 'socket(my $s, AF_INET, SOCK_DGRAM, 0) or die "socket: $!"; defined send($s, "hello", 0, pack_sockaddr_in(%s, inet_aton("%s"))) or die "no: $!"; print "through"'`, udpPort, udpHost)
	for name, c := range map[string]struct {
		rules   fence.Rules
		script  string
		through bool
	}{
		"an address on the list":            {strict(network("allowlist", "127.0.0.1")), dial + tcp, true},
		"an address and port on the list":   {strict(network("allowlist", tcp)), dial + tcp, true},
		"another port":                      {strict(network("allowlist", "127.0.0.1:1")), dial + tcp, false},
		"a name on the list":                {strict(network("allowlist", "localhost")), dial + strings.Replace(tcp, "127.0.0.1", "localhost", 1), true},
		"an address that is not":            {strict(network("allowlist", "192.0.2.1")), dial + tcp, false},
		"an empty list":                     {strict(network("allowlist")), dial + tcp, false},
		"no network":                        {strict(network("deny")), dial + tcp, false},
		"everybody":                         {strict(network("unrestricted")), dial + tcp, true},
		"everybody, but no metadata":        {strict(network("unrestricted")), dial + "169.254.169.254:80", false},
		"the list, but no metadata":         {strict(network("allowlist", "169.254.0.0/16")), dial + "169.254.169.254:80", false},
		"a datagram to whom is on the list": {strict(network("allowlist", udp)), sendTo, true},
		"a datagram to whom is not":         {strict(network("allowlist", "192.0.2.1")), sendTo, false},
		"packets without a protocol":        {strict(network("allowlist", "127.0.0.1")), `perl -MSocket -e 'socket(my $s, AF_INET, SOCK_RAW, 1) or die "no: $!"; print "through"'`, false},
		"a child of a child":                {strict(network("allowlist", "192.0.2.1")), "cat >x.sh <<'END'\n" + dial + tcp + "\nEND\nsh -c 'sh x.sh'", false},
		"who widens what another closes":    {append(strict(network("unrestricted")), fence.Policy{Enabled: true, Network: fence.Network{Mode: "deny"}}), dial + tcp, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := shell(t, c.rules, fence.Place{Scratch: scratch(t)}, c.script)
			if through := strings.Contains(got, "through"); through != c.through || through != (err == nil) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// A connection that does not come about ends with the script.
func TestConnectionsEndWithTheirScript(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	got, err := shell(t, strict(network("unrestricted")), fence.Place{Scratch: scratch(t)}, `(`+dial+listener.Addr().String()+`; sleep 600) & sleep 0.2; echo done`)
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) || !strings.Contains(got, "done") {
		t.Errorf("%q, %v", got, err)
	}
}

// Without rules, or with some that are off, nothing is between.
func TestNoRulesNoFence(t *testing.T) {
	t.Parallel()
	for _, rules := range []fence.Rules{nil, {{Enabled: false, Network: fence.Network{Mode: "deny"}}}} {
		if got, err := shell(t, rules, fence.Place{Scratch: scratch(t)}, `ls / >/dev/null && echo $0`); err != nil || got != "sh\n" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// Where the other user could not get to its files, a script is refused with what to do, or
// stays who it is, as the policy says.
func TestWhereTheOtherUserCannotPass(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("this user has no rights to give up")
	}
	closed := filepath.Join(scratch(t), "closed")
	place := fence.Place{Scratch: filepath.Join(closed, "scratch")}
	if err := errors.Join(os.Mkdir(closed, 0o700), os.Mkdir(place.Scratch, 0o700)); err != nil {
		t.Fatal(err)
	}
	_, err := shell(t, strict(), place, "id -u")
	refused, ok := errors.AsType[*fence.Unenforced](err)
	if os.Geteuid() == 0 && (!ok || !strings.Contains(refused.Error(), closed)) {
		t.Errorf("error = %v", err)
	}
	got, err := shell(t, strict(func(p *fence.Policy) { p.OnUnavailable = fence.UnavailableDegrade }), place, "id -u")
	if want := fmt.Sprintln(os.Geteuid()); got != want || err != nil {
		t.Errorf("%q, want %q (%v)", got, want, err)
	}
}

// What held a script is told as it was, and not as the policy would have it.
func TestWhatHeldIsTold(t *testing.T) {
	t.Parallel()
	dir := scratch(t)
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	place := fence.Place{Scratch: scratch(t), Closed: []string{token}}
	who := "as who the satellite is"
	if os.Geteuid() == 0 {
		who = "as user 65534"
	}
	for name, c := range map[string]struct {
		rules fence.Rules
		want  string
	}{
		"no policy":  {nil, "nothing: no sandbox policy is enabled"},
		"the others": {strict(), "files closed; no network; " + who + "; "},
		"a list":     {strict(func(p *fence.Policy) { p.Network.Allow = []string{"shop.example"} }), "files closed; network as the policy allows; " + who + "; "},
	} {
		if _, by, err := held(t, c.rules, place, "true"); err != nil || !strings.HasPrefix(by, c.want) {
			t.Errorf("%s: %q, want %q (%v)", name, by, c.want, err)
		}
	}
	open := strict(func(p *fence.Policy) {
		p.Filesystem.Mode, p.Network, p.Privilege.Mode = fence.FilesOff, fence.Network{Mode: fence.NetworkUnrestricted}, fence.PrivilegeInherit
	})
	want := "files open, but for the satellite's own; network open; as who the satellite is; in namespaces"
	printed, by, _ := held(t, open, place, "cat "+token)
	if printed == "secret" {
		want = "files open, the satellite's own among them; network open; as who the satellite is; "
	}
	if !strings.HasPrefix(by, want) {
		t.Errorf("%q, want %q", by, want)
	}
	closed := filepath.Join(dir, "closed")
	place.Scratch = filepath.Join(closed, "scratch")
	if err := errors.Join(os.Mkdir(closed, 0o700), os.Mkdir(place.Scratch, 0o700)); err != nil {
		t.Fatal(err)
	}
	_, by, err := held(t, strict(func(p *fence.Policy) { p.OnUnavailable = fence.UnavailableDegrade }), place, "true")
	if want := "as who the satellite is, because others cannot get through " + closed; err != nil || os.Geteuid() == 0 && !strings.Contains(by, want) {
		t.Errorf("%q, want %q (%v)", by, want, err)
	}
}

// What a script costs that does nothing, fenced in: CPU of the launcher and of the script.
func BenchmarkRun(b *testing.B) {
	dir := b.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)); err != nil { //nolint:gosec // another user passes
		b.Fatal(err)
	}
	used := func() time.Duration {
		var sum time.Duration
		for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
			var u unix.Rusage
			if err := unix.Getrusage(who, &u); err != nil {
				b.Fatal(err)
			}
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
		return sum
	}
	inherit := func(p *fence.Policy) { p.Privilege.Mode = fence.PrivilegeInherit }
	for name, rules := range map[string]fence.Rules{
		"closed": strict(), "watched": strict(network("unrestricted")), "who it is": strict(inherit),
		"little": strict(func(p *fence.Policy) { p.Filesystem.Mode = fence.FilesScratch }),
	} {
		b.Run(name, func(b *testing.B) {
			before := used()
			for b.Loop() {
				command := exec.Command("sh", "-c", ":")
				if _, err := rules.Run(b.Context(), command, fence.Place{Scratch: dir}, func(string) {}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(used()-before)/float64(b.N)/1e6, "cpu-ms/op")
		})
	}
}
