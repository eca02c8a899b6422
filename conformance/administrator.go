package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Administrator does at a core, and sees of it, what no agent can. What it makes is
// nobody else's, and its to take away when the suite is done.
type Administrator interface {
	// Enrol makes a satellite.
	Enrol(ctx context.Context) (Satellite, error)
	// Rotate gives the satellite another token, and ends the one that it had.
	Rotate(ctx context.Context, satellite string) (token string, err error)
	// Remove deletes the satellite.
	Remove(ctx context.Context, satellite string) error
	// Connection is how the core has it that the satellite is connected.
	Connection(ctx context.Context, satellite string) (Connection, error)
	// Results are those that are stored of the satellite, the newest hundred at least.
	Results(ctx context.Context, satellite string) ([]Stored, error)

	// Assign makes a check of a page and a system, and gives the one of the other to the
	// satellite. The check has one collector, healthcheck-http.request, with two
	// assertions: the statusCode equals 200, and the body contains "all is well".
	Assign(ctx context.Context, satellite string, intervalSeconds int) (Assigned, error)
	// AssignScript does the same with a check of one collector, a script, to which a secret
	// of that value is given in the environment variable.
	AssignScript(ctx context.Context, satellite, variable, value string) (Assigned, error)
	// Alter gives the check another interval.
	Alter(ctx context.Context, a Assigned, intervalSeconds int) error
	// Withdraw takes the check of the system from the satellite. There still are both.
	Withdraw(ctx context.Context, a Assigned) error

	// InstallPackage makes sure that a script package is allowed and installed, and names
	// it. It returns when the installation is done; NotChecked says why there can be none.
	// Packages that are somebody else's stay as they are: then it names one of those.
	InstallPackage(ctx context.Context) (Package, error)
	// RemovePackage takes away what InstallPackage added, and installs what is left. It
	// returns when that is done; NotChecked says that what there is is somebody else's.
	RemovePackage(ctx context.Context) error
	// PackageState is what the core keeps of what the satellite said of its packages.
	PackageState(ctx context.Context, satellite string) (PackageState, error)
}

// Satellite is one that an administrator made.
type Satellite struct{ ID, Token, Name, Region string }

// Assigned is a check of a system that an administrator gave to a satellite.
type Assigned struct {
	ConfigID, ConfigName string
	SystemID, SystemName string
}

// Connection is what a core keeps of a satellite's connection.
type Connection struct {
	// Edge is the last one: connected, disconnected, heartbeat_lost, or "" when there was
	// none yet.
	Edge   string
	Online bool
	// Heard is when it was last heard of; zero is null.
	Heard        time.Time
	Version      string
	Capabilities []string
}

// Stored is a result as the core keeps it.
type Stored struct {
	ConfigID, SystemID string
	Status             string
	LatencyMs          int64
	// Source is the label of where it came from.
	Source string
	// Detail is what is kept of the result's own result, as text.
	Detail string
}

// Package is a script package that is installed.
type Package struct {
	Name, Version string
	// LockfileHash is of the tree that satellites should have, which it is part of.
	LockfileHash string
}

// PackageState is how far a satellite is with its packages. It has no Status when the
// satellite did not say anything yet.
type PackageState struct{ LockfileHash, Status string }

// hour is the interval of what is assigned, in seconds: nobody runs it.
const hour = 3600

// administered runs a case with somebody who administers the core.
func administered(run func(*administration) error) func(context.Context, Target) error {
	return func(ctx context.Context, t Target) error {
		if t.Administrator == nil {
			return NotChecked("nobody administers the core")
		}
		return run(&administration{Administrator: t.Administrator, ctx: ctx, target: t})
	}
}

// enrolled runs a case with a satellite of its own.
func enrolled(run func(*administration, Satellite) error) func(context.Context, Target) error {
	return administered(func(ad *administration) error {
		s, err := ad.Enrol(ad.ctx)
		if err != nil {
			return fmt.Errorf("making a satellite: %w", err)
		}
		return run(ad, s)
	})
}

// given runs a case with a satellite of its own that is connected and has been given
// something.
func given(run func(*administration, Satellite, Assigned, *agent) error) func(context.Context, Target) error {
	return enrolled(func(ad *administration, s Satellite) error {
		as, err := ad.assign(s)
		if err != nil {
			return err
		}
		a, welcome, err := ad.connect(s)
		if err != nil {
			return err
		}
		defer a.hangUp()
		if err := only(welcome, as); err != nil {
			return fmt.Errorf("authenticated: %w", err)
		}
		ad.told = find(welcome, as)
		return run(ad, s, as, a)
	})
}

// administration is one case's use of the administrator.
type administration struct {
	Administrator
	ctx    context.Context //nolint:containedctx // of the case, whose life is this
	target Target
	told   message // as what was given is told when the satellite connects
}

func (ad *administration) assign(s Satellite) (Assigned, error) {
	as, err := ad.Assign(ad.ctx, s.ID, hour)
	if err != nil {
		return as, fmt.Errorf("assigning: %w", err)
	}
	return as, nil
}

// foreign is something that another satellite was given.
func (ad *administration) foreign() (Satellite, Assigned, error) {
	s, err := ad.Enrol(ad.ctx)
	if err != nil {
		return s, Assigned{}, fmt.Errorf("making another satellite: %w", err)
	}
	as, err := ad.assign(s)
	return s, as, err
}

// dial opens a connection for the satellite.
func (ad *administration) dial(s Satellite) (*agent, error) {
	t := ad.target
	t.ID, t.Token = s.ID, s.Token
	return dial(ad.ctx, t)
}

// connect opens one and authenticates.
func (ad *administration) connect(s Satellite) (*agent, message, error) {
	a, err := ad.dial(s)
	if err != nil {
		return nil, nil, err
	}
	welcome, err := a.enter()
	if err != nil {
		a.hangUp()
		return nil, nil, err
	}
	return a, welcome, nil
}

// refused expects that the satellite is not let in any more.
func (ad *administration) refused(s Satellite) error {
	a, err := ad.dial(s)
	if err != nil {
		return err
	}
	defer a.hangUp()
	if err := a.send(`{"type":"authenticate","clientId":%q,"token":%q}`, s.ID, s.Token); err != nil {
		return err
	}
	return a.refused("Invalid client ID or token")
}

// until waits for something that is looked at again and again.
func (ad *administration) until(look func() error) error {
	deadline := time.Now().Add(ad.target.Patience)
	for {
		err := look()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ad.ctx.Done():
			return ad.ctx.Err()
		}
	}
}

// connection is the satellite's, said to be wrong if wrong says why.
func (ad *administration) connection(s Satellite, wrong func(Connection) string) error {
	c, err := ad.Connection(ad.ctx, s.ID)
	if err != nil {
		return fmt.Errorf("asking for the satellite: %w", err)
	}
	if why := wrong(c); why != "" {
		return fmt.Errorf("%s: the core has %+v", why, c)
	}
	return nil
}

// stored waits until the last one is stored, which was sent after what must not be.
func (ad *administration) stored(s Satellite, last Assigned, dropped ...Assigned) error {
	var all []Stored
	is := func(as Assigned) bool {
		return slices.ContainsFunc(all, func(r Stored) bool { return r.ConfigID == as.ConfigID && r.SystemID == as.SystemID })
	}
	err := ad.until(func() (err error) {
		if all, err = ad.Results(ad.ctx, s.ID); err != nil {
			return fmt.Errorf("asking for results: %w", err)
		}
		if !is(last) {
			return errors.New("the result of what is assigned was not stored")
		}
		return nil
	})
	if err == nil && slices.ContainsFunc(dropped, is) {
		err = fmt.Errorf("a result was stored that had to be dropped: %+v", all)
	}
	return err
}

// tell sends a result of what is assigned.
func (a *agent) tell(as Assigned, at string) error {
	return a.send(`{"type":"result","configId":%q,"systemId":%q,"status":"degraded","latencyMs":42,"executedAt":%q}`, as.ConfigID, as.SystemID, at)
}

// find is what a message says of what is assigned; nil is nothing.
func find(m message, as Assigned) message {
	list, _ := m["assignments"].([]any)
	for _, item := range list {
		if one, _ := item.(map[string]any); message(one).text("configId") == as.ConfigID && message(one).text("systemId") == as.SystemID {
			return one
		}
	}
	return nil
}

// has expects it among the assignments of a message.
func has(m message, as Assigned) error {
	if find(m, as) == nil {
		return fmt.Errorf("%s of %s is not among the assignments %v", as.ConfigID, as.SystemID, m["assignments"])
	}
	return nil
}

// only expects those, and no others.
func only(m message, want ...Assigned) error {
	list, isList := m["assignments"].([]any)
	if !isList || len(list) != len(want) {
		return fmt.Errorf("the assignments are %v, want %d", m["assignments"], len(want))
	}
	for _, as := range want {
		if err := has(m, as); err != nil {
			return err
		}
	}
	return nil
}

// updated waits for a push that fits.
func (a *agent) updated(fits func(message) error) error {
	var last error
	for {
		m, err := a.next("config_updated")
		if err != nil {
			return errors.Join(err, last)
		}
		if last = fits(m); last == nil {
			return nil
		}
	}
}
