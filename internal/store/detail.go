package store

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/internal/health"
)

// The evidence of routine runs lies in packs beside the runs. The results of one check
// resemble each other, so that a pack is a small part of what is in it, and to forget
// them is to delete few rows and to touch no run.

const (
	// packRuns and packBytes bound a pack: to read one run is to read its pack.
	packRuns  = 100
	packBytes = 256 << 10
	// maxPack bounds what is read of one: a pack is full when it has passed packBytes,
	// and a single result may be as large again.
	maxPack = 4 << 20
)

// packers are made ready once: each has tables of a megabyte.
var packers = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err) // of a constant
	}
	return w
}}

// pack is a row of run_details.
type pack struct {
	id   string
	body []byte
}

// packed makes packs of the routine among the runs, and says in which of them each is.
func packed(runs []health.Run) (packs []pack, of map[string]string, err error) {
	of = map[string]string{}
	w := packers.Get().(*flate.Writer)
	defer packers.Put(w)
	var open []byte
	var id string
	n := 0
	seal := func() error {
		if n == 0 {
			return nil
		}
		var body bytes.Buffer
		w.Reset(&body)
		if _, err := w.Write(open); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		packs = append(packs, pack{id: id, body: body.Bytes()})
		open, n = open[:0], 0
		return nil
	}
	for i := range runs {
		r := &runs[i]
		if !r.Routine() || len(r.Result) == 0 {
			continue
		}
		if n == 0 {
			made, err := uuid.NewV7()
			if err != nil {
				return nil, nil, fmt.Errorf("naming a pack of evidence: %w", err)
			}
			id = made.String()
		}
		for _, part := range []string{r.RunID, string(r.Result)} {
			open = append(binary.AppendUvarint(open, uint64(len(part))), part...)
		}
		of[r.RunID] = id
		if n++; n == packRuns || len(open) > packBytes {
			if err := seal(); err != nil {
				return nil, nil, fmt.Errorf("packing evidence: %w", err)
			}
		}
	}
	if err := seal(); err != nil {
		return nil, nil, fmt.Errorf("packing evidence: %w", err)
	}
	return packs, of, nil
}

// unpack reads the evidence in a pack, by run.
func unpack(body []byte) (map[string]json.RawMessage, error) {
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(body)), maxPack))
	if err != nil {
		return nil, fmt.Errorf("reading a pack of evidence: %w", err)
	}
	found := map[string]json.RawMessage{}
	for len(text) > 0 {
		var parts [2][]byte
		for i := range parts {
			n, size := binary.Uvarint(text)
			if size <= 0 || n > uint64(len(text)-size) {
				return nil, errors.New("reading a pack of evidence: it is cut off")
			}
			parts[i], text = text[size:size+int(n)], text[size+int(n):]
		}
		found[string(parts[0])] = parts[1]
	}
	return found, nil
}

// putDetails writes the evidence of routine runs, and says in which pack each is.
func (tx *Tx) putDetails(ctx context.Context, runs []health.Run) (map[string]string, error) {
	packs, of, err := packed(runs)
	if err != nil {
		return nil, err
	}
	return of, tx.insertMany(ctx, "run_details", "", len(packs), []column{
		col("id", "text", packs, func(p *pack) string { return p.id }),
		col("body", "bytea", packs, func(p *pack) []byte { return p.body }),
	})
}

// KeepDetails keeps the evidence of routine runs as long as the runs themselves.
func (tx *Tx) KeepDetails(ctx context.Context, runs []health.Run) error {
	return chunks(runs, func(rows []health.Run) error {
		cols := []column{
			col("run_id", "text", rows, func(r *health.Run) string { return r.RunID }),
			col("result", "text", rows, func(r *health.Run) *string { return orNil(stored(string(r.Result))) }),
		}
		if tx.db.dialect == sqlite {
			return tx.repeat(ctx, `UPDATE runs SET result = $2 WHERE run_id = $1`, len(rows), cols, func(int, int64) {})
		}
		table, args := unnest(cols)
		_, err := tx.exec(ctx, `UPDATE runs AS r SET result = b.result FROM `+table+` WHERE r.run_id = b.run_id`, args...)
		return err
	})
}

// storedRun is a run as its row has it.
type storedRun struct {
	health.Run
	detail string // the pack of its evidence; "" for none
}

// withDetails fills in the evidence that lies in packs. What was forgotten meanwhile is
// missing.
func (c conn) withDetails(ctx context.Context, rows []storedRun) error {
	var ids []string
	known := map[string]map[string]json.RawMessage{}
	for i := range rows {
		if id := rows[i].detail; id != "" && rows[i].Result == nil {
			if _, ok := known[id]; !ok {
				known[id] = nil
				ids = append(ids, id)
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	for p, err := range each(ctx, c, func(row scanner) (p pack, err error) { return p, row.Scan(&p.id, &p.body) },
		`SELECT id, body FROM run_details WHERE id = ANY($1)`, ids) {
		if err != nil {
			return err
		}
		if known[p.id], err = unpack(p.body); err != nil {
			return err
		}
	}
	for i := range rows {
		if r := &rows[i]; r.Result == nil {
			r.Result = known[r.detail][r.RunID]
		}
	}
	return nil
}

// PurgeDetails forgets the evidence of routine runs that came in before then.
func (db *DB) PurgeDetails(ctx context.Context, before time.Time) error {
	ms := max(0, before.UnixMilli())
	_, err := db.purge(ctx, `DELETE FROM run_details WHERE id IN (SELECT id FROM run_details WHERE id < $1 ORDER BY id LIMIT `+strconv.Itoa(purgePieceLite)+`)`,
		purgePieceLite, fmt.Sprintf("%08x-%04x-", ms>>16, ms&0xffff))
	return err
}
