package fence

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A watcher answers for the system calls by which a program reaches others over the
// network. What a call points to may change while it is looked at, so a call that is
// allowed is not let through: the watcher makes it itself, on the same socket, with what
// it has looked at (seccomp_unotify(2)).
type watcher struct {
	descriptor int
	rules      Rules

	calls sync.WaitGroup
	mu    sync.Mutex
	open  map[int]bool // our copies of sockets on which a call goes on
	ended bool

	names names
}

const (
	// handoverTime bounds how long a launcher may take until it offers its descriptor.
	handoverTime = 30 * time.Second
	// callsAtOnce bounds the calls that go on for one program; further ones wait.
	callsAtOnce = 64
	// Bounds of what is read of a call.
	maxAddress = 128
	maxData    = 64 << 10
	maxParts   = 64
)

// notification is struct seccomp_notif, response struct seccomp_notif_resp.
type notification struct {
	ID    uint64
	PID   uint32
	Flags uint32
	Data  struct {
		Nr   int32
		Arch uint32
		IP   uint64
		Args [6]uint64
	}
}

type response struct {
	ID    uint64
	Val   int64
	Error int32
	Flags uint32
}

// idValid is SECCOMP_IOCTL_NOTIF_ID_VALID.
const idValid = 0x40082102

// takeOver takes the descriptor that a launcher offers.
func takeOver(from *os.File, pid int) (*watcher, error) {
	if err := from.SetDeadline(time.Now().Add(handoverTime)); err != nil {
		return nil, err
	}
	var number [8]byte
	if _, err := io.ReadFull(from, number[:]); err != nil {
		return nil, fmt.Errorf("the launcher ended: %w", err)
	}
	theirs, err := strconv.Atoi(string(number[:]))
	if err != nil {
		return nil, err
	}
	ours, err := copyOf(pid, theirs)
	if err != nil {
		return nil, err
	}
	if _, err := from.Write([]byte{1}); err != nil {
		unix.Close(ours)
		return nil, err
	}
	return &watcher{descriptor: ours, open: map[int]bool{}}, nil
}

// copyOf is a descriptor of another process as one of ours.
func copyOf(pid, descriptor int) (int, error) {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(process)
	return unix.PidfdGetfd(process, descriptor, 0)
}

// run answers until ctx ends or nobody is left who could ask.
func (w *watcher) run(ctx context.Context) {
	defer unix.Close(w.descriptor)
	defer w.calls.Wait()
	defer w.end()
	places := make(chan struct{}, callsAtOnce)
	for ctx.Err() == nil {
		ready := []unix.PollFd{{Fd: int32(w.descriptor), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, 100) // ms; then it is looked whether to go on
		if err != nil && !errors.Is(err, unix.EINTR) || n > 0 && ready[0].Revents&unix.POLLIN == 0 {
			return
		}
		if n <= 0 {
			continue
		}
		var call notification
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(w.descriptor), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&call))); errno != 0 { //nolint:gosec // how it is called
			continue // who asked is gone
		}
		places <- struct{}{}
		w.calls.Go(func() {
			defer func() { <-places }()
			w.answer(ctx, &call)
		})
	}
}

// end lets calls that wait for somebody far away end.
func (w *watcher) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	for socket := range w.open {
		_ = unix.Shutdown(socket, unix.SHUT_RDWR) // it may not be connected
	}
}

func (w *watcher) answer(ctx context.Context, call *notification) {
	r := response{ID: call.ID}
	value, err := w.do(ctx, call)
	errno := unix.Errno(0)
	switch {
	case errors.Is(err, errContinue):
		r.Flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
	case errors.As(err, &errno):
		r.Error = -int32(errno)
	case err != nil:
		r.Error = -int32(unix.EACCES)
	default:
		r.Val = value
	}
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(w.descriptor), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&r))) //nolint:gosec,errcheck // who asked may be gone
}

// errContinue lets the kernel make a call whose arguments point to nothing.
var errContinue = errors.New("continue")

func (w *watcher) do(ctx context.Context, call *notification) (int64, error) {
	args := call.Data.Args
	switch call.Data.Nr {
	case unix.SYS_SOCKET:
		return 0, socketAllowed(int(int32(args[0])), int(int32(args[1])))
	case unix.SYS_CONNECT:
		return w.connect(ctx, call, args[1], args[2])
	case unix.SYS_SENDTO:
		if args[3]&unix.MSG_FASTOPEN != 0 {
			return 0, unix.EACCES
		}
		if args[4] == 0 { // to whom it is connected
			return 0, errContinue
		}
		return w.send(ctx, call, args[3], parts{name: args[4], nameLen: args[5], data: []part{{args[1], args[2]}}})
	case unix.SYS_SENDMSG:
		return w.sendMessage(ctx, call, args[1], args[2])
	case unix.SYS_SENDMMSG:
		return w.sendMessages(ctx, call)
	}
	return 0, unix.EACCES
}

// socketAllowed: streams and datagrams of the internet, sockets within the machine (which
// connect to nobody here), and what name resolution asks the kernel.
func socketAllowed(domain, kind int) error {
	kind &= 0xf
	switch {
	case domain == unix.AF_INET || domain == unix.AF_INET6:
		if kind == unix.SOCK_STREAM || kind == unix.SOCK_DGRAM {
			return errContinue
		}
	case domain == unix.AF_UNIX, domain == unix.AF_NETLINK:
		return errContinue
	}
	return unix.EACCES
}

func (w *watcher) connect(ctx context.Context, call *notification, name, nameLen uint64) (int64, error) {
	raw, to, err := w.address(ctx, call, name, nameLen)
	if err != nil {
		return 0, err
	}
	if to.Port() == 0 && binary.NativeEndian.Uint16(raw) != unix.AF_UNSPEC && !to.IsValid() {
		return 0, unix.EACCES
	}
	return 0, w.on(call, func(socket int) error {
		_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(socket), uintptr(unsafe.Pointer(&raw[0])), uintptr(len(raw))) //nolint:gosec // how it is called
		if errno != 0 {
			return errno
		}
		return nil
	})
}

// address reads whom a call is about, and says whether it may be reached.
func (w *watcher) address(ctx context.Context, call *notification, name, nameLen uint64) (raw []byte, to netip.AddrPort, err error) {
	if nameLen < 2 || nameLen > maxAddress {
		return nil, to, unix.EINVAL
	}
	if raw, err = w.read(call, name, int(nameLen)); err != nil {
		return nil, to, err
	}
	switch binary.NativeEndian.Uint16(raw) {
	case unix.AF_UNSPEC: // it lets go of whom it was connected to
		return raw, to, nil
	case unix.AF_INET:
		if len(raw) < unix.SizeofSockaddrInet4 {
			return nil, to, unix.EINVAL
		}
		to = netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw[4:8])), binary.BigEndian.Uint16(raw[2:4]))
	case unix.AF_INET6:
		if len(raw) < unix.SizeofSockaddrInet6-4 {
			return nil, to, unix.EINVAL
		}
		to = netip.AddrPortFrom(netip.AddrFrom16([16]byte(raw[8:24])), binary.BigEndian.Uint16(raw[2:4]))
	default: // another process of this machine
		return nil, to, unix.EACCES
	}
	if !w.admits(ctx, to) {
		return nil, to, unix.EACCES
	}
	return raw, to, nil
}

// admits asks the rules about an address, by every name of the list that it has.
func (w *watcher) admits(ctx context.Context, to netip.AddrPort) bool {
	if to.Port() == 53 && w.names.nameserver(to.Addr()) {
		return true
	}
	if w.rules.Admit("", to) == nil {
		return true
	}
	for _, host := range w.names.of(ctx, w.rules, to.Addr()) {
		if w.rules.Admit(host, to) == nil {
			return true
		}
	}
	return false
}

// part is a piece of memory of the program.
type part struct{ at, len uint64 }

// parts are a message as a call has it.
type parts struct {
	name, nameLen uint64
	data          []part
}

func (w *watcher) sendMessage(ctx context.Context, call *notification, header, flags uint64) (int64, error) {
	if flags&unix.MSG_FASTOPEN != 0 {
		return 0, unix.EACCES
	}
	if stream, err := w.stream(call); err != nil || stream {
		return 0, cmp.Or(err, errContinue) // a stream goes to whom it is connected to
	}
	m, err := w.message(call, header)
	if err != nil {
		return 0, err
	}
	return w.send(ctx, call, flags, m)
}

// messageHeader is struct msghdr, of 64 bits; struct mmsghdr adds a length to it.
const (
	messageHeader  = 56
	messagesHeader = 64
)

func (w *watcher) sendMessages(ctx context.Context, call *notification) (int64, error) {
	at, count, flags := call.Data.Args[1], min(call.Data.Args[2], maxParts), call.Data.Args[3]
	if flags&unix.MSG_FASTOPEN != 0 {
		return 0, unix.EACCES
	}
	if stream, err := w.stream(call); err != nil || stream {
		return 0, cmp.Or(err, errContinue)
	}
	for i := range count {
		m, err := w.message(call, at+i*messagesHeader)
		var sent int64
		if err == nil {
			sent, err = w.send(ctx, call, flags, m)
		}
		if err == nil {
			err = w.write(call, at+i*messagesHeader+messageHeader, binary.NativeEndian.AppendUint32(nil, uint32(sent)))
		}
		if err != nil {
			if i > 0 {
				return int64(i), nil
			}
			return 0, err
		}
	}
	return int64(count), nil
}

func (w *watcher) message(call *notification, at uint64) (m parts, err error) {
	header, err := w.read(call, at, messageHeader)
	if err != nil {
		return m, err
	}
	word := func(i int) uint64 { return binary.NativeEndian.Uint64(header[i:]) }
	m.name, m.nameLen = word(0), uint64(binary.NativeEndian.Uint32(header[8:]))
	vectors, count := word(16), word(24)
	if count > maxParts {
		return m, unix.EMSGSIZE
	}
	raw, err := w.read(call, vectors, int(count)*16)
	if err != nil {
		return m, err
	}
	for i := range int(count) {
		m.data = append(m.data, part{binary.NativeEndian.Uint64(raw[i*16:]), binary.NativeEndian.Uint64(raw[i*16+8:])})
	}
	return m, nil // what it has beside its data is left out
}

// send sends a datagram as the program would.
func (w *watcher) send(ctx context.Context, call *notification, flags uint64, m parts) (int64, error) {
	var raw []byte
	if m.name != 0 && m.nameLen > 0 {
		var err error
		if raw, _, err = w.address(ctx, call, m.name, m.nameLen); err != nil {
			return 0, err
		}
	}
	var data []byte
	for _, p := range m.data {
		if p.len > maxData || len(data)+int(p.len) > maxData {
			return 0, unix.EMSGSIZE
		}
		piece, err := w.read(call, p.at, int(p.len))
		if err != nil {
			return 0, err
		}
		data = append(data, piece...)
	}
	var sent int64
	err := w.on(call, func(socket int) error {
		var name, text unsafe.Pointer
		if len(raw) > 0 {
			name = unsafe.Pointer(&raw[0]) //nolint:gosec // how it is called
		}
		if len(data) > 0 {
			text = unsafe.Pointer(&data[0]) //nolint:gosec // how it is called
		}
		n, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(socket), uintptr(text), uintptr(len(data)), uintptr(flags|unix.MSG_NOSIGNAL), uintptr(name), uintptr(len(raw)))
		if errno != 0 {
			return errno
		}
		sent = int64(n)
		return nil
	})
	return sent, err
}

// stream reports whether the socket of a call is one that goes to whom it is connected to.
func (w *watcher) stream(call *notification) (is bool, err error) {
	err = w.on(call, func(socket int) error {
		domain, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err != nil {
			return err
		}
		kind, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_TYPE)
		is = kind == unix.SOCK_STREAM || domain == unix.AF_NETLINK
		return err
	})
	return is, err
}

// on does something on a copy of the call's socket. A call that was given up meanwhile, so
// that its socket's number may be another's, is left alone.
func (w *watcher) on(call *notification, do func(socket int) error) error {
	group, err := groupOf(int(call.PID))
	if err != nil {
		return unix.EACCES
	}
	socket, err := copyOf(group, int(int32(call.Data.Args[0])))
	if err != nil {
		return unix.EBADF
	}
	defer unix.Close(socket)
	if !w.valid(call) {
		return unix.EINTR
	}
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return unix.EINTR
	}
	w.open[socket] = true
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.open, socket)
		w.mu.Unlock()
	}()
	return do(socket)
}

// valid reports whether the call still waits: only then is what was read of its process its.
func (w *watcher) valid(call *notification) bool {
	id := call.ID
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(w.descriptor), idValid, uintptr(unsafe.Pointer(&id))) //nolint:gosec // how it is called
	return errno == 0
}

func (w *watcher) read(call *notification, at uint64, n int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	into := make([]byte, n)
	got, err := unix.ProcessVMReadv(int(call.PID), []unix.Iovec{{Base: &into[0], Len: uint64(n)}}, []unix.RemoteIovec{{Base: uintptr(at), Len: n}}, 0)
	if err != nil || got != n || !w.valid(call) {
		return nil, unix.EFAULT
	}
	return into, nil
}

func (w *watcher) write(call *notification, at uint64, text []byte) error {
	n, err := unix.ProcessVMWritev(int(call.PID), []unix.Iovec{{Base: &text[0], Len: uint64(len(text))}}, []unix.RemoteIovec{{Base: uintptr(at), Len: len(text)}}, 0)
	if err != nil || n != len(text) {
		return unix.EFAULT
	}
	return nil
}

// groupOf is the process that a thread belongs to.
func groupOf(thread int) (int, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(thread) + "/status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if number, ok := bytes.CutPrefix(line, []byte("Tgid:")); ok {
			return strconv.Atoi(string(bytes.TrimSpace(number)))
		}
	}
	return 0, errors.New("no such process")
}

// names are which addresses the names of the lists have, as programs find them.
type names struct {
	mu      sync.Mutex
	asked   time.Time
	known   map[netip.Addr][]string
	servers []netip.Addr
	read    bool
}

// namesRest is how long is rested before names are asked for anew.
const namesRest = time.Second

// of gives the names of the lists that have the address.
func (n *names) of(ctx context.Context, rules Rules, a netip.Addr) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	a = plain(a)
	if found := n.known[a]; found != nil || time.Since(n.asked) < namesRest {
		return found
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	n.known = map[netip.Addr][]string{}
	for _, host := range rules.hosts() {
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			continue // it has none
		}
		for _, addr := range addrs {
			n.known[plain(addr)] = append(n.known[plain(addr)], host)
		}
	}
	n.asked = time.Now()
	return n.known[a]
}

// hosts are the names on the lists. One with a star has no address to know it by.
func (r Rules) hosts() []string {
	var all []string
	for _, p := range r.enabled() {
		for _, entry := range p.Network.Allow {
			if host, _, err := net.SplitHostPort(entry); err == nil {
				entry = host
			}
			_, network := netip.ParsePrefix(entry)
			_, address := netip.ParseAddr(strings.Trim(entry, "[]"))
			if network != nil && address != nil && !strings.HasPrefix(entry, "*") && !slices.Contains(all, entry) {
				all = append(all, entry)
			}
		}
	}
	return all
}

// nameserver reports whether the system asks this address for names.
func (n *names) nameserver(a netip.Addr) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.read {
		n.read = true
		text, err := os.ReadFile("/etc/resolv.conf")
		if err != nil {
			return false
		}
		for line := range strings.Lines(string(text)) {
			if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "nameserver" {
				if addr, err := netip.ParseAddr(fields[1]); err == nil {
					n.servers = append(n.servers, plain(addr))
				}
			}
		}
	}
	return slices.Contains(n.servers, plain(a))
}
