package httpapi

import (
	"context"
	"net/http"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/notify"
)

// Channels is what the API asks of the channels' service. Refs are ids or names.
type Channels interface {
	Get(ctx context.Context, ref string) (notify.Channel, error)
	List(ctx context.Context) ([]notify.Channel, error)
	Create(ctx context.Context, actor entity.Actor, in notify.Input) (notify.Channel, error)
	Update(ctx context.Context, actor entity.Actor, ref string, in notify.Input) (notify.Channel, error)
	Delete(ctx context.Context, actor entity.Actor, ref string) error
	Test(ctx context.Context, actor entity.Actor, ref string) (notify.Delivery, error)
	Deliveries(ctx context.Context, ref string, limit int) ([]notify.Delivery, error)
}

type channelBody struct{ Body notify.Input }

type channelUpdate struct {
	Ref
	Body notify.Input
}

type deliveryQuery struct {
	Ref
	Limit int `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"The most items to return."`
}

func (a *API) addChannels() {
	route(a, http.MethodGet, "/channels", "list-channels", "List notification channels by name", func(ctx context.Context, in *Paging) (*answer[List[notify.Channel]], error) {
		all, err := a.Channels.List(ctx)
		return paged(all, *in, func(c notify.Channel) string { return c.Name }, err)
	})
	route(a, http.MethodPost, "/channels", "create-channel", "Make a notification channel", func(ctx context.Context, in *channelBody) (*created[notify.Channel], error) {
		c, err := a.Channels.Create(ctx, actor(ctx), in.Body)
		return made("/channels/"+c.ID, c, err)
	}, status(http.StatusCreated))
	route(a, http.MethodGet, "/channels/{id}", "get-channel", "Get a notification channel", func(ctx context.Context, in *Ref) (*answer[notify.Channel], error) {
		return answered(a.Channels.Get(ctx, in.ID))
	})
	route(a, http.MethodPut, "/channels/{id}", "update-channel", "Replace a notification channel", func(ctx context.Context, in *channelUpdate) (*answer[notify.Channel], error) {
		return answered(a.Channels.Update(ctx, actor(ctx), in.ID, in.Body))
	})
	route(a, http.MethodDelete, "/channels/{id}", "delete-channel", "Delete a notification channel", func(ctx context.Context, in *Ref) (*struct{}, error) {
		return nil, a.Channels.Delete(ctx, actor(ctx), in.ID)
	}, status(http.StatusNoContent))
	route(a, http.MethodPost, "/channels/{id}/test", "test-channel", "Send a test message and say what became of it", func(ctx context.Context, in *Ref) (*answer[notify.Delivery], error) {
		return answered(a.Channels.Test(ctx, actor(ctx), in.ID))
	})
	route(a, http.MethodGet, "/channels/{id}/deliveries", "list-deliveries", "What was sent by a channel and what became of it, newest first", func(ctx context.Context, in *deliveryQuery) (*answer[List[notify.Delivery]], error) {
		all, err := a.Channels.Deliveries(ctx, in.ID, in.Limit)
		return listed(all, "", err)
	})
}
