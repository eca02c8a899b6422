package satellite

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/perigee-monitoring/perigee/protocol"
)

// A segment is one file of the spool: a header, then frames in rising order of
// sequence number. All numbers are little-endian.
//
//	header: magic "perisp01" or "perisum1", covers uint64
//	frame:  length uint32, CRC-32C of the payload uint32, payload (JSON of stored)
//
// The file is named after the lowest sequence number it may hold. covers is the
// same number, except in a summary ("perisum1", see makeRoom), where it may be a
// lower one: segments from covers on are superseded by the summary, and those
// that a crash left behind are deleted when they are found.
type segment struct {
	path    string
	name    int64 // the number it is named after
	covers  int64
	first   int64 // of the records in it; 0 while there are none
	last    int64
	size    int64
	records int64
	summary bool // holds skips that stand for dropped records
}

const (
	segmentMagic  = "perisp01"
	summaryMagic  = "perisum1"
	headerSize    = 16
	frameOverhead = 8
	segmentSuffix = ".seg"
	// temporaryPrefix begins the names of files that are being written.
	temporaryPrefix = ".new-"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stored is a record as it is on disk.
type stored struct {
	protocol.Record
	// Asked: a run that the core asked for, beside the schedule. It accounts for no slot
	// that was due, so the ledger must not hear of it. It is not sent.
	Asked bool `json:"asked,omitempty"`
}

// errTorn is the end of what can be read of a segment: a record was not written
// to its end.
var errTorn = errors.New("torn record")

func segmentPath(dir string, name int64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d", name)+segmentSuffix)
}

func segmentHeader(magic string, covers int64) []byte {
	return binary.LittleEndian.AppendUint64([]byte(magic), uint64(covers))
}

// appendFrame appends the record as a frame. Evidence is written as it is: escaping
// what HTML might trip over could make a large page six times as large.
func appendFrame(dst []byte, r *stored) ([]byte, error) {
	b := bytes.NewBuffer(append(dst, make([]byte, frameOverhead)...))
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return dst, fmt.Errorf("encoding a record: %w", err)
	}
	frame := b.Bytes()[len(dst):]
	payload := frame[frameOverhead : len(frame)-1] // Encode ends with a newline
	binary.LittleEndian.PutUint32(frame, uint32(len(payload)))
	binary.LittleEndian.PutUint32(frame[4:], crc32.Checksum(payload, castagnoli))
	return b.Bytes()[:b.Len()-1], nil
}

// nextFrame returns the payload of the frame that b begins with and the frame's
// whole length. It returns io.EOF for an empty b and errTorn for anything that
// is not a whole frame with the right sum.
func nextFrame(b []byte) (payload []byte, length int, err error) {
	if len(b) == 0 {
		return nil, 0, io.EOF
	}
	if len(b) < frameOverhead {
		return nil, 0, errTorn
	}
	n := int(binary.LittleEndian.Uint32(b))
	if n == 0 || n > protocol.MaxFrame || len(b)-frameOverhead < n {
		return nil, 0, errTorn
	}
	payload = b[frameOverhead : frameOverhead+n]
	if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, 0, errTorn
	}
	return payload, frameOverhead + n, nil
}

// listSegments names the segments of a folder, oldest first.
func listSegments(dir string) ([]*segment, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []*segment
	for _, f := range files {
		digits, ok := strings.CutSuffix(f.Name(), segmentSuffix)
		if !ok {
			continue
		}
		name, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			continue
		}
		all = append(all, &segment{path: filepath.Join(dir, f.Name()), name: name})
	}
	slices.SortFunc(all, func(a, b *segment) int { return cmp.Compare(a.name, b.name) })
	return all, nil
}

// load reads the segment's header and records and sets its fields; visit gets
// each record. good is how many bytes are whole; the file may be longer when its
// end is torn.
func (s *segment) load(visit func(*stored)) (good int64, err error) {
	b, err := os.ReadFile(s.path)
	if err != nil {
		return 0, err
	}
	s.size = int64(len(b))
	if len(b) < headerSize {
		return 0, nil
	}
	switch string(b[:len(segmentMagic)]) {
	case segmentMagic:
	case summaryMagic:
		s.summary = true
	default:
		return 0, nil
	}
	s.covers = int64(binary.LittleEndian.Uint64(b[len(segmentMagic):]))
	rest := b[headerSize:]
	for {
		payload, n, err := nextFrame(rest)
		if err != nil {
			return int64(len(b) - len(rest)), nil
		}
		var r stored
		if json.Unmarshal(payload, &r) != nil || r.Seq <= s.last {
			return int64(len(b) - len(rest)), nil
		}
		s.note(r.Seq)
		visit(&r)
		rest = rest[n:]
	}
}

func (s *segment) note(seq int64) {
	if s.first == 0 {
		s.first = seq
	}
	s.last = seq
	s.records++
}

// waiting is how many of the segment's records come after seq.
func (s *segment) waiting(seq int64) int64 {
	switch {
	case seq >= s.last:
		return 0
	case seq < s.first:
		return s.records
	}
	return max(1, s.records-(seq-s.first+1))
}

// writeDurably replaces the file at path by one with the content: whole or not at
// all, also after a power cut.
func writeDurably(path string, content []byte, sync func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), temporaryPrefix+"*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, sync(f), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncFolder(filepath.Dir(path), sync)
}

func syncFolder(dir string, sync func(*os.File) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(sync(d), d.Close())
}
