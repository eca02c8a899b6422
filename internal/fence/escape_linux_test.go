package fence_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/perigee-monitoring/perigee/internal/fence"
)

// call is a system call in Perl, which says "through" when the system made it. Perl hands
// texts over as pointers.
func call(number int, args string) string {
	return fmt.Sprintf(`syscall(%d, %s) == -1 and die "no: $!"; print "through"`, number, args)
}

// attempt is something that a script tries: in Perl, and what is not refused prints
// "through".
type attempt struct {
	perl string
	// change makes the policy under which it is tried, beside strict.
	change func(*fence.Policy)
	// unshown: without a fence the system refuses it here, too, for another reason.
	unshown string
}

// try tries it without a fence, where it must succeed, and behind one.
func (a attempt) try(t *testing.T) {
	t.Helper()
	script := func(tries string) string {
		return "cat >attempt.pl <<'END'\n" + strings.Replace(a.perl, "TRIES", tries, 1) + "\nEND\nperl attempt.pl"
	}
	if got, err := shell(t, nil, fence.Place{Scratch: scratch(t)}, script("2_000_000")); a.unshown == "" && !strings.Contains(got, "through") {
		t.Fatalf("without a fence it fails as well, so that nothing is shown: %q, %v", got, err)
	}
	rules := strict(func(p *fence.Policy) {
		if a.change != nil {
			a.change(p)
		}
	})
	got, err := shell(t, rules, fence.Place{Scratch: scratch(t)}, script("2_000"))
	if strings.Contains(got, "through") || !strings.Contains(got, "no: ") {
		t.Errorf("it went through, or was not tried: %q, %v", got, err)
	}
}

// Calls by which a process gets at others, at the machine or at memory that nobody counts
// are refused by themselves, with whatever else the policy leaves open.
func TestCallsThatAreRefused(t *testing.T) {
	t.Parallel()
	open := func(p *fence.Policy) {
		p.Filesystem.Mode, p.Network = fence.FilesOff, fence.Network{Mode: fence.NetworkUnrestricted}
		p.Privilege.Mode = fence.PrivilegeInherit
	}
	// Of others only a child can be seen behind the fence.
	child := `my $pid = fork; if (!$pid) { sleep 60; exit } ; END { kill 9, $pid if $pid } `
	for name, a := range map[string]attempt{
		"io_uring_setup":                 {perl: `my $p = "\0" x 120; ` + call(unix.SYS_IO_URING_SETUP, `8, $p`)},
		"ptrace":                         {perl: child + call(unix.SYS_PTRACE, `0x4206, $pid, 0, 0`)}, // PTRACE_SEIZE
		"process_vm_readv":               {perl: child + `my $b = "\0" x 8; my $v = pack "PQ", $b, 8; ` + call(unix.SYS_PROCESS_VM_READV, `$pid, $v, 1, $v, 1, 0`)},
		"process_vm_writev":              {perl: child + `my $b = "\0" x 8; my $v = pack "PQ", $b, 8; ` + call(unix.SYS_PROCESS_VM_WRITEV, `$pid, $v, 1, $v, 1, 0`)},
		"kcmp":                           {perl: child + call(unix.SYS_KCMP, `$$ + 0, $pid, 1, 0, 0`)},
		"pidfd_getfd":                    {perl: child + `my $f = syscall(` + fmt.Sprint(unix.SYS_PIDFD_OPEN) + `, $pid, 0); ` + call(unix.SYS_PIDFD_GETFD, `$f, 0, 0`)},
		"keyctl":                         {perl: call(unix.SYS_KEYCTL, `0, -3, 1`)}, // the keys of the session
		"add_key":                        {perl: `my ($t, $d, $p) = ("user", "x", "y"); ` + call(unix.SYS_ADD_KEY, `$t, $d, $p, 1, -2`)},
		"userfaultfd":                    {perl: call(unix.SYS_USERFAULTFD, `1`)},
		"perf_event_open":                {perl: `my $a = pack "LLQx112", 1, 128, 0; ` + call(unix.SYS_PERF_EVENT_OPEN, `$a, 0, -1, -1, 0`), unshown: user("perf")},
		"bpf":                            {perl: `my $a = pack "LLLLx96", 2, 4, 4, 1; ` + call(unix.SYS_BPF, `0, $a, 112`), unshown: user("bpf")},
		"unshare":                        {perl: call(unix.SYS_UNSHARE, fmt.Sprint(unix.CLONE_NEWUSER)), unshown: os.Getenv(withheld)},
		"name_to_handle_at":              {perl: `my $p = "/"; my $h = pack "LLx128", 128, 0; my $m = "\0" x 8; ` + call(unix.SYS_NAME_TO_HANDLE_AT, `-100, $p, $h, $m, 0`)},
		"personality":                    {perl: call(unix.SYS_PERSONALITY, `0xffffffff`)},
		"fanotify_init":                  {perl: call(unix.SYS_FANOTIFY_INIT, `0x200, 0`)},
		"System V shared memory":         {perl: call(unix.SYS_SHMGET, `0, 4096, 01600`)},
		"System V queues":                {perl: call(unix.SYS_MSGGET, `0, 01600`)},
		"memfd_create":                   {perl: `my $n = "x"; ` + call(unix.SYS_MEMFD_CREATE, `$n, 0`)},
		"limits of another":              {perl: child + `my $l = pack "QQ", 5, 5; ` + call(unix.SYS_PRLIMIT64, `$pid, 0, $l, 0`)},
		"priority of another":            {perl: child + call(unix.SYS_SETPRIORITY, `0, $pid, 19`)},
		"priority of a user":             {perl: call(unix.SYS_SETPRIORITY, `2, 0, 19`), unshown: user("a processor for all of its own")},
		"priority of input and output":   {perl: child + call(unix.SYS_IOPRIO_SET, `1, $pid, 3 << 13`)},
		"scheduling of another":          {perl: child + `my $p = pack "l", 0; ` + call(unix.SYS_SCHED_SETSCHEDULER, `$pid, 5, $p`)},
		"scheduling of another, anew":    {perl: child + `my $a = pack "LLQlLQQQ", 48, 5, 0, 0, 0, 0, 0, 0; ` + call(unix.SYS_SCHED_SETATTR, `$pid, $a, 0`)},
		"processors of another":          {perl: child + `my $m = pack "Q16", 1; ` + call(unix.SYS_SCHED_SETAFFINITY, `$pid, 128, $m`)},
		"hiding from who looks":          {perl: call(unix.SYS_PRCTL, `4, 0, 0, 0, 0`)}, // PR_SET_DUMPABLE
		"hiding, by a number that wraps": {perl: call(unix.SYS_PRCTL, `(1 << 32) + 4, 0, 0, 0, 0`)},
		"memory of another, by advice":   {perl: child + `my $f = syscall(` + fmt.Sprint(unix.SYS_PIDFD_OPEN) + `, $pid, 0); my $b = "\0" x 8192; my $v = pack "QQ", 0, 0; ` + call(unix.SYS_PROCESS_MADVISE, `$f, $v, 0, 20, 0`), unshown: user("advice")},
		"pages of another":               {perl: child + call(unix.SYS_MOVE_PAGES, `$pid, 0, 0, 0, 0, 0`)},
	} {
		a.change = open
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a.try(t)
		})
	}
}

// user says why something cannot be shown: it is for root.
func user(what string) string {
	if os.Geteuid() == 0 {
		return ""
	}
	return what + " is for root"
}

// Whom nobody has listed is not reached, in whatever clothes.
func TestEvasions(t *testing.T) {
	t.Parallel()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { packets.Close() })
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tcp.Close() })
	outside := scratch(t)
	if err := os.Chmod(outside, 0o755); err != nil { //nolint:gosec // others pass
		t.Fatal(err)
	}
	named, err := net.Listen("unix", filepath.Join(outside, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { named.Close() })
	datagrams, err := net.ListenPacket("unixgram", filepath.Join(outside, "datagrams"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { datagrams.Close() })
	abstract, err := net.Listen("unix", "@perigee-"+filepath.Base(outside))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { abstract.Close() })
	for _, file := range []string{"socket", "datagrams"} {
		if err := os.Chmod(filepath.Join(outside, file), 0o777); err != nil { //nolint:gosec // everybody may connect
			t.Fatal(err)
		}
	}
	port := func(a net.Addr) string { _, p, _ := net.SplitHostPort(a.String()); return p }
	udpPort, tcpPort := port(packets.LocalAddr()), port(tcp.Addr())
	listed := network("allowlist", "192.0.2.1")
	all := func(p *fence.Policy) { p.Network = fence.Network{Mode: fence.NetworkUnrestricted} }
	begin := `use Socket; use POSIX (); my ($u, $t) = (pack_sockaddr_in(` + udpPort + `, inet_aton("127.0.0.1")), pack_sockaddr_in(` + tcpPort + `, inet_aton("127.0.0.1"))); `
	done := ` or die "no: $!"; print "through"`
	unixTo := func(kind int, how, path string) string {
		return begin + fmt.Sprintf(`socket(my $s, 1, %d, 0) or die "no: $!"; %s`, kind, fmt.Sprintf(how, `pack_sockaddr_un("`+path+`")`)) + done
	}
	for name, a := range map[string]attempt{
		// The kernel takes an address of no family for one of IPv4.
		"a datagram to an address of no family": {perl: begin + `socket(my $s, 2, 2, 0); substr($u, 0, 2) = pack "S", 0; send($s, "x", 0, $u)` + done, change: listed},
		// The number of a stream, which becomes that of a datagram socket while it is looked at.
		"a socket that is exchanged":          {perl: begin + exchanged, change: listed},
		"a socket that is exchanged, several": {perl: begin + strings.Replace(exchanged, fmt.Sprintf("syscall(%d, $n, $m, 0x4000)", unix.SYS_SENDMSG), fmt.Sprintf("5 * syscall(%d, $n, $ms, 1, 0x4000)", unix.SYS_SENDMMSG), 1), change: listed},
		"a datagram by IPv6":                  {perl: begin + `socket(my $s, 10, 2, 0); send($s, "x", 0, pack_sockaddr_in6(` + udpPort + `, Socket::inet_pton(10, "::ffff:127.0.0.1")))` + done, change: listed},
		"a stream by IPv6":                    {perl: begin + `socket(my $s, 10, 1, 0); connect($s, pack_sockaddr_in6(` + tcpPort + `, Socket::inet_pton(10, "::ffff:127.0.0.1")))` + done, change: listed},
		"data with the first packet":          {perl: begin + `socket(my $s, 2, 1, 0); defined send($s, "x", 0x20000000, $t)` + done, change: listed},
		// Its partner names further addresses, to which the kernel connects.
		"a stream of several paths":          {perl: begin + `socket(my $s, 2, 1, 262)` + done, change: listed},
		"a protocol that is seldom":          {perl: begin + `socket(my $s, 2, 2, 136)` + done, change: listed},                                      // UDP-Lite
		"the kernel's own talk":              {perl: begin + `socket(my $s, 16, 3, 15)` + done, change: listed},                                      // NETLINK_KOBJECT_UEVENT
		"whose sockets there are":            {perl: begin + `socket(my $s, 16, 3, 4)` + done, change: listed},                                       // NETLINK_SOCK_DIAG
		"the kernel's ciphers":               {perl: begin + `socket(my $s, 38, 5, 0)` + done, change: listed, unshown: "not every kernel has them"}, // AF_ALG
		"hosts of virtual machines":          {perl: begin + `socket(my $s, 40, 1, 0)` + done, change: listed},                                       // AF_VSOCK
		"a socket of the machine":            {perl: unixTo(1, "connect($s, %s)", outside+"/socket"), change: listed},
		"a socket of the machine, all open":  {perl: unixTo(1, "connect($s, %s)", outside+"/socket"), change: all},
		"datagrams of the machine":           {perl: unixTo(2, `send($s, "x", 0, %s)`, outside+"/datagrams"), change: listed},
		"datagrams of the machine, all open": {perl: unixTo(2, `send($s, "x", 0, %s)`, outside+"/datagrams"), change: all},
		"a socket without a file":            {perl: unixTo(1, "connect($s, %s)", `\0perigee-`+filepath.Base(outside)), change: listed},
		"a socket without a file, all open":  {perl: unixTo(1, "connect($s, %s)", `\0perigee-`+filepath.Base(outside)), change: all},
		"none at all":                        {perl: begin + `socket(my $s, 1, 1, 0)` + done},
		"metadata by a mapped address":       {perl: begin + `socket(my $s, 10, 2, 0); connect($s, pack_sockaddr_in6(80, Socket::inet_pton(10, "::ffff:169.254.169.254")))` + done, change: network("unrestricted")},
		"metadata by a translated address":   {perl: begin + `socket(my $s, 10, 2, 0); connect($s, pack_sockaddr_in6(80, Socket::inet_pton(10, "64:ff9b::a9fe:a9fe")))` + done, change: network("unrestricted"), unshown: "there is no way to it"},
		"metadata by IPv6":                   {perl: begin + `socket(my $s, 10, 2, 0); connect($s, pack_sockaddr_in6(80, Socket::inet_pton(10, "fd00:ec2::254")))` + done, change: network("unrestricted"), unshown: "there is no way to it"},
		"metadata by a number":               {perl: begin + `socket(my $s, 2, 2, 0); connect($s, pack_sockaddr_in(80, inet_aton("2852039166")))` + done, change: network("unrestricted")},
		"metadata in octal":                  {perl: begin + `socket(my $s, 2, 2, 0); connect($s, pack_sockaddr_in(80, inet_aton("0251.0376.0251.0376")))` + done, change: network("unrestricted")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a.try(t)
		})
	}
}

// exchanged sends on a number behind which a stream and a datagram socket take turns.
var exchanged = fmt.Sprintf(`
socket(my $a, 2, 1, 0); socket(my $b, 2, 2, 0); my ($stream, $datagram, $n) = (fileno $a, fileno $b, 77);
POSIX::dup2($stream, $n);
my $pid = syscall(%d, %d, 0, 0, 0, 0); # it shares the files
if (!$pid) { while (getppid != 1) { POSIX::dup2($datagram, $n); POSIX::dup2($stream, $n) } exit }
my $data = "raced"; my $v = pack "PQ", $data, 5; my $m = pack "PLx4PQQQlx4", $u, 16, $v, 1, 0, 0, 0; my $ms = $m . pack("Lx4", 0); my $ok = 0;
for (1..TRIES) { syscall(%d); $ok++, last if syscall(%d, $n, $m, 0x4000) == 5 }
kill 9, $pid; waitpid $pid, 0;
$ok or die "no: never"; print "through"`, unix.SYS_CLONE, unix.CLONE_FILES|int(unix.SIGCHLD), unix.SYS_SCHED_YIELD, unix.SYS_SENDMSG)

// What the watcher sends for a program goes out once, whole and in order.
func TestStreamsAreWhole(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	received := make(chan []byte, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			close(received)
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		var all bytes.Buffer
		_, _ = all.ReadFrom(conn) // what is missing is found out below
		received <- all.Bytes()
	}()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	// In two pieces a message, among signals that interrupt.
	script := fmt.Sprintf(`perl -MSocket -MTime::HiRes=ualarm -e '
socket(my $s, 2, 1, 0) or die; connect($s, pack_sockaddr_in(%s, inet_aton("127.0.0.1"))) or die "no: $!";
$SIG{ALRM} = sub {}; ualarm 500, 500;
my $all = join "", map { sprintf "%%07d\n", $_ } 1..100_000; my $at = 0;
while ($at < length $all) {
	my ($one, $two) = (substr($all, $at, 70_000), substr($all, $at + 70_000, 10_000));
	my $v = pack "PQPQ", $one, length $one, $two, length $two; my $m = pack "QQPQQQQ", 0, 0, $v, length $two ? 2 : 1, 0, 0, 0;
	my $n = syscall(%d, fileno $s, $m, 0);
	if ($n < 0) { next if $!{EINTR}; die "no: $!" }
	$at += $n;
}
ualarm 0; print "sent"'`, port, unix.SYS_SENDMSG)
	got, err := shell(t, strict(network("allowlist", "127.0.0.1")), fence.Place{Scratch: scratch(t)}, script)
	if got != "sent" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	text := string(<-received)
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if n, err := strconv.Atoi(line); err != nil || n != i+1 {
			t.Fatalf("line %d is %q", i+1, line)
		}
	}
	if len(text) != 800_000 {
		t.Errorf("%d bytes came", len(text))
	}
}

// What not everybody may read of the system's configuration is closed to scripts that are
// the satellite's user, and what the satellite alone is to know, wherever it lies. The rest
// can be read as before.
func TestWhatIsForSome(t *testing.T) {
	t.Parallel()
	inherit := strict(func(p *fence.Policy) { p.Privilege.Mode = fence.PrivilegeInherit })
	tree := scratch(t)
	for name, text := range map[string]string{"data/spool/token": "secret", "data/other": "secret", "beside/plain": "plain"} {
		path := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // others pass
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // others read it
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(tree, "data"), filepath.Join(tree, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(tree, 0o755); err != nil { //nolint:gosec // others pass
		t.Fatal(err)
	}
	token := tree + "/data/spool/token"
	if os.Geteuid() == 0 { // as an operator puts it there
		token = filepath.Join(inEtc(t), "token")
		if err := os.WriteFile(token, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	place := fence.Place{Scratch: scratch(t), ReadOnly: []string{tree}, Closed: []string{filepath.Join(tree, "link")}}
	for _, read := range []string{"cat " + token, "cat /etc/shadow", "cat " + tree + "/data/other", "cat " + tree + "/link/other"} {
		if got, err := shell(t, nil, place, read); err != nil && (os.Geteuid() == 0 || !strings.Contains(read, "shadow")) {
			t.Fatalf("%s: without a fence it fails as well, so that nothing is shown: %q, %v", read, got, err)
		}
		if got, err := shell(t, inherit, place, read); err == nil || !strings.Contains(got, "Permission denied") {
			t.Errorf("%s: %q, %v", read, got, err)
		}
	}
	for _, read := range []string{"cat /etc/passwd", "ls /etc", "ls /etc/perl", "cat /etc/resolv.conf", "cat " + tree + "/beside/plain", "ls " + tree} {
		if got, err := shell(t, inherit, place, read); err != nil {
			t.Errorf("%s: %q, %v", read, got, err)
		}
	}
}

// What a script could read of the system's configuration as who it becomes is closed too, if
// it is not for all; and one that could not become that user is who the satellite is.
func TestWhatIsForWhomScriptsBecome(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("this user becomes nobody else")
		return
	}
	const user, group, another = 61_001, 61_002, 61_003
	dir := inEtc(t)
	for name, c := range map[string]struct {
		uid, gid int
		mode     os.FileMode
	}{"its": {user, another, 0o400}, "group": {another, group, 0o440}, "below": {user, another, 0o700}, "listed": {another, another, 0o600}, "open": {another, another, 0o644}} {
		path := filepath.Join(dir, name)
		file := path
		if name == "below" {
			file = filepath.Join(path, "key")
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(os.WriteFile(file, []byte("text"), 0o644), os.Chmod(path, c.mode), os.Chown(path, c.uid, c.gid)); err != nil { //nolint:gosec // others read it
			t.Fatal(err)
		}
	}
	// An access list that lets the user read: version, the owner, the user, the group, the mask, others.
	list := []byte{2, 0, 0, 0}
	for _, entry := range []struct {
		tag, rights uint16
		id          uint32
	}{{1, 6, 1<<32 - 1}, {2, 4, user}, {4, 0, 1<<32 - 1}, {16, 4, 1<<32 - 1}, {32, 0, 1<<32 - 1}} {
		list = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(list, entry.tag), entry.rights), entry.id)
	}
	if err := unix.Setxattr(filepath.Join(dir, "listed"), "system.posix_acl_access", list, 0); err != nil {
		t.Fatal(err)
	}
	become := func(p *fence.Policy) { p.Privilege.UID, p.Privilege.GID = new(int64(user)), new(int64(group)) }
	open := func(p *fence.Policy) { become(p); p.Filesystem.Mode = fence.FilesOff }
	for _, name := range []string{"its", "group", "below/key", "listed"} {
		read := "cat " + dir + "/" + name
		if got, err := shell(t, strict(open), fence.Place{Scratch: scratch(t)}, read); got != "text" || err != nil {
			t.Errorf("%s: with files open it fails as well, so that nothing is shown: %q, %v", name, got, err)
		}
		if got, err := shell(t, strict(become), fence.Place{Scratch: scratch(t)}, read); err == nil || !strings.Contains(got, "Permission denied") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		closed := filepath.Join(scratch(t), "closed")
		place := fence.Place{Scratch: filepath.Join(closed, "scratch")}
		if err := errors.Join(os.Mkdir(closed, 0o700), os.Mkdir(place.Scratch, 0o700)); err != nil {
			t.Fatal(err)
		}
		stays := func(p *fence.Policy) { p.OnUnavailable = fence.UnavailableDegrade }
		if got, err := shell(t, strict(stays), place, read+"; cat /etc/shadow"); err == nil || strings.Contains(got, "text") || strings.Contains(got, "root:") {
			t.Errorf("%s, as who the satellite is: %q, %v", name, got, err)
		}
	}
	if got, err := shell(t, strict(become), fence.Place{Scratch: scratch(t)}, "cat "+dir+"/open"); got != "text" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// What a script writes is bounded all in all, whether it has a name, has lost it, or lies
// where nobody looks; and memory is, of processes that nobody may look into.
func TestAllInAll(t *testing.T) {
	t.Parallel()
	limits := func(p *fence.Policy) {
		p.Resources.MaxFileSizeBytes, p.Filesystem.ScratchBytes = new(int64(8<<20)), new(int64(40<<20))
		p.Resources.MemoryBytes = new(int64(64 << 20))
	}
	const forEver = "; echo all; exec sleep 600"
	for name, c := range map[string]struct{ script, exceeded string }{
		"many files":              {"for i in 1 2 3 4 5 6 7 8 9; do head -c 6M /dev/zero >f$i; done" + forEver, "it took more than 40 MiB of disk"},
		"many names":              {`perl -e 'for (1..20_000) { open my $f, ">", "n$_" }'` + forEver, "it took more than 40 MiB of disk"},
		"files deep down":         {"mkdir -p a/b/c && cd a/b/c && for i in 1 2 3 4 5 6 7 8 9; do head -c 6M /dev/zero >f$i; done" + forEver, "it took more than 40 MiB of disk"},
		"files without a name":    {`perl -e 'my $x = "x" x (6<<20); my @k; for (1..9) { open my $f, ">", "f" or die; syswrite $f, $x or die; unlink "f"; push @k, $f } print "all"; sleep 600'`, "it took more than 40 MiB of disk"},
		"directories too deep":    {`perl -e 'for (1..200) { mkdir "d"; chdir "d" }'` + forEver, "it took more than 40 MiB of disk"},
		"what it has closed":      {`mkdir d && chmod 0 d` + forEver, map[bool]string{true: "", false: "it took more than 40 MiB of disk"}[os.Geteuid() == 0]},
		"programs it cannot read": {`cp $(command -v perl) p && chmod 111 p && for i in 1 2 3 4 5 6 7 8; do ./p -e '$x = "x" x 20_000_000; sleep 600' & done; wait`, "it took more than 64 MiB of memory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules := strict(limits)
			if c.exceeded == "" { // root looks into everything
				return
			}
			got, err := shell(t, rules, fence.Place{Scratch: scratch(t)}, c.script)
			exceeded, ok := errors.AsType[*fence.Exceeded](err)
			if !ok || !strings.HasPrefix(exceeded.Error(), c.exceeded) {
				t.Errorf("%q, %v; want %s", got, err, c.exceeded)
			}
		})
	}
	t.Run("within it", func(t *testing.T) {
		t.Parallel()
		if got, err := shell(t, strict(limits), fence.Place{Scratch: scratch(t)}, "for i in 1 2 3 4; do head -c 6M /dev/zero >f$i; done; sleep 0.3; echo all"); got != "all\n" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// A script has no terminal: who has the satellite's can type what whoever sits there would.
func TestNoTerminal(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv(atTerminal); dir != "" {
		for _, rules := range []fence.Rules{nil, strict(func(p *fence.Policy) { p.Filesystem.Mode, p.Privilege.Mode = fence.FilesOff, fence.PrivilegeInherit })} {
			got, err := shell(t, rules, fence.Place{Scratch: dir}, `perl -e 'open my $t, "+<", "/dev/tty" or die "no: $!"; print "has a terminal"; for (split //, "echo typed\n") { ioctl $t, 0x5412, $_ or die "no: $!" } print ", through"' 2>&1`)
			fmt.Printf("[%v: %s, %v]\n", rules == nil, got, err)
		}
		return
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command("script", "-qec", program+" -test.run ^TestNoTerminal$ -test.v", "/dev/null")
	command.Env = append(os.Environ(), atTerminal+"="+scratch(t), "SHELL=/bin/sh")
	text, err := command.CombinedOutput()
	if err != nil || !strings.Contains(string(text), "[true: has a terminal") {
		t.Fatalf("there was no terminal to type at: %v\n%s", err, text)
	}
	if !strings.Contains(string(text), "[false: no: ") {
		t.Errorf("%s", text)
	}
}

// atTerminal tells this program that it has a terminal, and a directory.
const atTerminal = "PERIGEE_TEST_TERMINAL"

// inEtc is a directory in /etc that others pass, until the test ends.
func inEtc(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/etc", "perigee-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // others pass
		t.Fatal(err)
	}
	return dir
}
