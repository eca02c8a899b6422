package health

import (
	"fmt"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/mapping"
	"github.com/DataDog/sketches-go/ddsketch/store"
)

// sketchAccuracy is how far a percentile may be from the true one, relative to it.
// It decides what the stored numbers mean: another one needs the tables rewritten.
const sketchAccuracy = 0.01

// latencyMapping is left out of what is stored: it is the same everywhere.
var latencyMapping = func() mapping.IndexMapping {
	m, err := mapping.NewLogarithmicMapping(sketchAccuracy)
	if err != nil {
		panic(err) // of a constant
	}
	return m
}()

func newSketch() *ddsketch.DDSketch {
	return ddsketch.NewDDSketch(latencyMapping, store.NewBufferedPaginatedStore(), store.NewSparseStore())
}

// sketchOf is the sketch of latencies; nil for none.
func sketchOf(latencies []int64) []byte {
	if len(latencies) == 0 {
		return nil
	}
	s := newSketch()
	for _, ms := range latencies {
		_ = s.Add(float64(ms)) // refuses only what is beyond a float's reach
	}
	return encodeSketch(s)
}

func encodeSketch(s *ddsketch.DDSketch) []byte {
	var b []byte
	s.Encode(&b, true)
	return b
}

// compacted makes sketches that stand one behind the other one. What cannot be read
// is left as it is.
func compacted(sketches []byte) []byte {
	if len(sketches) == 0 {
		return nil
	}
	s := newSketch()
	if err := s.DecodeAndMergeWith(sketches); err != nil {
		return sketches
	}
	return encodeSketch(s)
}

// readSketch puts into s, in place of what it holds, sketches one behind the other.
func readSketch(s *ddsketch.DDSketch, sketches []byte) error {
	s.Clear()
	if err := s.DecodeAndMergeWith(sketches); err != nil {
		return fmt.Errorf("reading a sketch of latencies: %w", err)
	}
	return nil
}
