package trial

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/secret"
	"github.com/perigee-monitoring/perigee/protocol"
)

const (
	// Deadline bounds the run of a trial, and patience its whole way there and back.
	Deadline = 20 * time.Second
	patience = 25 * time.Second
	// Leftover is how long rows may stay whose core has ended.
	Leftover = time.Minute
	// poll is how often is looked without a bell.
	poll = 500 * time.Millisecond
	// One core tries so many in a second, so many at once after a while of quiet, and so
	// many side by side.
	perSecond = 2
	burst     = 20
	atOnce    = 16
)

// cannotOpen is the answer of a core that cannot open the question, and so cannot seal.
const cannotOpen = "!"

// Row is a trial that waits in the database, sealed.
type Row struct {
	ID          string
	SatelliteID string
	Question    string
}

// Store keeps trials while they are under way.
type Store interface {
	// RunPlaces as fleet.RunRequestStore has it.
	RunPlaces(ctx context.Context, pair protocol.Pair, satellites []string) ([]fleet.RunPlace, error)
	InsertTrial(ctx context.Context, r Row) error
	// ClaimTrials takes the waiting trials of these satellites; each is given to one
	// caller only.
	ClaimTrials(ctx context.Context, satelliteIDs []string) ([]Row, error)
	AnswerTrial(ctx context.Context, id, answer string) error
	// TrialAnswer is "" as long as there is none.
	TrialAnswer(ctx context.Context, id string) (string, error)
	DeleteTrial(ctx context.Context, id string) error
	// PurgeTrials forgets those that are older.
	PurgeTrials(ctx context.Context, older time.Duration) error
}

// Catalog is what is asked of the definitions; *catalog.Catalog is one.
type Catalog interface {
	ValidateCheck(in catalog.CheckInput) error
	Check(ctx context.Context, ref string) (catalog.Check, error)
	System(ctx context.Context, ref string) (catalog.System, error)
}

// Secrets keep credentials apart from checks; *secret.Service is one.
type Secrets interface {
	Borrow(ctx context.Context, trialID, owner string, spec check.Spec) (check.Spec, map[string]string, []fault.Field, error)
	Seal(ctx context.Context, id string, plain []byte) (string, error)
	Open(ctx context.Context, id, sealed string) ([]byte, error)
}

// Bells wake who subscribes to topics; the returned function ends that.
type Bells interface {
	entity.Bell
	Subscribe(topics ...string) (<-chan struct{}, func())
}

// Service tries checks.
type Service struct {
	store   Store
	catalog Catalog
	secrets Secrets
	bells   Bells
	log     *slog.Logger
	rate    *rate.Limiter
	places  chan struct{} // one for each trial that goes on
}

// New makes the service.
func New(store Store, definitions Catalog, secrets Secrets, bells Bells, log *slog.Logger) *Service {
	return &Service{
		store: store, catalog: definitions, secrets: secrets, bells: bells, log: log,
		rate: rate.NewLimiter(perSecond, burst), places: make(chan struct{}, atOnce),
	}
}

// Try runs the check once and waits for what is found. Faults: Invalid for what could not
// be saved and for a satellite that cannot run it, NotFound, TooMany, Unavailable when no
// answer comes.
func (s *Service) Try(ctx context.Context, actor entity.Actor, in Input) (Trial, error) {
	if !s.rate.Allow() {
		return Trial{}, fault.New(fault.TooMany, "too many checks are tried on this core; wait a moment")
	}
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	default:
		return Trial{}, fault.New(fault.TooMany, "%d checks are being tried on this core already; wait a moment", atOnce)
	}
	in.Name = cmp.Or(in.Name, "unsaved check")
	in.From = cmp.Or(in.From, catalog.LocalSatellite)
	if err := s.catalog.ValidateCheck(catalog.CheckInput{Name: in.Name, Spec: in.Spec}); err != nil {
		return Trial{}, err
	}
	id := uuid.Must(uuid.NewV7()).String()
	order, err := s.prepare(ctx, id, in)
	if err != nil {
		return Trial{}, err
	}
	at, err := s.place(ctx, in)
	if err != nil {
		return Trial{}, err
	}
	began := time.Now()
	answer, err := s.ask(ctx, id, at, order)
	words := []any{
		"trial", id, "actor", actor.Name, "actor_id", string(actor.ID), "satellite", at.Name, "satellite_id", at.ID,
		"strategy", in.Spec.Strategy, "check_id", order.Owner, "took_ms", time.Since(began).Milliseconds(),
	}
	if err != nil {
		s.log.Info("a check was tried without an answer", append(words, "error", fault.Message(err))...)
		return Trial{}, err
	}
	s.log.Info("a check was tried", append(words, "status", string(answer.Result.Status))...)
	return answer.trial(at, in.Spec), nil
}

// prepare makes of the input what a satellite is given, with credentials apart.
func (s *Service) prepare(ctx context.Context, id string, in Input) (t secret.Trial, err error) {
	if in.Check != "" {
		saved, err := s.catalog.Check(ctx, in.Check)
		if err != nil {
			return t, at("check", in.Check, err)
		}
		t.Owner = saved.ID
	}
	spec, written, wrong, err := s.secrets.Borrow(ctx, id, t.Owner, in.Spec)
	if err != nil {
		return t, err
	}
	if len(wrong) > 0 {
		for i := range wrong {
			wrong[i].Path = "spec." + wrong[i].Path
		}
		return t, &fault.Error{Kind: fault.Invalid, Message: "the check is not valid", Fields: wrong}
	}
	a := &protocol.Assignment{
		ConfigID: id, ConfigName: in.Name, SystemID: id, StrategyID: spec.Strategy, Config: spec.Config,
		IntervalSeconds: time.Duration(spec.Interval).Seconds(),
	}
	for _, c := range spec.Collectors {
		a.Collectors = append(a.Collectors, protocol.CollectorOf(c))
	}
	t.Assignment, t.Credentials = a, written
	return t, s.inSystem(ctx, a, in)
}

// inSystem gives the assignment the system and the environment that templates see.
func (s *Service) inSystem(ctx context.Context, a *protocol.Assignment, in Input) error {
	if in.System == "" {
		if in.Environment != "" {
			return wrong("system", nil, "say of which system the environment is")
		}
		return nil
	}
	system, err := s.catalog.System(ctx, in.System)
	if err != nil {
		return at("system", in.System, err)
	}
	a.SystemID, a.SystemName, a.SystemMetadata = system.ID, system.Name, system.Fields
	if in.Environment == "" {
		return nil
	}
	for _, env := range system.Environments {
		if env.ID == in.Environment || env.Name == in.Environment {
			a.Environments = []check.Environment{env}
			return nil
		}
	}
	return wrong("environment", in.Environment, fmt.Sprintf("system %s has no environment %q", system.Name, in.Environment))
}

// place is the satellite that is to run it, if it can.
func (s *Service) place(ctx context.Context, in Input) (Place, error) {
	places, err := s.store.RunPlaces(ctx, protocol.Pair{}, []string{in.From})
	if err != nil {
		return Place{}, err
	}
	if len(places) == 0 {
		if in.From == catalog.LocalSatellite {
			return Place{}, wrong("from", in.From, "this core has no satellite of its own; say from which one")
		}
		return Place{}, wrong("from", in.From, fmt.Sprintf("there is no satellite %q", in.From))
	}
	p := places[0]
	if why := unable(&p, in.Spec); why != "" {
		return Place{}, wrong("from", p.Satellite, "the satellite cannot try it: "+why)
	}
	return Place{ID: p.SatelliteID, Name: p.Satellite, Region: p.Region}, nil
}

// unable says why the satellite cannot try the check now; "" when it can.
func unable(p *fleet.RunPlace, spec check.Spec) string {
	switch {
	case !p.Online:
		return "it is offline"
	case p.Cordoned:
		return "it is cordoned: it gets nothing new to run"
	case p.Inventory == nil:
		return "it is an original agent, which runs only what is saved and assigned to it"
	case !slices.Contains(p.Inventory.Features, protocol.FeatureTry):
		return "it does not know how to try checks; update it"
	}
	if why := catalog.Unable(p.Inventory, spec); why != "" {
		return "it " + why
	}
	return ""
}

// ask hands the trial to the core that holds the satellite, and waits for the answer.
func (s *Service) ask(ctx context.Context, id string, at Place, t secret.Trial) (Answer, error) {
	question, err := json.Marshal(&t)
	if err != nil {
		return Answer{}, fmt.Errorf("writing a trial: %w", err)
	}
	sealed, err := s.secrets.Seal(ctx, id, question)
	if err != nil {
		return Answer{}, err
	}
	rings, end := s.bells.Subscribe(TopicAnswered)
	defer end()
	if err := s.store.InsertTrial(ctx, Row{ID: id, SatelliteID: at.ID, Question: sealed}); err != nil {
		return Answer{}, err
	}
	defer s.forget(ctx, id)
	s.bells.Ring(TopicAsked)
	if sealed, err = s.wait(ctx, id, at, rings); err != nil {
		return Answer{}, err
	}
	if sealed == cannotOpen {
		return Answer{}, wrong("from", at.Name, "the core that holds the satellite cannot open what this one seals; give both the same root key (--secret-key-file)")
	}
	plain, err := s.secrets.Open(ctx, id, sealed)
	if err != nil {
		return Answer{}, err
	}
	var answer Answer
	if err := json.Unmarshal(plain, &answer); err != nil {
		return Answer{}, fmt.Errorf("reading the answer to a trial: %w", err)
	}
	switch {
	case answer.Refused != "":
		return Answer{}, wrong("from", at.Name, "the satellite did not try it: "+answer.Refused)
	case answer.Result == nil:
		return Answer{}, fmt.Errorf("the answer to a trial is empty")
	}
	return answer, nil
}

func (s *Service) wait(ctx context.Context, id string, at Place, rings <-chan struct{}) (sealed string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fault.New(fault.Unavailable, "%s gave no answer within %v; look whether it is connected, and try again", at.Name, patience))
	defer cancel()
	look := time.NewTicker(poll)
	defer look.Stop()
	for {
		sealed, err := s.store.TrialAnswer(ctx, id)
		if sealed != "" || err != nil && ctx.Err() == nil {
			return sealed, err
		}
		select {
		case <-rings:
		case <-look.C:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// forgetTimeout bounds the deletion of a row, which goes on when who asked has gone.
const forgetTimeout = 5 * time.Second

func (s *Service) forget(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), forgetTimeout)
	defer cancel()
	if err := s.store.DeleteTrial(ctx, id); err != nil {
		s.log.Warn("a trial stays in the database, sealed, until it is swept", "trial", id, "error", err)
	}
}

// Claim takes what is to be tried at these satellites. One that cannot be opened is
// answered and left out.
func (s *Service) Claim(ctx context.Context, satelliteIDs []string) ([]Order, error) {
	rows, err := s.store.ClaimTrials(ctx, satelliteIDs)
	if err != nil {
		return nil, err
	}
	var orders []Order
	for _, r := range rows {
		o := Order{ID: r.ID, SatelliteID: r.SatelliteID, Deadline: Deadline}
		plain, err := s.secrets.Open(ctx, r.ID, r.Question)
		if err == nil {
			err = json.Unmarshal(plain, &o.Trial)
		}
		if err != nil || o.Trial.Assignment == nil {
			s.log.Error("a trial cannot be opened", "trial", r.ID, "error", err)
			if err := s.store.AnswerTrial(ctx, r.ID, cannotOpen); err != nil {
				return nil, err
			}
			s.bells.Ring(TopicAnswered)
			continue
		}
		orders = append(orders, o)
	}
	return orders, nil
}

// Answer hands an answer to who asked, wherever that is.
func (s *Service) Answer(ctx context.Context, id string, a Answer) error {
	text, err := json.Marshal(&a)
	if err != nil {
		return fmt.Errorf("writing the answer to a trial: %w", err)
	}
	sealed, err := s.secrets.Seal(ctx, id, text)
	if err != nil {
		return err
	}
	if err := s.store.AnswerTrial(ctx, id, sealed); err != nil {
		return err
	}
	s.bells.Ring(TopicAnswered)
	return nil
}

// Sweep forgets what cores left behind that ended before an answer came.
func (s *Service) Sweep(ctx context.Context) error { return s.store.PurgeTrials(ctx, Leftover) }

func wrong(path string, value any, message string) error {
	return &fault.Error{Kind: fault.Invalid, Message: "the check cannot be tried so", Fields: []fault.Field{{Path: path, Message: message, Value: value}}}
}

// at says of something that was not found in which member it was named.
func at(path, ref string, err error) error {
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	return wrong(path, ref, fmt.Sprintf("there is no %s %q", path, ref))
}
