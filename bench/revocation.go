package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// revoked is how many satellites lose their sessions.
const revoked = 200

// revocation measures from the call that rotates a token, or deletes a satellite, at one
// core until the session that another core holds has ended.
func revocation(ctx context.Context, s settings, binary, engine string) (figures []figure, err error) {
	if engine == "sqlite" {
		return nil, nil // one core for each file
	}
	c, err := startCoreOn(ctx, binary, engine, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	other, err := c.sibling(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, other.stop()) }()
	f, err := enroll(ctx, c, min(revoked, s.satellites))
	if err != nil {
		return nil, err
	}
	f.url = other.socket()
	defer f.disconnect()
	ended := make(chan arrival, 2*len(f.satellites))
	for _, sat := range f.satellites {
		sat.ended.Store(&ended)
	}
	if err := f.connect(ctx, s); err != nil {
		return nil, err
	}
	took := map[bool][]time.Duration{}
	for i, sat := range f.satellites {
		deleted := i%2 == 1
		began := time.Now()
		if deleted {
			err = c.call(ctx, http.MethodDelete, "/api/v1/satellites/"+sat.id, nil, nil)
		} else {
			err = c.call(ctx, http.MethodPost, "/api/v1/satellites/"+sat.id+"/rotate-token", nil, nil)
		}
		if err != nil {
			return nil, err
		}
		got, err := next(ctx, ended)
		if err != nil {
			return nil, fmt.Errorf("the session of satellite %d: %w", i, err)
		}
		if got.satellite != sat {
			return nil, fmt.Errorf("the session of %s ended, want that of %s", got.satellite.id, sat.id)
		}
		took[deleted] = append(took[deleted], got.at.Sub(began))
	}
	for _, kind := range []struct {
		deleted bool
		what    string
	}{{false, "token rotated at one core → session at another ended, p99"}, {true, "satellite deleted at one core → session at another ended, p99"}} {
		all := took[kind.deleted]
		slices.Sort(all)
		figures = append(figures, figure{
			what: kind.what, reached: ms(all[len(all)*99/100]), unit: "ms", bar: 1000, less: true,
			note: fmt.Sprintf("two cores, %d satellites, p50 %.0f ms", len(all), ms(all[len(all)/2])),
		})
	}
	return figures, nil
}
