package storetest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/store"
	"github.com/perigee-monitoring/perigee/verdict"
)

// testOpinions: what waits is given to one core, decided by one, and known of its seats.
func testOpinions(t *testing.T, s *suite) {
	w := s.world("1")
	now := s.now()
	o := health.CheckOpinion{SystemID: w.system.ID, CheckID: w.check.ID, Opinion: verdict.Opinion{
		ID: newID(), State: verdict.OpinionHeld, Before: verdict.Judgement{Status: check.Healthy, Class: verdict.ClassNone}, Domain: "region", Ask: 2,
		Suspects: []verdict.Suspect{{SatelliteID: w.satellite.ID, Satellite: w.satellite.Name, Domain: "eu"}}, HeldAt: now, Deadline: now.Add(-time.Second), Answers: []verdict.Answer{},
	}}
	s.tx(func(tx *store.Tx) error { return tx.PutOpinions(s.ctx(), []health.CheckOpinion{o}) })
	s.same(o.ID, must(s.db.Seats(s.ctx(), []string{w.system.ID}))(s)[0].Opinion.ID)
	s.same(1, must(s.db.CountOpinions(s.ctx()))(s))

	var claimed, decided atomic.Int64
	var cores sync.WaitGroup
	for range 3 {
		cores.Go(func() {
			got, err := s.db.ClaimOpinions(t.Context(), "core", 10)
			if err != nil {
				t.Error(err)
			}
			claimed.Add(int64(len(got)))
		})
	}
	cores.Wait()
	s.same(int64(1), claimed.Load())
	due := must(s.db.DueOpinions(s.ctx(), "another"))(s) // its deadline has passed
	s.same(1, len(due))
	s.same(verdict.OpinionAsked, due[0].State)

	for range 2 {
		s.tx(func(tx *store.Tx) error {
			due[0].State, due[0].Again = verdict.OpinionDecided, &now
			mine, err := tx.DecideOpinion(s.ctx(), due[0])
			if mine {
				decided.Add(1)
			}
			return err
		})
	}
	s.same(int64(1), decided.Load())
	s.same(1, len(must(s.db.DueOpinions(s.ctx(), "another"))(s))) // to be asked about anew
	s.tx(func(tx *store.Tx) error { return tx.DropOpinions(s.ctx(), []string{o.ID}) })
	s.same((*verdict.Opinion)(nil), must(s.db.Seats(s.ctx(), []string{w.system.ID}))(s)[0].Opinion)
}
