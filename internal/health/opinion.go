package health

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/protocol"
	"github.com/perigee-monitoring/perigee/verdict"
)

// TopicOpinion is rung when verdicts wait for a second opinion.
const TopicOpinion = "opinion"

const (
	// opinionsAtOnce is how many verdicts may wait for others at once. Beyond, they
	// change on the word that there is, and say so.
	opinionsAtOnce = 256
	// askedAtOnce is how many runs one satellite is asked for at once.
	askedAtOnce = 16
	// longestWait bounds how long a verdict is held, and returnWait how much of it is for
	// others to connect, who were a moment ago and may be asked: a core has just started.
	longestWait = 30 * time.Second
	returnWait  = 10 * time.Second
	// opinionPoll is how often is looked without a bell, and opinionRest how long is
	// rested between two looks, so that answers that come one by one are taken together.
	opinionPoll = 500 * time.Millisecond
	opinionRest = 10 * time.Millisecond
	// placesFor is how long is remembered which satellites there are, at least,
	// placesRest how many times as long as it took to read them, and placesMost at most:
	// who came since is not asked.
	placesFor  = 250 * time.Millisecond
	placesRest = 20
	placesMost = 2 * time.Second
	// askAgain is after how long others are asked anew, at least, and askAgainAfter in
	// intervals of the check.
	askAgain      = time.Minute
	askAgainAfter = 5
	// opinionNever is the label by which an operator forbids that a satellite is asked.
	opinionNever, never = "opinion", "never"
)

// CheckOpinion is the second opinion on a check of a system in one environment.
type CheckOpinion struct {
	SystemID      string
	CheckID       string
	EnvironmentID string
	Holder        string // the core that asks
	verdict.Opinion
}

// OpinionStore is what second opinions read, and claim, outside of transactions.
type OpinionStore interface {
	OpinionPlaces(ctx context.Context) ([]fleet.RunPlace, error)
	ClaimOpinions(ctx context.Context, holder string, limit int) ([]CheckOpinion, error)
	DueOpinions(ctx context.Context, holder string) ([]CheckOpinion, error)
	CountOpinions(ctx context.Context) (int, error)
	Seats(ctx context.Context, systemIDs []string) ([]Seat, error)
	Now(ctx context.Context) (time.Time, error)
}

// OpinionTx is what they do inside a transaction.
type OpinionTx interface {
	PutOpinions(ctx context.Context, rows []CheckOpinion) error
	// DecideOpinion and ReopenOpinion report false when somebody else was quicker.
	DecideOpinion(ctx context.Context, o CheckOpinion) (bool, error)
	ReopenOpinion(ctx context.Context, id string, next CheckOpinion) (bool, error)
	DropOpinions(ctx context.Context, ids []string) error
	// OpinionsOf are those on checks of the systems.
	OpinionsOf(ctx context.Context, systemIDs []string) ([]CheckOpinion, error)
}

// RunOrders asks for runs; *fleet.RunRequests is one.
type RunOrders interface {
	Order(ctx context.Context, o fleet.RunOrder) (string, error)
	Get(ctx context.Context, requestID string) ([]fleet.RunRequest, error)
}

// Opinions asks other satellites before a verdict becomes worse on the word of places
// that may fail together. What waits is a row: if this core ends, another decides when
// the deadline has passed.
type Opinions struct {
	store    OpinionStore
	recorder *entity.Recorder
	orders   RunOrders
	log      *slog.Logger
	rings    <-chan struct{}
	holder   string

	places atomic.Pointer[[]fleet.RunPlace]
	stale  time.Time // when places are read anew; owned by Run
	// open is about how many wait: counted now and then, and added to in between.
	open atomic.Int64
	// wanted: a transaction made some that wait; tell rings for them after its commit.
	wanted atomic.Bool
	// load is how many runs each satellite was asked for by verdicts that wait here.
	load  map[string]int
	seed  maphash.Seed
	began time.Time // when this core did
}

// NewOpinions makes the service; rings should ring for TopicOpinion and
// fleet.TopicAnswer.
func NewOpinions(store OpinionStore, recorder *entity.Recorder, orders RunOrders, log *slog.Logger, rings <-chan struct{}) *Opinions {
	return &Opinions{
		store: store, recorder: recorder, orders: orders, log: log, rings: rings,
		holder: uuid.NewString(), load: map[string]int{}, seed: maphash.MakeSeed(), began: time.Now(),
	}
}

// hold looks at what is about to be judged, in the transaction that judges, and lets
// verdicts wait that are about to become worse on the word of one failure domain. It
// asks nobody and waits for nothing. before gives the verdict that holds now. The
// seats get the opinions that are made.
func (o *Opinions) hold(ctx context.Context, tx OpinionTx, seats []Seat, before func(*Seat) verdict.Judgement, now time.Time) error {
	if o == nil {
		return nil
	}
	var put []CheckOpinion
	var drop []string
	for _, of := range together(seats) {
		next, useless := o.consider(of, before, now)
		if useless {
			drop = append(drop, of[0].Opinion.ID)
		}
		if next != nil {
			put = append(put, *next)
		}
		for _, s := range of {
			switch {
			case next != nil:
				s.Opinion = &next.Opinion
			case useless:
				s.Opinion = nil
			}
		}
	}
	if len(drop) > 0 {
		if err := tx.DropOpinions(ctx, drop); err != nil {
			return err
		}
	}
	if len(put) == 0 {
		return nil
	}
	o.wanted.Store(true)
	return tx.PutOpinions(ctx, put)
}

// dropOpinions takes away the opinions on checks that are run nowhere any more: what
// others said long ago must not decide when they are run again.
func dropOpinions(ctx context.Context, tx OpinionTx, gone []judgedKey) error {
	if len(gone) == 0 {
		return nil
	}
	left, systems := make(map[judgedKey]bool, len(gone)), map[string]bool{}
	for _, k := range gone {
		left[k], systems[k.systemID] = true, true
	}
	all, err := tx.OpinionsOf(ctx, sortedKeys(systems))
	if err != nil {
		return err
	}
	var ids []string
	for i := range all {
		if left[judgedKey{all[i].SystemID, all[i].CheckID, all[i].EnvironmentID}] {
			ids = append(ids, all[i].ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return tx.DropOpinions(ctx, ids)
}

// tell rings for what hold made; to be called after the commit.
func (o *Opinions) tell() {
	if o != nil && o.wanted.Swap(false) {
		o.recorder.Ring(TopicOpinion)
	}
}

// judgementsOf gives what the verdict on a seat's check says that holds now.
func judgementsOf(holding []verdict.Verdict) func(*Seat) verdict.Judgement {
	by := make(map[judgedKey]*verdict.Verdict, len(holding)) // many may become worse at once
	for i := range holding {
		by[keyOf(&holding[i])] = &holding[i]
	}
	return func(s *Seat) verdict.Judgement {
		if v := by[judgedKey{s.SystemID, s.CheckID, s.EnvironmentID}]; v != nil {
			return verdict.Judgement{Status: v.Status, Reason: v.Reason, Class: v.Class}
		}
		return verdict.Judgement{Status: check.Unknown, Reason: "waiting for the first result", Class: verdict.ClassNone}
	}
}

// together are the seats of each check in each environment.
func together(seats []Seat) [][]*Seat {
	type key struct{ systemID, checkID, environmentID string }
	by := map[key][]*Seat{}
	var keys []key
	for i := range seats {
		s := &seats[i]
		k := key{s.SystemID, s.CheckID, s.EnvironmentID}
		if by[k] == nil {
			keys = append(keys, k)
		}
		by[k] = append(by[k], s)
	}
	all := make([][]*Seat, len(keys))
	for i, k := range keys {
		all[i] = by[k]
	}
	return all
}

// consider says what becomes of the opinion on a check: a new one, or that the one
// which there is has become useless.
func (o *Opinions) consider(seats []*Seat, before func(*Seat) verdict.Judgement, now time.Time) (next *CheckOpinion, useless bool) {
	first := seats[0]
	said := voices(seats)
	judged := verdict.Judge(first.Policy, said, now)
	accusers := verdict.Accusers(said, now)
	settings := first.Policy.WithDefaults().SecondOpinion
	held := first.Opinion != nil
	if held && !settings.Off && len(accusers) == 0 && first.Opinion.Silent(said, now) {
		return nil, false // it counts again when they are heard of
	}
	if settings.Off || len(accusers) == 0 || judged.Status != check.Degraded && judged.Status != check.Unhealthy {
		return nil, held
	}
	if held && first.Opinion.Covers(accusers) {
		return nil, false
	}
	was := before(first)
	if was.Status == judged.Status || check.Worst(was.Status, judged.Status) != judged.Status {
		return nil, held // it becomes no worse
	}
	suspects := o.suspects(accusers, settings.Domain)
	if !o.othersThan(suspects, seats, settings.Domain) {
		return nil, held // several domains say so, or there is nobody to ask
	}
	next = newOpinion(first, was, settings, suspects, accusers, now)
	if o.returning(suspects, settings.Domain) {
		next.Deadline = now.Add(min(next.Deadline.Sub(now)+returnWait, longestWait))
	}
	if o.open.Add(1) > opinionsAtOnce {
		o.open.Add(-1)
		next.State, next.DecidedAt = verdict.OpinionDecided, &now
		next.None = fmt.Sprintf("more than %d verdicts wait for one", opinionsAtOnce)
		next.Again = again(first, now)
	}
	return next, false
}

func newOpinion(of *Seat, before verdict.Judgement, settings check.SecondOpinion, suspects []verdict.Suspect, accusers []*verdict.Seat, now time.Time) *CheckOpinion {
	// Others may take as long as the run that failed.
	wait := time.Duration(settings.Wait)
	for _, a := range accusers {
		if a.LatencyMs != nil {
			wait = max(wait, time.Duration(settings.Wait)+time.Duration(*a.LatencyMs)*time.Millisecond)
		}
	}
	return &CheckOpinion{
		SystemID: of.SystemID, CheckID: of.CheckID, EnvironmentID: of.EnvironmentID,
		Opinion: verdict.Opinion{
			ID: uuid.Must(uuid.NewV7()).String(), State: verdict.OpinionHeld, Before: before,
			Domain: settings.Domain, Ask: settings.Ask, Suspects: suspects, HeldAt: now, Deadline: now.Add(min(wait, longestWait)),
			Answers: []verdict.Answer{},
		},
	}
}

// again is when others are asked anew about a check that only its suspects find bad.
func again(of *Seat, now time.Time) *time.Time {
	return new(now.Add(max(askAgain, askAgainAfter*time.Duration(of.Interval))))
}

// Run asks and decides until ctx ends.
func (o *Opinions) Run(ctx context.Context) error {
	poll := time.NewTicker(opinionPoll)
	defer poll.Stop()
	for {
		if err := o.look(ctx); err != nil && ctx.Err() == nil {
			o.log.Error("asking for second opinions failed", "error", err)
		}
		rest := time.NewTimer(opinionRest)
		select {
		case <-ctx.Done():
			rest.Stop()
			return nil
		case <-rest.C:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-o.rings:
		case <-poll.C:
		}
	}
}

func (o *Opinions) look(ctx context.Context) error {
	if began := time.Now(); !began.Before(o.stale) {
		places, err := o.store.OpinionPlaces(ctx)
		if err != nil {
			return fmt.Errorf("reading who can be asked: %w", err)
		}
		o.places.Store(&places)
		n, err := o.store.CountOpinions(ctx)
		if err != nil {
			return fmt.Errorf("counting what waits: %w", err)
		}
		o.open.Store(int64(n))
		o.stale = time.Now().Add(min(max(placesFor, placesRest*time.Since(began)), placesMost))
	}
	claimed, err := o.store.ClaimOpinions(ctx, o.holder, opinionsAtOnce)
	if err != nil {
		return fmt.Errorf("taking what waits: %w", err)
	}
	for i := range claimed {
		if err := o.ask(ctx, &claimed[i], false); err != nil {
			// At its deadline it is decided all the same.
			o.log.Warn("nobody could be asked", "system", claimed[i].SystemID, "check", claimed[i].CheckID, "error", err)
		}
	}
	due, err := o.store.DueOpinions(ctx, o.holder)
	if err != nil {
		return fmt.Errorf("reading what is to be decided: %w", err)
	}
	now, err := o.store.Now(ctx)
	if err != nil {
		return err
	}
	o.load = map[string]int{}
	for i := range due {
		if err := o.settle(ctx, &due[i], now); err != nil {
			o.log.Warn("a second opinion could not be settled; trying again", "system", due[i].SystemID, "check", due[i].CheckID, "error", err)
		}
	}
	return nil
}

// ask chooses who is asked and orders the runs. With nobody to ask it decides, unless
// somebody may be back before the deadline.
func (o *Opinions) ask(ctx context.Context, op *CheckOpinion, late bool) error {
	chosen, none := o.choose(ctx, op)
	if len(chosen) == 0 {
		if !late && o.returning(op.Suspects, op.Domain) {
			return nil
		}
		op.None = none
		return o.decide(ctx, op)
	}
	ids := make([]string, len(chosen))
	for i, p := range chosen {
		ids[i] = p.SatelliteID
		o.load[p.SatelliteID]++
	}
	_, err := o.orders.Order(ctx, fleet.RunOrder{
		ID: op.ID, Pair: protocol.Pair{ConfigID: op.CheckID, SystemID: op.SystemID}, Environment: op.EnvironmentID,
		Satellites: ids, By: "core", Asked: fleet.AskedForOpinion,
	})
	if err != nil {
		op.None = "nobody could be asked: " + err.Error()
		return o.decide(ctx, op)
	}
	return nil
}

// settle decides when all have answered, one confirms, or the deadline has passed, and
// asks anew when that is due.
func (o *Opinions) settle(ctx context.Context, op *CheckOpinion, now time.Time) error {
	if op.State == verdict.OpinionDecided {
		return o.reopen(ctx, op, now)
	}
	late := !now.Before(op.Deadline)
	asked, err := o.orders.Get(ctx, op.ID)
	if err != nil {
		switch {
		case !fault.Is(err, fault.NotFound):
			return err // ours; it is looked at again
		case op.Holder == o.holder:
			return o.ask(ctx, op, late) // who may be asked was not connected
		case !late:
			return nil // it is being asked about
		}
		op.None = cmp.Or(op.None, "the core that was to ask others ended")
		return o.decide(ctx, op)
	}
	waiting := 0
	op.Answers = op.Answers[:0]
	for i := range asked {
		if !asked[i].State.Over() {
			waiting++
			o.load[asked[i].SatelliteID]++
		}
		op.Answers = append(op.Answers, o.answer(&asked[i], op))
	}
	if waiting > 0 && !late && !op.Confirmed(check.Policy{}) {
		return nil
	}
	for i := range op.Answers {
		if a := &op.Answers[i]; !asked[i].State.Over() {
			a.Void = "no answer in time"
			if !late {
				a.Void = "not waited for"
			}
		}
	}
	return o.decide(ctx, op)
}

// answer is what became of one run that was asked for.
func (o *Opinions) answer(r *fleet.RunRequest, op *CheckOpinion) verdict.Answer {
	a := verdict.Answer{SatelliteID: r.SatelliteID, Satellite: r.Satellite, Domain: r.Region}
	if op.Domain != "region" {
		a.Domain = ""
		if p := o.known()[r.SatelliteID]; p != nil {
			a.Domain = domainOf(p, op.Domain)
		}
	}
	switch {
	case !r.State.Over():
		a.Void = "no answer yet"
	case r.State != fleet.RunDone || len(r.Answers) == 0:
		a.Void = cmp.Or(r.Reason, "it was not connected")
	default:
		said := r.Answers[0]
		a.RunID, a.Status, a.LatencyMs, a.Message, a.ReceivedAt = said.RunID, said.Status, said.LatencyMs, said.Message, &said.ReceivedAt
		switch {
		case said.Inconclusive != "":
			a.Void = "it is ill itself: " + said.Inconclusive
		case strings.HasPrefix(said.Message, notCarriedOut):
			a.Void = said.Message
		}
	}
	return a
}

// notCarriedOut begins the message of a run that found out nothing about its target.
const notCarriedOut = "Check not carried out"

// decide writes the decision down and judges by it, in one transaction and on one core.
func (o *Opinions) decide(ctx context.Context, op *CheckOpinion) error {
	known := o.known()
	for i := range op.Suspects {
		if p := known[op.Suspects[i].SatelliteID]; p != nil && p.Ill {
			op.Suspects[i].Ill = "as it says itself"
		}
	}
	err := entity.Record(ctx, o.recorder, func(tx Tx) ([]entity.Change, error) {
		if _, _, err := lockToJudge(ctx, tx, []string{op.SystemID}); err != nil {
			return nil, err
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return nil, err
		}
		op.State, op.DecidedAt, op.Again = verdict.OpinionDecided, &now, nil
		seats, err := o.seatsOf(ctx, tx, op)
		if err != nil {
			return nil, err
		}
		if len(seats) == 0 { // the check is not run there any more
			return nil, tx.DropOpinions(ctx, []string{op.ID})
		}
		if !op.Confirmed(seats[0].Policy) {
			op.Again = again(seats[0], now)
		}
		mine, err := tx.DecideOpinion(ctx, *op)
		if err != nil || !mine {
			return nil, err
		}
		return judgeSystems(ctx, tx, []string{op.SystemID}, o)
	})
	if err != nil {
		return fmt.Errorf("deciding on a second opinion: %w", err)
	}
	o.tell()
	return nil
}

// seatsOf are the seats of the check that the opinion is about.
func (o *Opinions) seatsOf(ctx context.Context, tx Tx, op *CheckOpinion) ([]*Seat, error) {
	seats, err := tx.Seats(ctx, []string{op.SystemID})
	if err != nil {
		return nil, err
	}
	var of []*Seat
	for i := range seats {
		if s := &seats[i]; s.CheckID == op.CheckID && s.EnvironmentID == op.EnvironmentID {
			of = append(of, s)
		}
	}
	return of, nil
}

// voices are the seats as package verdict knows them.
func voices(seats []*Seat) []verdict.Seat {
	all := make([]verdict.Seat, len(seats))
	for i, s := range seats {
		all[i] = s.Place()
	}
	return all
}

// reopen asks anew about a check that only its suspects find bad: the fault may lie
// elsewhere by now. Meanwhile the verdict stays as it is.
func (o *Opinions) reopen(ctx context.Context, op *CheckOpinion, now time.Time) error {
	if o.open.Load() >= opinionsAtOnce || o.returning(op.Suspects, op.Domain) || o.gathering(op.Suspects, op.Domain) {
		return nil // later
	}
	err := entity.Record(ctx, o.recorder, func(tx Tx) ([]entity.Change, error) {
		if _, _, err := lockToJudge(ctx, tx, []string{op.SystemID}); err != nil {
			return nil, err
		}
		seats, err := o.seatsOf(ctx, tx, op)
		if err != nil {
			return nil, err
		}
		if len(seats) == 0 { // the check is not run there any more
			return nil, tx.DropOpinions(ctx, []string{op.ID})
		}
		if len(verdict.Accusers(voices(seats), now)) == 0 { // nobody accuses now
			later := *op
			later.Again = again(seats[0], now)
			_, err := tx.ReopenOpinion(ctx, op.ID, later)
			return nil, err
		}
		holding, err := tx.Verdicts(ctx, []string{op.SystemID})
		if err != nil {
			return nil, err
		}
		next := *op
		wait := op.Deadline.Sub(op.HeldAt)
		if op.Answered() { // else what was said before is still the last word
			next.Earlier = op.Answers
		}
		next.ID, next.State, next.Holder = uuid.Must(uuid.NewV7()).String(), verdict.OpinionHeld, ""
		next.HeldAt, next.Deadline, next.Answers, next.None, next.DecidedAt, next.Again = now, now.Add(wait), []verdict.Answer{}, "", nil, nil
		for _, v := range holding {
			if v.CheckID == op.CheckID && v.EnvironmentID == op.EnvironmentID {
				next.Before = verdict.Judgement{Status: v.Status, Reason: v.Reason, Class: v.Class}
			}
		}
		mine, err := tx.ReopenOpinion(ctx, op.ID, next)
		if err != nil || !mine {
			return nil, err
		}
		return judgeSystems(ctx, tx, []string{op.SystemID}, o)
	})
	if err == nil {
		o.open.Add(1)
		o.recorder.Ring(TopicOpinion)
	}
	return err
}
