package protocol

import "encoding/json"

// apart keeps one bad record from taking its batch with it: err is what became
// of reading the batch as a whole, and when that failed each record is read on
// its own. What cannot be taken is marked (Record.Invalid). The batch itself is
// refused only when it cannot be told which records it holds.
func (m *Results) apart(frame []byte, err error) error {
	if err != nil {
		records, ok := split(frame)
		if !ok {
			return err
		}
		m.Records = records
	}
	for i := range m.Records {
		r := &m.Records[i]
		if r.Invalid != nil {
			continue
		}
		if err := r.Validate(); err != nil {
			*r = Record{Seq: r.Seq, Invalid: err}
		}
	}
	return m.Validate()
}

var recordShape = shapeOf(new(Record))

// split reads the records of a batch one by one. It reports false when the frame
// is not a batch, or holds a record without a sequence number.
func split(frame []byte) ([]Record, bool) {
	if !json.Valid(frame) {
		return nil, false
	}
	w := walker{b: frame}
	if w.space(); !w.enter('{') {
		return nil, false
	}
	for w.more('}') {
		if string(w.name()) == "records" {
			break
		}
		if w.skip(1) != nil {
			return nil, false
		}
	}
	if !w.enter('[') {
		return nil, false
	}
	records := []Record{}
	for w.more(']') {
		start := w.i
		if w.skip(2) != nil || len(records) > MaxBatchRecords {
			return nil, false
		}
		r, ok := readRecord(frame[start:w.i])
		if !ok {
			return nil, false
		}
		records = append(records, r)
	}
	return records, true
}

func readRecord(raw []byte) (Record, bool) {
	var r Record
	wrong := recordShape.check(raw)
	if wrong == nil {
		err := json.Unmarshal(raw, &r)
		if err == nil {
			return r, true
		}
		wrong = invalid((*Results)(nil).Type(), err)
	}
	var seq struct{ Seq *int64 }
	if err := json.Unmarshal(raw, &seq); err != nil || seq.Seq == nil {
		return Record{}, false
	}
	return Record{Seq: *seq.Seq, Invalid: wrong}, true
}
