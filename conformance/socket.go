package conformance

import (
	"bufio"
	"crypto/sha1" //nolint:gosec // RFC 6455 has it so
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// socket is the server's end of a WebSocket. It is written from RFC 6455 and is not
// the one that the house uses: it shows whether a message was text, it does what no
// good server does, and it cuts the line when told to.
type socket struct {
	conn net.Conn
	r    *bufio.Reader

	mu sync.Mutex // held by whoever writes
}

// Opcodes of frames.
const (
	opContinue = 0x0
	opText     = 0x1
	opBinary   = 0x2
	opClose    = 0x8
	opPing     = 0x9
	opPong     = 0xA
)

const (
	// biggest frame that is taken from an agent: what an original core takes (A.1).
	biggest = 16 << 20
	// takeWithin is how long an agent may take nothing of what is written to it.
	takeWithin = 30 * time.Second
)

// upgrade answers a request for a WebSocket.
func upgrade(w http.ResponseWriter, r *http.Request) (*socket, error) {
	key := r.Header.Get("Sec-WebSocket-Key")
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || key == "" || r.Header.Get("Sec-WebSocket-Version") != "13" {
		http.Error(w, "a WebSocket is wanted", http.StatusBadRequest)
		return nil, errors.New("the request is not for a WebSocket")
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // likewise
	_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &socket{conn: conn, r: buffered.Reader}, nil
}

// write sends one frame; last is false for a piece that another follows.
func (s *socket) write(op byte, last bool, payload []byte) error {
	head := []byte{op}
	if last {
		head[0] |= 0x80
	}
	switch n := len(payload); {
	case n < 126:
		head = append(head, byte(n))
	case n <= 0xffff:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(n))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(takeWithin)); err != nil {
		return err
	}
	_, err := (&net.Buffers{head, payload}).WriteTo(s.conn)
	return err
}

// frame reads one frame.
func (s *socket) frame() (op byte, last bool, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return 0, false, nil, err
	}
	if head[0]&0x70 != 0 || head[1]&0x80 == 0 {
		return 0, false, nil, errors.New("a frame has reserved bits, or is not masked")
	}
	size := uint64(head[1] & 0x7f)
	if size >= 126 {
		long := make([]byte, 2<<(2*(size-126))) // two bytes, or eight
		if _, err := io.ReadFull(s.r, long); err != nil {
			return 0, false, nil, err
		}
		size = binary.BigEndian.Uint64(append(make([]byte, 8-len(long)), long...))
	}
	if size > biggest {
		return 0, false, nil, fmt.Errorf("a frame has %d bytes, which an original core does not take", size)
	}
	body := make([]byte, 4+size)
	if _, err := io.ReadFull(s.r, body); err != nil {
		return 0, false, nil, err
	}
	mask, payload := body[:4], body[4:]
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	return head[0] & 0x0f, head[0]&0x80 != 0, payload, nil
}

// read gives the next whole message, or control frame.
func (s *socket) read(into *[]byte, kind *byte) (op byte, payload []byte, err error) {
	for {
		op, last, payload, err := s.frame()
		if err != nil || op >= opClose {
			return op, payload, err
		}
		if op != opContinue {
			*into, *kind = nil, op
		}
		*into = append(*into, payload...)
		if last {
			return *kind, *into, nil
		}
	}
}

// close sends a close frame.
func (s *socket) close(code uint16, reason string) error {
	return s.write(opClose, true, append(binary.BigEndian.AppendUint16(nil, code), reason...))
}

// cut ends the connection without a word, as a machine does that fails.
func (s *socket) cut() {
	if tcp, ok := s.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = s.conn.Close()
}
