package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
)

// defaultLedgerSpan is the window of a question that names none.
const defaultLedgerSpan = 24 * time.Hour

// Span is the window of an answer, which ends now at the latest.
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// CompletenessList is a page of locations, with what they add up to.
type CompletenessList struct {
	Span
	Items      []health.Completeness `json:"items"`
	Totals     health.Fates          `json:"totals" doc:"Of the locations on this page."`
	NextCursor *string               `json:"nextCursor"`
}

// SystemCompleteness is what became of the slots of a system.
type SystemCompleteness struct {
	SystemID string `json:"systemId"`
	System   string `json:"system"`
	Span
	Locations int  `json:"locations" doc:"Where something was due."`
	Exact     bool `json:"exact" doc:"False where results of an original agent were counted by their executed time."`
	health.Fates
}

type systemSpan struct {
	Ref
	From time.Time `query:"from" doc:"Slots from then on (RFC 3339); a day before to when it is left out."`
	To   time.Time `query:"to" doc:"Slots before then (RFC 3339); now when it is left out."`
}

func (a *API) addCompleteness() {
	route(a, http.MethodGet, "/completeness", "list-completeness", "What became of every slot that was due, by location", func(ctx context.Context, in *RunQuery) (*answer[CompletenessList], error) {
		filter, err := a.ledgerFilter(ctx, in)
		if err != nil {
			return nil, err
		}
		items, w, next, err := a.Ledger.Completeness(ctx, filter, in.page())
		if err != nil {
			return nil, inQuery(err)
		}
		out := &answer[CompletenessList]{}
		out.Body.Span = Span{w.From, w.To}
		out.Body.Items = append([]health.Completeness{}, items...) // never null
		for i := range items {
			out.Body.Totals.Add(&items[i].Fates)
		}
		if len(items) == 0 {
			out.Body.Totals.Add(&health.Fates{})
		}
		if next != "" {
			out.Body.NextCursor = &next
		}
		return out, nil
	})
	route(a, http.MethodGet, "/systems/{id}/completeness", "get-system-completeness", "What became of every slot of a system that was due", func(ctx context.Context, in *systemSpan) (*answer[SystemCompleteness], error) {
		s, err := a.Catalog.System(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		filter, err := a.ledgerFilter(ctx, &RunQuery{System: s.ID, From: in.From, To: in.To})
		if err != nil {
			return nil, err
		}
		out := SystemCompleteness{SystemID: s.ID, System: s.Name, Exact: true}
		out.Fates.Add(&health.Fates{})
		page := fleet.Page{Limit: 1000}
		for {
			items, w, next, err := a.Ledger.Completeness(ctx, filter, page)
			if err != nil {
				return nil, err
			}
			filter.To = w.To // of all pages the same
			out.Span = Span{w.From, w.To}
			for i := range items {
				out.Locations++
				out.Exact = out.Exact && items[i].Exact
				out.Fates.Add(&items[i].Fates)
			}
			if next == "" {
				return answered(out, nil)
			}
			page.Cursor = next
		}
	})
	route(a, http.MethodGet, "/eras", "list-eras", "What was due where and when, in the order in which it began", func(ctx context.Context, in *RunQuery) (*answer[List[health.Era]], error) {
		filter, err := a.runFilter(ctx, in)
		if err != nil {
			return nil, err
		}
		return listed(a.Records.Eras(ctx, filter, in.page()))
	})
}

// ledgerFilter is the filter with a window of a length that can be counted.
func (a *API) ledgerFilter(ctx context.Context, in *RunQuery) (health.RunFilter, error) {
	f, err := a.runFilter(ctx, in)
	if err != nil {
		return f, err
	}
	if f.To.IsZero() {
		if f.To, err = a.Records.Now(ctx); err != nil {
			return f, err
		}
	}
	if f.From.IsZero() {
		f.From = f.To.Add(-defaultLedgerSpan)
	}
	f.From, f.To = f.From.UTC(), f.To.UTC()
	invalid := func(path, message string) error {
		return &fault.Error{Kind: fault.Invalid, Message: "the window is not valid", Fields: []fault.Field{{Path: path, Message: message}}}
	}
	switch {
	case !f.To.After(f.From):
		return f, invalid("query.from", "must be before to")
	case f.To.Sub(f.From) > health.MaxLedgerSpan:
		return f, invalid("query.from", "the window is longer than 31 days: ask for its parts")
	}
	return f, nil
}
