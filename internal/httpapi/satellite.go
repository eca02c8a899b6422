package httpapi

import (
	"context"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// NewSatellite is the body of POST /satellites.
type NewSatellite struct {
	Name               string            `json:"name" doc:"Unique."`
	Region             string            `json:"region"`
	Tags               map[string]string `json:"tags,omitempty" doc:"What selectors see, besides name and region."`
	OfflineThresholdMs *int64            `json:"offlineThresholdMs,omitempty" nullable:"true" doc:"How long it may be silent before it counts as offline; null is the default, 45 s."`
	Weight             int64             `json:"weight,omitempty" doc:"Its share of the seats of counted assignments in proportion to others, 1 to 1000; 1 when absent."`
	TokenExpiresInMs   *int64            `json:"tokenExpiresInMs,omitempty" nullable:"true" doc:"How long its token is valid; null is for ever."`
}

// RotateRequest is the body of POST /satellites/{id}/rotate-token; none is the
// empty one.
type RotateRequest struct {
	OverlapMs   *int64 `json:"overlapMs,omitempty" nullable:"true" doc:"How long the old token stays valid, and its sessions live on; null ends both at once."`
	ExpiresInMs *int64 `json:"expiresInMs,omitempty" nullable:"true" doc:"How long the new token is valid; null is for ever."`
}

// SatellitePatch is the body of PATCH /satellites/{id}. Absent fields stay; tags
// are replaced as a whole; a null threshold is the default.
type SatellitePatch struct {
	Name               *string           `json:"name,omitempty"`
	Region             *string           `json:"region,omitempty"`
	Tags               map[string]string `json:"tags,omitempty"`
	OfflineThresholdMs *int64            `json:"offlineThresholdMs,omitempty" nullable:"true"`
	Weight             *int64            `json:"weight,omitempty" doc:"Its share of seats in proportion to others, 1 to 1000."`
}

// SatelliteToken is a satellite and its token, which is shown this once.
type SatelliteToken struct {
	Satellite fleet.Satellite `json:"satellite"`
	Token     string          `json:"token"`
}

type satelliteQuery struct {
	Paging
	Name   string       `query:"name" doc:"Only the satellite of this name."`
	Region string       `query:"region" doc:"Only satellites of this region."`
	Status fleet.Status `query:"status" enum:"online,offline" doc:"Only satellites of this status."`
	Tag    []string     `query:"tag,explode" maxItems:"16" doc:"Only satellites with this tag, written key=value; may be repeated."`
}

type transitionQuery struct {
	Ref
	Paging
	Kind string `query:"kind" enum:"satellite-connection,satellite,satellite-observer" default:"satellite-connection" doc:"History of the connection, of the record (created, renamed, token rotated), or of how it fared as an observer."`
}

func (a *API) addSatellites() {
	route(a, http.MethodGet, "/satellites", "list-satellites", "List satellites by name", a.listSatellites)
	route(a, http.MethodPost, "/satellites", "create-satellite", "Create a satellite; its token is shown this once", a.createSatellite, status(http.StatusCreated))
	route(a, http.MethodGet, "/satellites/{id}", "get-satellite", "Get a satellite", func(ctx context.Context, in *Ref) (*answer[fleet.Satellite], error) {
		return answered(a.satellite(ctx, in.ID))
	})
	route(a, http.MethodPatch, "/satellites/{id}", "update-satellite", "Rename, move or tag a satellite", a.updateSatellite)
	route(a, http.MethodDelete, "/satellites/{id}", "delete-satellite", "Delete a satellite and end its session", a.deleteSatellite, status(http.StatusNoContent))
	route(a, http.MethodPost, "/satellites/{id}/rotate-token", "rotate-satellite-token", "Replace a satellite's token; sessions of the old one end, at once or after an overlap", a.rotateSatellite)
	route(a, http.MethodPost, "/satellites/{id}/revoke-previous-token", "revoke-previous-satellite-token", "End a rotation's overlap now, and the sessions of the old token", func(ctx context.Context, in *Ref) (*answer[fleet.Satellite], error) {
		s, err := a.satellite(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		return answered(a.Fleet.RevokePrevious(ctx, actor(ctx), s.ID))
	})
	for word, c := range cordons {
		route(a, http.MethodPost, "/satellites/{id}/"+word, word+"-satellite", c.summary, func(ctx context.Context, in *Ref) (*answer[fleet.Satellite], error) {
			s, err := a.satellite(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			return answered(a.Fleet.SetCordon(ctx, actor(ctx), s.ID, c.cordon))
		})
	}
	route(a, http.MethodGet, "/satellites/{id}/transitions", "list-satellite-transitions", "What happened to a satellite, newest first", a.listTransitions)
}

var cordons = map[string]struct {
	cordon  fleet.Cordon
	summary string
}{
	"cordon":   {fleet.Cordoned, "Give a satellite no new seats"},
	"uncordon": {fleet.Uncordoned, "Give a satellite seats again, and end its drain"},
	"drain":    {fleet.Drained, "Cordon a satellite and move its seats away"},
}

// satellite reads a satellite by id or name.
func (a *API) satellite(ctx context.Context, ref string) (fleet.Satellite, error) {
	if isID(ref) {
		return a.Records.Satellite(ctx, strings.ToLower(ref))
	}
	return a.Records.SatelliteByName(ctx, ref)
}

func (a *API) listSatellites(ctx context.Context, in *satelliteQuery) (*answer[List[fleet.Satellite]], error) {
	filter := fleet.Filter{Name: in.Name, Region: in.Region, Status: in.Status}
	for _, tag := range in.Tag {
		key, value, ok := strings.Cut(tag, "=")
		if !ok || key == "" {
			return nil, &fault.Error{
				Kind: fault.Invalid, Message: "a filter is not valid",
				Fields: []fault.Field{{Path: "query.tag", Message: "write it as key=value", Value: tag}},
			}
		}
		if filter.Tag == nil {
			filter.Tag = map[string]string{}
		}
		filter.Tag[key] = value
	}
	return listed(a.Records.Satellites(ctx, filter, in.page()))
}

func (a *API) createSatellite(ctx context.Context, in *struct{ Body NewSatellite }) (*created[SatelliteToken], error) {
	s, token, err := a.Fleet.Create(ctx, actor(ctx), fleet.NewSatellite{
		Name: in.Body.Name, Region: in.Body.Region, Tags: in.Body.Tags, OfflineThresholdMs: in.Body.OfflineThresholdMs,
		TokenExpiresIn: milliseconds(in.Body.TokenExpiresInMs), Weight: in.Body.Weight,
	})
	if err != nil {
		return nil, err
	}
	return &created[SatelliteToken]{Location: Base + "/satellites/" + s.ID, Body: SatelliteToken{s, token}}, nil
}

// patchInput has the raw body because null and absent mean different things.
type patchInput struct {
	Ref
	Body    SatellitePatch
	RawBody []byte
}

func (a *API) updateSatellite(ctx context.Context, in *patchInput) (*answer[fleet.Satellite], error) {
	s, err := a.satellite(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return answered(a.Fleet.Update(ctx, actor(ctx), s.ID, fleet.Patch{
		Name: in.Body.Name, Region: in.Body.Region, Tags: in.Body.Tags,
		OfflineThresholdMs: in.Body.OfflineThresholdMs,
		Weight:             in.Body.Weight,
		ClearThreshold:     isNull(in.RawBody, "offlineThresholdMs"),
	}))
}

func (a *API) deleteSatellite(ctx context.Context, in *Ref) (*struct{}, error) {
	s, err := a.satellite(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return nil, a.Fleet.Delete(ctx, actor(ctx), s.ID)
}

type rotateInput struct {
	Ref
	Body *RotateRequest
}

func (a *API) rotateSatellite(ctx context.Context, in *rotateInput) (*answer[SatelliteToken], error) {
	s, err := a.satellite(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	var r fleet.Rotation
	if b := in.Body; b != nil {
		r = fleet.Rotation{Overlap: milliseconds(b.OverlapMs), ExpiresIn: milliseconds(b.ExpiresInMs)}
	}
	s, token, err := a.Fleet.Rotate(ctx, actor(ctx), s.ID, r)
	return answered(SatelliteToken{s, token}, err)
}

// milliseconds is the span of so many; absent is 0. What a span cannot hold is
// its longest, which is over every limit.
func milliseconds(ms *int64) time.Duration {
	switch most := math.MaxInt64 / int64(time.Millisecond); {
	case ms == nil:
		return 0
	case *ms > most:
		return math.MaxInt64
	case *ms < 0:
		return -1
	}
	return time.Duration(*ms) * time.Millisecond
}

func (a *API) listTransitions(ctx context.Context, in *transitionQuery) (*answer[List[entity.Transition]], error) {
	s, err := a.satellite(ctx, in.ID)
	if fault.Is(err, fault.NotFound) && isID(in.ID) {
		// The history of a satellite that was deleted is there under its id.
		items, next, readErr := a.Records.Transitions(ctx, in.Kind, strings.ToLower(in.ID), in.page())
		if readErr != nil || len(items) > 0 {
			return listed(items, next, readErr)
		}
	}
	if err != nil {
		return nil, err
	}
	return listed(a.Records.Transitions(ctx, in.Kind, s.ID, in.page()))
}
