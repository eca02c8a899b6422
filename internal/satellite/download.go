package satellite

import (
	"context"
	"encoding/base64"
	"fmt"
	"sync"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
	"github.com/perigee-monitoring/perigee/protocol"
)

// maxBlob is the largest blob that is fetched, in bytes.
const maxBlob = 300 << 20

// download fetches one blob in pieces (feature chunk) to the end of what there is of
// it. Several pieces are on their way at once, and are appended in their order, so
// that what is on disk has no holes.
type download struct {
	peer     *packagePeer
	entry    scriptpkg.Entry
	partial  *scriptpkg.Partial
	progress func(bytes int)

	next   int64    // the offset to be asked for
	total  int64    // of the blob; -1 until the first piece says it
	sha256 string   // as it says
	window []*piece // asked for, in order
	asking sync.WaitGroup
}

// piece is one request.
type piece struct {
	offset, length int64
	chunk          *protocol.BlobChunk
	err            error
	done           chan struct{}
}

func (d *download) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer d.asking.Wait()
	defer cancel()
	d.next = d.partial.Size()
	for {
		if err := d.fill(ctx); err != nil {
			return err
		}
		head := d.window[0]
		d.window = d.window[1:]
		<-head.done
		if head.err != nil {
			return fmt.Errorf("fetching %s@%s: %w", d.entry.Name, d.entry.Version, head.err)
		}
		last, err := d.take(head)
		if err != nil || last {
			return err
		}
	}
}

// fill asks for more pieces. It waits for a place only when it has none at all: the
// others are there for other blobs too.
func (d *download) fill(ctx context.Context) error {
	for len(d.window) < piecesAtOnce {
		if len(d.window) == 0 {
			select {
			case d.peer.pieces <- struct{}{}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			d.ask(ctx)
			continue
		}
		if d.total < 0 || d.next >= d.total {
			return nil
		}
		select {
		case d.peer.pieces <- struct{}{}:
			d.ask(ctx)
		default:
			return nil
		}
	}
	return nil
}

func (d *download) ask(ctx context.Context) {
	p := &piece{offset: d.next, length: protocol.MaxChunk, done: make(chan struct{})}
	d.next += p.length
	d.window = append(d.window, p)
	d.asking.Go(func() {
		defer close(p.done)
		defer func() { <-d.peer.pieces }()
		id := uuid.NewString()
		request := &protocol.BlobRequest{RequestID: id, Integrity: d.entry.Integrity, Offset: p.offset, Length: p.length}
		p.chunk, p.err = ask(ctx, d.peer, &d.peer.chunks, id, request, blobTimeout)
	})
}

// take appends a piece; true when it was the last.
func (d *download) take(p *piece) (last bool, err error) {
	c := p.chunk
	if c.Error != "" {
		return false, fmt.Errorf("%w (%s)", noBlob(d.entry), c.Error)
	}
	if err := d.sameBlob(p); err != nil {
		return false, err
	}
	data, err := base64.StdEncoding.DecodeString(c.Data)
	if err != nil {
		return false, fmt.Errorf("reading a piece of %s@%s: %w", d.entry.Name, d.entry.Version, err)
	}
	end := p.offset + int64(len(data))
	short := int64(len(data)) < p.length
	switch {
	case int64(len(data)) > p.length, d.total >= 0 && end > d.total, d.total >= 0 && short && end != d.total:
		return false, fmt.Errorf("%w: %s@%s", errOtherBlob, d.entry.Name, d.entry.Version)
	case end > maxBlob:
		return false, fmt.Errorf("the blob of %s@%s is larger than %d bytes", d.entry.Name, d.entry.Version, maxBlob)
	}
	if _, err := d.partial.Write(data); err != nil {
		return false, fmt.Errorf("keeping a piece of %s@%s: %w", d.entry.Name, d.entry.Version, err)
	}
	d.progress(len(data))
	return short || end == d.total, nil
}

// sameBlob compares what the piece says of its blob with what the manifest and the
// pieces before said.
func (d *download) sameBlob(p *piece) error {
	c := p.chunk
	if d.total < 0 && c.Total > 0 {
		d.total, d.sha256 = c.Total, c.Sha256
	}
	other := c.Offset != p.offset || c.Total > 0 && c.Total != d.total || c.Sha256 != d.sha256 ||
		c.Sha256 != "" && d.entry.BlobSha256 != "" && c.Sha256 != d.entry.BlobSha256
	if other {
		return fmt.Errorf("%w: %s@%s", errOtherBlob, d.entry.Name, d.entry.Version)
	}
	if d.total > maxBlob {
		return fmt.Errorf("the blob of %s@%s is larger than %d bytes", d.entry.Name, d.entry.Version, maxBlob)
	}
	return nil
}
