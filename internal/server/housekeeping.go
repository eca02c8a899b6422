package server

import (
	"context"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/health"
)

// chore is work that has to be done from time to time. Each is a conditional
// statement, or claims what it works on, so that it does no harm when several cores
// do it.
type chore struct {
	name  string
	every time.Duration
	do    func(context.Context) error

	due time.Time
}

const (
	// settleIn is how long after its start a core begins with chores.
	settleIn = 10 * time.Minute
	// keepAutomationRuns is how long it is known what automations did.
	keepAutomationRuns = 30 * 24 * time.Hour
	// choreTimeout bounds one chore.
	choreTimeout = 30 * time.Minute
	// defaultKeepTransitions is how long it is known what happened to satellites and
	// systems (spec M55).
	defaultKeepTransitions = 90 * 24 * time.Hour
	// defaultKeepAudit is how long it is known who changed what.
	defaultKeepAudit = 400 * 24 * time.Hour
	// keepDeliveries is how long it is known what was sent: longer than any run may wait.
	keepDeliveries = 60 * 24 * time.Hour
)

func (s *Server) chores() []*chore {
	return []*chore{
		{name: "forgetting superseded secrets", every: time.Hour, do: s.secrets.Collect},
		{name: "forgetting old transitions", every: time.Hour, do: func(ctx context.Context) error {
			now, err := s.db.Now(ctx)
			if err != nil {
				return err
			}
			gone, err := s.db.PurgeTransitions(ctx, now.Add(-s.config.KeepTransitions))
			if gone > 0 {
				s.log.Info("old transitions forgotten", "transitions", gone)
			}
			return err
		}},
		{name: "forgetting trials that were left behind", every: time.Minute, do: s.trials.Sweep},
		{name: "forgetting old entries of the audit log", every: time.Hour, do: func(ctx context.Context) error {
			now, err := s.db.Now(ctx)
			if err != nil {
				return err
			}
			_, err = s.db.PurgeAudit(ctx, now.Add(-s.config.KeepAudit))
			return err
		}},
		{name: "forgetting old results", every: 10 * time.Minute, do: s.forgetHistory},
		{name: "forgetting old deliveries", every: time.Hour, do: func(ctx context.Context) error {
			now, err := s.db.Now(ctx)
			if err != nil {
				return err
			}
			return s.db.PurgeDeliveries(ctx, now.Add(-keepDeliveries))
		}},
		{name: "forgetting old eras", every: time.Hour, do: func(ctx context.Context) error {
			now, err := s.db.Now(ctx)
			if err != nil {
				return err
			}
			_, err = s.db.PurgeEras(ctx, now.Add(-s.config.Keep.Runs))
			return err
		}},
		{name: "forgetting old maintenances", every: 24 * time.Hour, do: func(ctx context.Context) error {
			return s.db.ForgetMaintained(ctx, keepMaintained)
		}},
		{name: "forgetting old verdicts", every: time.Hour, do: func(ctx context.Context) error {
			now, err := s.db.Now(ctx)
			if err != nil {
				return err
			}
			_, err = s.db.PurgeVerdicts(ctx, now.Add(-s.config.Keep.Hours))
			return err
		}},
		{name: "forgetting old runs of automations", every: time.Hour, do: func(ctx context.Context) error {
			now, err := s.db.Now(ctx)
			if err != nil {
				return err
			}
			_, err = s.db.PurgeAutomationRuns(ctx, now.Add(-keepAutomationRuns))
			return err
		}},
		{name: "collecting packages", every: 24 * time.Hour, do: func(ctx context.Context) error {
			_, err := s.packages.Collect(ctx)
			if fault.Is(err, fault.Conflict) { // another core is at it
				return nil
			}
			return err
		}},
	}
}

// keepHouse does the chores, one after the other, until ctx ends.
func (s *Server) keepHouse(ctx context.Context) error {
	chores := s.chores()
	for _, c := range chores {
		c.due = time.Now().Add(settleIn)
	}
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		for _, c := range chores {
			if time.Now().Before(c.due) || ctx.Err() != nil {
				continue
			}
			c.due = time.Now().Add(c.every)
			timed, cancel := context.WithTimeout(ctx, choreTimeout)
			if err := c.do(timed); err != nil && ctx.Err() == nil {
				s.log.Error("a chore failed", "chore", c.name, "error", err)
			}
			cancel()
		}
	}
}

// forgetHistory makes room for the days to come, and forgets what is kept no longer.
func (s *Server) forgetHistory(ctx context.Context) error {
	now, err := s.db.Now(ctx)
	if err != nil {
		return err
	}
	keep := s.config.Keep
	if err := s.db.PurgeDetails(ctx, now.Add(-keep.Details)); err != nil {
		return err
	}
	if err := s.db.MakePartitions(ctx, now, keep); err != nil {
		return err
	}
	whole, err := s.roller.Forget(ctx, keep)
	if err != nil || whole == (health.RollupState{}) { // another core is at it
		return err
	}
	return s.db.PurgeHistory(ctx, now.Add(-keep.Runs), whole, health.Day.Bucket(now.Add(-keep.Days)))
}
