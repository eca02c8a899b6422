package satellite

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/perigee-monitoring/perigee/check"
)

// checkpoint holds, for each key, the last slot that records up to Through account
// for. It is what remains of segments that were deleted.
type checkpoint struct {
	Through int64      `json:"through"`
	Slots   []lastSlot `json:"slots"`
}

type lastSlot struct {
	CheckID       string `json:"checkId"`
	SystemID      string `json:"systemId"`
	EnvironmentID string `json:"environmentId,omitempty"`
	Slot          int64  `json:"slot"`
}

func (s *spool) saveCheckpoint() error {
	if s.active != nil { // the checkpoint must not know more than the disk
		if err := s.sync(s.active); err != nil {
			return err
		}
		s.unsynced = 0
	}
	c := checkpoint{Through: s.next - 1}
	for key, slot := range s.slots {
		c.Slots = append(c.Slots, lastSlot{key.CheckID, key.SystemID, key.EnvironmentID, slot})
	}
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return writeDurably(filepath.Join(s.dir, "checkpoint.json"), b, s.sync)
}

func (s *spool) loadCheckpoint() (through int64, err error) {
	b, err := os.ReadFile(filepath.Join(s.dir, "checkpoint.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var c checkpoint
	if err := json.Unmarshal(b, &c); err != nil {
		return 0, fmt.Errorf("reading checkpoint.json: %w", err)
	}
	for _, l := range c.Slots {
		s.slots[check.Key{CheckID: l.CheckID, SystemID: l.SystemID, EnvironmentID: l.EnvironmentID}] = l.Slot
	}
	return c.Through, nil
}
