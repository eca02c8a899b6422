package hub

import (
	"fmt"
	"sync"
	"time"
)

// outbox is what waits to be sent to one peer. There is no goroutine behind it
// while it is empty. When it is full the peer does not read, and the session ends
// rather than that something is dropped (spec M24).
//
// Packages wait apart, in bulk: whatever else there is goes before them (spec M85), and
// they count for nothing when it is asked whether the peer is slow, because they
// are not even made while others wait (hasRoom).
type outbox struct {
	mu      sync.Mutex
	frames  [][]byte    // guarded by mu; nil is a ping
	bytes   int         // guarded by mu
	sending bool        // guarded by mu: a goroutine is at it
	shut    bool        // guarded by mu: nothing more is taken
	bye     *closeFrame // guarded by mu: follows the last message

	bulk      [][]byte      // guarded by mu: packages
	bulkBytes int           // guarded by mu
	room      chan struct{} // guarded by mu: made by who waits for room, closed when there is more
}

type closeFrame struct {
	code int
	text string
	late *time.Timer // sends it although messages still wait
}

// put queues a frame; nil is a ping. What comes after the end is dropped.
func (o *outbox) put(s *session, frame []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.shut {
		return nil
	}
	limits := &s.hub.limits
	if len(o.frames) > 0 && (len(o.frames) >= limits.QueueFrames || o.bytes+len(frame) > limits.QueueBytes) {
		return fmt.Errorf("%d messages of %d bytes wait to be read", len(o.frames), o.bytes)
	}
	o.add(s, frame)
	return nil
}

// bulkWaiting is how many bytes of packages may wait when another is made.
const bulkWaiting = 1 << 20

// hasRoom waits until a package may be made for the peer, which so gets them as
// quickly as it reads. False when the session has ended.
func (o *outbox) hasRoom(s *session) bool {
	for {
		o.mu.Lock()
		if o.shut {
			o.mu.Unlock()
			return false
		}
		if o.bulkBytes <= bulkWaiting {
			o.mu.Unlock()
			return true
		}
		if o.room == nil {
			o.room = make(chan struct{})
		}
		room := o.room
		o.mu.Unlock()
		select {
		case <-room:
		case <-s.ctx.Done():
			return false
		}
	}
}

// putBulk queues a package behind everything else. What comes after the end is dropped.
func (o *outbox) putBulk(s *session, frame []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.shut {
		return
	}
	o.bulk = append(o.bulk, frame)
	o.bulkBytes += len(frame)
	o.start(s)
}

// close sends what waits, then last (nil for nothing), then the close frame. At
// once, when the peer does not read anyway; and after flushTimeout in any case.
func (o *outbox) close(s *session, last []byte, code int, text string, atOnce bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.shut {
		return
	}
	o.shut = true
	o.bulk, o.bulkBytes = nil, 0
	if atOnce {
		o.frames, o.bytes = nil, 0
		s.work.Go(func() { s.conn.Close(code, text) })
		return
	}
	o.bye = &closeFrame{code: code, text: text, late: time.AfterFunc(flushTimeout, func() { s.conn.Close(code, text) })}
	if last != nil {
		o.add(s, last)
	}
	o.start(s)
}

// abandon forgets what waits: there is nobody to send it to.
func (o *outbox) abandon() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.frames, o.bytes, o.shut = nil, 0, true
	o.bulk, o.bulkBytes = nil, 0
}

func (o *outbox) add(s *session, frame []byte) {
	o.frames = append(o.frames, frame)
	o.bytes += len(frame)
	o.start(s)
}

// start sees to it that somebody sends. It is called under mu and never once
// shut was seen, so nobody waits for work while it begins.
func (o *outbox) start(s *session) {
	if !o.sending {
		o.sending = true
		s.work.Go(func() { o.drain(s) })
	}
}

// drain sends until nothing is left.
func (o *outbox) drain(s *session) {
	for {
		frame, ok := o.next()
		if !ok {
			return
		}
		if err := o.sendOne(s, frame); err != nil {
			o.abandon() // the connection is closed; its reader says why
		}
	}
}

func (o *outbox) sendOne(s *session, item outgoing) error {
	switch {
	case item.bye != nil:
		item.bye.late.Stop()
		return s.conn.Close(item.bye.code, item.bye.text)
	case item.frame == nil:
		return s.conn.Ping(nil)
	}
	s.hub.metrics.sent.Add(float64(len(item.frame)))
	return s.conn.Write(item.frame)
}

// outgoing is the next thing to send: a message, a ping, or the close frame.
type outgoing struct {
	frame []byte
	bye   *closeFrame
}

// next takes the next thing to send; false when there is nothing and the drain is over.
func (o *outbox) next() (outgoing, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.frames) > 0 {
		frame := o.frames[0]
		o.frames[0] = nil
		o.frames = o.frames[1:]
		o.bytes -= len(frame)
		return outgoing{frame: frame}, true
	}
	o.frames = nil
	if len(o.bulk) > 0 {
		return outgoing{frame: o.nextBulk()}, true
	}
	if bye := o.bye; bye != nil {
		o.bye = nil
		return outgoing{bye: bye}, true
	}
	o.sending = false
	return outgoing{}, false
}

// nextBulk takes the next package out; mu is held.
func (o *outbox) nextBulk() []byte {
	frame := o.bulk[0]
	o.bulk[0] = nil
	o.bulk = o.bulk[1:]
	o.bulkBytes -= len(frame)
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
	return frame
}
