package protocol

import "reflect"

// A batch is sent again until it is acknowledged, so one record that can never be
// taken must not hold up those behind it: it is marked (Record.Invalid), and the
// batch goes on. A batch is refused only when it cannot be told which records it
// holds.

// numbered is what can be said of any record.
type numbered struct {
	Seq int64 `json:"seq"`
}

var numberedShape = shapeOf(new(numbered))

// salvage puts a mark in the place of a record that could not be decoded, leaving
// the scanner behind it. It fails when what is there is not JSON, or does not
// even say which record it is.
func salvage(in *scanner, start, depth int, v reflect.Value, wrong *InvalidError) *InvalidError {
	in.i = start
	var known numbered
	if err := numberedShape.decode(in, reflect.ValueOf(&known).Elem(), depth); err != nil {
		return err
	}
	wrong.Type = (*Results)(nil).Type()
	v.Set(reflect.ValueOf(Record{Seq: known.Seq, Invalid: wrong}))
	return nil
}

// mark marks the records that were decoded and are not valid.
func (m *Results) mark() {
	for i := range m.Records {
		r := &m.Records[i]
		if r.Invalid != nil {
			continue
		}
		if err := r.validate(); err != nil {
			err.Type = m.Type()
			*r = Record{Seq: r.Seq, Invalid: err}
		}
	}
}
