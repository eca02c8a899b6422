package satellite

import (
	"encoding/binary"
	"hash/crc32"
	"os"
)

// position is how far the spool has got with the core. It changes with every
// batch, so it is kept in a small file that is written in place: two slots in
// turn, each with a generation and a sum, so that one of them is always whole.
// A write costs about a microsecond and survives a kill; it reaches the disk with
// the next group sync.
type position struct {
	acked   int64 // everything up to here is the core's
	sent    int64 // everything up to here may have reached the core
	dropped int64 // results dropped from a full spool, in all
	begun   int64 // the last slot of a seat that was begun, of any key; not the spool's own
}

const (
	positionSlot = 64 // bytes from one slot to the next
	positionSize = 44
)

type positionFile struct {
	f          *os.File
	generation uint64
}

// openPosition opens or makes the file and reads the newer whole slot.
func openPosition(path string) (*positionFile, position, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, position{}, err
	}
	p := &positionFile{f: f}
	var found position
	b := make([]byte, 2*positionSlot)
	n, _ := f.ReadAt(b, 0) // a short file has fewer slots
	for i := range 2 {
		slot := b[i*positionSlot:][:positionSize]
		if i*positionSlot+positionSize > n {
			break
		}
		sum := crc32.Checksum(slot[:40], castagnoli)
		generation := binary.LittleEndian.Uint64(slot)
		if sum != binary.LittleEndian.Uint32(slot[40:]) || generation <= p.generation {
			continue
		}
		p.generation = generation
		found = position{
			acked:   int64(binary.LittleEndian.Uint64(slot[8:])),
			sent:    int64(binary.LittleEndian.Uint64(slot[16:])),
			dropped: int64(binary.LittleEndian.Uint64(slot[24:])),
			begun:   int64(binary.LittleEndian.Uint64(slot[32:])),
		}
	}
	return p, found, nil
}

func (p *positionFile) write(at position) error {
	p.generation++
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, positionSize), p.generation)
	b = binary.LittleEndian.AppendUint64(b, uint64(at.acked))
	b = binary.LittleEndian.AppendUint64(b, uint64(at.sent))
	b = binary.LittleEndian.AppendUint64(b, uint64(at.dropped))
	b = binary.LittleEndian.AppendUint64(b, uint64(at.begun))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	_, err := p.f.WriteAt(b, int64(p.generation%2)*positionSlot)
	return err
}
