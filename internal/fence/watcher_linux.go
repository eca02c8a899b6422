package fence

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
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
		return 0, socketAllowed(int(int32(args[0])), int(int32(args[1])), int(int32(args[2])))
	case unix.SYS_CONNECT:
		return w.connect(ctx, call, args[1], args[2])
	case unix.SYS_BIND:
		return w.bind(call, args[1], args[2])
	case unix.SYS_SENDTO:
		if args[4] == 0 && args[3]&unix.MSG_FASTOPEN == 0 { // to whom it is connected
			return 0, errContinue
		}
		return w.sending(call, args[3], func(to target) (int64, error) {
			return w.send(ctx, call, to, args[3], parts{name: args[4], nameLen: args[5], data: []part{{args[1], args[2]}}})
		})
	case unix.SYS_SENDMSG:
		return w.sending(call, args[2], func(to target) (int64, error) { return w.sendMessage(ctx, call, to, args[1], args[2]) })
	case unix.SYS_SENDMMSG:
		return w.sending(call, args[3], func(to target) (int64, error) { return w.sendMessages(ctx, call, to) })
	}
	return 0, unix.EACCES
}

// socketAllowed: streams and datagrams of the internet, sockets within the machine (which
// connect to nobody here), and what name resolution asks the kernel. There are none of
// several paths: whom such a stream reaches names further addresses, to which the kernel
// connects by itself.
func socketAllowed(domain, kind, protocol int) error {
	kind &= 0xf
	switch domain {
	case unix.AF_INET, unix.AF_INET6:
		protocols := map[int][]int{
			unix.SOCK_STREAM: {0, unix.IPPROTO_TCP},
			unix.SOCK_DGRAM:  {0, unix.IPPROTO_UDP, unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6},
		}[kind]
		switch {
		case slices.Contains(protocols, protocol):
			return errContinue
		case protocols != nil:
			return unix.EPROTONOSUPPORT
		}
	case unix.AF_UNIX:
		return errContinue
	case unix.AF_NETLINK:
		if protocol == unix.NETLINK_ROUTE {
			return errContinue
		}
	}
	return unix.EACCES
}

func (w *watcher) connect(ctx context.Context, call *notification, name, nameLen uint64) (int64, error) {
	raw, _, err := w.address(ctx, call, name, nameLen)
	if err != nil {
		return 0, err
	}
	return 0, w.on(call, func(socket int) error {
		_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(socket), uintptr(unsafe.Pointer(&raw[0])), uintptr(len(raw))) //nolint:gosec // how it is called
		if errno != 0 {
			return errno
		}
		return nil
	})
}

// bind gives a socket the port that the system chooses, which whoever asks needs for the
// answer, and none that somebody would look for it at. What a ping has for a port is its own
// name. Netlink is what name resolution asks the kernel.
func (w *watcher) bind(call *notification, name, nameLen uint64) (int64, error) {
	if nameLen < unix.SizeofSockaddrNetlink || nameLen > maxAddress {
		return 0, unix.EINVAL
	}
	raw, err := w.read(call, name, int(nameLen))
	if err != nil {
		return 0, err
	}
	return 0, w.on(call, func(socket int) error {
		domain, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err != nil {
			return err
		}
		protocol, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		if err != nil {
			return err
		}
		switch domain {
		case unix.AF_NETLINK:
		case unix.AF_INET, unix.AF_INET6: // in both the port is behind the family, whatever that says
			ping := protocol == unix.IPPROTO_ICMP || protocol == unix.IPPROTO_ICMPV6
			if !ping && binary.BigEndian.Uint16(raw[2:]) != 0 {
				return unix.EACCES
			}
		default:
			return unix.EACCES
		}
		_, _, errno := unix.Syscall(unix.SYS_BIND, uintptr(socket), uintptr(unsafe.Pointer(&raw[0])), uintptr(len(raw))) //nolint:gosec // how it is called
		if errno != 0 {
			return errno
		}
		return nil
	})
}

// address reads whom a call is about, and says whether it may be reached. Where it is nobody,
// to is not valid: who connects to nobody lets go of its partner.
func (w *watcher) address(ctx context.Context, call *notification, name, nameLen uint64) (raw []byte, to netip.AddrPort, err error) {
	if nameLen < 2 || nameLen > maxAddress {
		return nil, to, unix.EINVAL
	}
	if raw, err = w.read(call, name, int(nameLen)); err != nil {
		return nil, to, err
	}
	switch binary.NativeEndian.Uint16(raw) {
	case unix.AF_UNSPEC:
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

// target is our copy of a socket that something is sent on. What it is, is asked of the copy:
// behind the program's number another may stand a moment later.
type target struct {
	socket int
	stream bool // it goes to whom it is connected to
	local  bool // within the machine
}

// sending does something on our copy of the socket of a call that sends.
func (w *watcher) sending(call *notification, flags uint64, do func(target) (int64, error)) (sent int64, err error) {
	if flags&unix.MSG_FASTOPEN != 0 { // it connects
		return 0, unix.EACCES
	}
	err = w.on(call, func(socket int) error {
		domain, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err != nil {
			return err
		}
		kind, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_TYPE)
		if err != nil {
			return err
		}
		if domain == unix.AF_NETLINK { // the kernel would think that it is the satellite who asks
			return unix.EACCES
		}
		sent, err = do(target{socket, kind == unix.SOCK_STREAM || kind == unix.SOCK_SEQPACKET, domain == unix.AF_UNIX})
		return err
	})
	return sent, err
}

// part is a piece of memory of the program.
type part struct{ at, len uint64 }

// parts are a message as a call has it.
type parts struct {
	name, nameLen uint64
	data          []part
}

// messageHeader is struct msghdr, of 64 bits; struct mmsghdr adds a length to it.
const (
	messageHeader  = 56
	messagesHeader = 64
)

func (w *watcher) sendMessage(ctx context.Context, call *notification, to target, header, flags uint64) (int64, error) {
	m, err := w.message(call, to, header)
	if err != nil {
		return 0, err
	}
	return w.send(ctx, call, to, flags, m)
}

func (w *watcher) sendMessages(ctx context.Context, call *notification, to target) (int64, error) {
	at, count, flags := call.Data.Args[1], min(uint64(uint32(call.Data.Args[2])), maxParts), call.Data.Args[3]
	for i := range count {
		sent, err := w.sendMessage(ctx, call, to, at+i*messagesHeader, flags)
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

func (w *watcher) message(call *notification, to target, at uint64) (m parts, err error) {
	header, err := w.read(call, at, messageHeader)
	if err != nil {
		return m, err
	}
	word := func(i int) uint64 { return binary.NativeEndian.Uint64(header[i:]) }
	m.name, m.nameLen = word(0), uint64(binary.NativeEndian.Uint32(header[8:]))
	vectors, count := word(16), word(24)
	switch {
	case to.local && word(40) != 0: // files, which would have to be handed over as well
		return m, unix.EACCES
	case count > maxParts && !to.stream:
		return m, unix.EMSGSIZE
	}
	count = min(count, maxParts) // of a stream the rest follows
	raw, err := w.read(call, vectors, int(count)*16)
	if err != nil {
		return m, err
	}
	for i := range int(count) {
		m.data = append(m.data, part{binary.NativeEndian.Uint64(raw[i*16:]), binary.NativeEndian.Uint64(raw[i*16+8:])})
	}
	return m, nil // what it has beside its data is left out
}

// passed are the flags of a call that are kept. None of them lets the kernel go on reading
// our memory when the call has ended.
const passed = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL | unix.MSG_MORE | unix.MSG_OOB | unix.MSG_EOR | unix.MSG_CONFIRM | unix.MSG_DONTROUTE

// send sends what the program would: a datagram, or the beginning of a piece of a stream.
func (w *watcher) send(ctx context.Context, call *notification, to target, flags uint64, m parts) (int64, error) {
	var raw []byte
	if m.name != 0 && m.nameLen > 0 && !to.stream {
		var partner netip.AddrPort
		var err error
		if raw, partner, err = w.address(ctx, call, m.name, m.nameLen); err != nil {
			return 0, err
		}
		if !partner.IsValid() { // the kernel takes an address of no family for one of IPv4
			return 0, unix.EACCES
		}
	}
	var data []byte
	for _, p := range m.data {
		room := uint64(maxData - len(data))
		if p.len > room && !to.stream {
			return 0, unix.EMSGSIZE
		}
		piece, err := w.read(call, p.at, int(min(p.len, room)))
		if err != nil {
			return 0, err
		}
		data = append(data, piece...)
	}
	var name, text unsafe.Pointer
	if len(raw) > 0 {
		name = unsafe.Pointer(&raw[0]) //nolint:gosec // how it is called
	}
	if len(data) > 0 {
		text = unsafe.Pointer(&data[0]) //nolint:gosec // how it is called
	}
	n, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(to.socket), uintptr(text), uintptr(len(data)), uintptr(flags&passed|unix.MSG_NOSIGNAL), uintptr(name), uintptr(len(raw)))
	if errno != 0 {
		return 0, errno
	}
	return int64(n), nil
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
