package protocol

import "encoding/json"

// apart keeps one bad record from taking its batch with it: err is what became
// of reading the batch as a whole, and when that failed each record is read on
// its own. What cannot be taken is marked (Record.Invalid). The batch itself is
// refused only when it cannot be told which records it holds.
func (m *Results) apart(frame []byte, err error) error {
	if err != nil {
		records, wrong := split(frame)
		switch {
		case wrong != nil:
			return first(m, wrong)
		case records == nil:
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

// split reads the records of a batch one by one. It returns none when the frame
// is no batch, and an error when a record has no sequence number.
func split(frame []byte) ([]Record, *InvalidError) {
	w := walker{b: frame}
	if w.space(); !json.Valid(frame) || !w.enter('{') {
		return nil, nil
	}
	for w.more('}') && string(w.name()) != "records" {
		if w.skip(1) != nil {
			return nil, nil
		}
	}
	if !w.enter('[') {
		return nil, nil
	}
	records := []Record{}
	for w.more(']') {
		start := w.i
		if w.skip(2) != nil || len(records) > MaxBatchRecords {
			return nil, nil
		}
		r, wrong := readRecord(frame[start:w.i])
		if wrong != nil {
			return nil, wrong.in("records", len(records))
		}
		records = append(records, r)
	}
	return records, nil
}

// readRecord reads one record, marking it when it is bad; it fails when a bad
// record does not even say which it is.
func readRecord(raw []byte) (Record, *InvalidError) {
	var r Record
	wrong := recordShape.check(raw)
	if wrong == nil {
		err := json.Unmarshal(raw, &r)
		if err == nil {
			return r, nil
		}
		wrong = invalid("", err)
	}
	wrong.Type = (*Results)(nil).Type()
	var known struct{ Seq *int64 }
	if err := json.Unmarshal(raw, &known); err != nil || known.Seq == nil {
		if wrong.Path != "seq" {
			wrong = &InvalidError{Path: "seq", Reason: "is missing"}
		}
		return Record{}, wrong
	}
	return Record{Seq: *known.Seq, Invalid: wrong}, nil
}
