package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

const (
	streamID = "stream-events"
	// maxStreams bounds the streams open at once; beyond it people are turned away.
	maxStreams = 1000
	// streamBatch is how many events are read from the table at once.
	streamBatch = 500
	// streamComment is how often a quiet stream says that it lives, and streamPoll how
	// often the table is looked at without a bell.
	streamComment = 15 * time.Second
	streamPoll    = 5 * time.Second
	// streamFailures is how many readings may fail in a row before the stream ends, so
	// that who listens learns that it hears nothing.
	streamFailures = 3
	// streamWrite bounds one write: who does not read for that long is cut off and
	// comes back with Last-Event-ID.
	streamWrite = 20 * time.Second
)

type eventQuery struct {
	After int64    `query:"after" minimum:"0" doc:"Only events after this number."`
	Limit int      `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Kind  []string `query:"kind,explode" maxItems:"16" doc:"Only events of things of this kind, such as satellite or core; may be repeated."`
	Type  string   `query:"type" maxLength:"200" doc:"Only events of this type, such as core.blind. With its kind it is found quickly."`
	// Newest leaves out all but the last Limit.
	Newest bool `query:"newest" doc:"The last events instead of the first; oldest first all the same."`
}

// EventList is events in the order in which they happened. Next is the number to
// ask after.
type EventList struct {
	Items []entity.Event `json:"items"`
	Next  int64          `json:"next"`
}

type streamQuery struct {
	After       string `query:"after" pattern:"^[0-9]{1,18}$" doc:"Begin after this number; without it, with what happens from now on."`
	LastEventID string `header:"Last-Event-ID" doc:"What browsers send when they come back."`
}

func (a *API) addEvents() {
	route(a, http.MethodGet, "/events", "list-events", "What happened, oldest first", func(ctx context.Context, in *eventQuery) (*answer[EventList], error) {
		return answered(a.listEvents(ctx, in))
	})
	huma.Register(a.routes, huma.Operation{
		Method: http.MethodGet, Path: "/events/stream", OperationID: streamID, Tags: []string{"events"},
		Summary: "What happens, as server-sent events",
		Description: "Each message has the event's number as its id, the event's type as its name, and the event as JSON. Come back with Last-Event-ID and nothing is missed. " +
			"What moves without being an event is said in comments, of each kind once in a while at most: " + strings.Join(movementTopics(), ", ") + ".",
		Responses: map[string]*huma.Response{"200": {
			Description: "A stream that does not end.",
			Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
		}},
	}, a.openStream)
}

func (a *API) listEvents(ctx context.Context, in *eventQuery) (EventList, error) {
	events, err := a.Records.EventsOf(ctx, entity.EventFilter{Kinds: in.Kind, Type: in.Type, After: in.After, Newest: in.Newest}, in.Limit)
	if err != nil {
		return EventList{}, err
	}
	list := EventList{Items: append([]entity.Event{}, events...), Next: in.After}
	if n := len(events); n > 0 {
		list.Next = events[n-1].Seq
	}
	return list, nil
}

// openStream finds out where the stream begins and hands over to it.
func (a *API) openStream(ctx context.Context, in *streamQuery) (*huma.StreamResponse, error) {
	after, err := a.streamStart(ctx, in)
	if err != nil {
		return nil, a.fail(ctx, streamID, err)
	}
	select {
	case a.streams <- struct{}{}:
	default:
		p := a.fail(ctx, streamID, fault.New(fault.Unavailable, "too many event streams are open"))
		return nil, huma.ErrorWithHeaders(p, http.Header{"Retry-After": {retryAfter}})
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		defer func() { <-a.streams }()
		a.metrics.streams.Inc()
		defer a.metrics.streams.Dec()
		a.stream(hctx, after)
	}}, nil
}

// streamStart is the number after which the stream begins. Who has seen more than
// there is has seen it in another life of the database, and begins with what
// happens from now on.
func (a *API) streamStart(ctx context.Context, in *streamQuery) (int64, error) {
	for _, text := range []string{in.LastEventID, in.After} {
		if text == "" {
			continue
		}
		after, err := strconv.ParseInt(text, 10, 64)
		if err != nil || after < 0 {
			return 0, &fault.Error{
				Kind: fault.Invalid, Message: "the stream cannot begin there",
				Fields: []fault.Field{{Path: "header.Last-Event-ID", Message: "must be the id of an event", Value: text}},
			}
		}
		last, err := a.Records.LastEvent(ctx)
		return min(after, last), err
	}
	return a.Records.LastEvent(ctx)
}

// stream writes events until the client goes, or the API is drained.
func (a *API) stream(hctx huma.Context, after int64) {
	w, ok := hctx.BodyWriter().(http.ResponseWriter)
	if !ok {
		writeIn(hctx, newProblem(http.StatusInternalServerError, fault.Internal.String(), "this connection cannot stream"))
		return
	}
	ctx := hctx.Context()
	bells := a.Bells.Listen(append(movementTopics(), entity.TopicEvents)...)
	defer bells.Close()
	moved := newMovements()
	defer moved.due.Stop()
	hctx.SetHeader("Content-Type", "text/event-stream")
	hctx.SetHeader("X-Accel-Buffering", "no") // proxies, do not wait for more
	hctx.SetStatus(http.StatusOK)
	out := &eventWriter{w: w, control: http.NewResponseController(w)}
	if out.welcome(after) != nil {
		return
	}
	// Of a body that nobody asked for, which the server has read by now; when it
	// passed, that would be taken for the client's going.
	_ = out.control.SetReadDeadline(time.Time{}) // no connection, no deadline
	comment := time.NewTicker(streamComment)
	defer comment.Stop()
	poll := time.NewTicker(streamPoll)
	defer poll.Stop()
	failures := 0
	for {
		events, err := a.Records.Events(ctx, after, streamBatch)
		switch {
		case err == nil:
			failures = 0
		case ctx.Err() == nil:
			a.Log.Warn("reading events for a stream failed", "request_id", requestID(ctx), "error", err)
			if failures++; failures > streamFailures {
				return
			}
		}
		if out.events(events) != nil {
			return
		}
		if n := len(events); n > 0 {
			after = events[n-1].Seq
			if n == streamBatch {
				continue // there is more
			}
		}
		for look := false; !look; {
			select {
			case <-ctx.Done():
				return
			case <-a.drained:
				return
			case <-poll.C:
				look = true
			case <-bells.Rings:
				for _, topic := range bells.Take() {
					if topic == entity.TopicEvents {
						look = true
					} else {
						moved.note(topic)
					}
				}
			case <-moved.due.C:
				for _, topic := range moved.take(time.Now()) {
					if out.comment(topic) != nil {
						return
					}
				}
			case <-comment.C:
				if !a.Bells.Status().Connected { // anything may have moved at the other cores
					for _, topic := range movementTopics() {
						moved.note(topic)
					}
				}
				if out.comment("still here") != nil {
					return
				}
			}
		}
	}
}

// eventWriter writes server-sent events, each write under a deadline.
type eventWriter struct {
	w       io.Writer
	control *http.ResponseController
	buffer  bytes.Buffer
}

// welcome says where the stream begins, so that who loses it before anything has
// happened can come back to there. Without data it is no event, but counts as the
// last id.
func (o *eventWriter) welcome(after int64) error {
	fmt.Fprintf(&o.buffer, "id: %d\n", after)
	return o.comment("welcome")
}

func (o *eventWriter) comment(text string) error {
	fmt.Fprintf(&o.buffer, ": %s\n\n", text)
	return o.flush()
}

func (o *eventWriter) events(events []entity.Event) error {
	for i := range events {
		data, err := json.Marshal(&events[i]) // one line: JSON escapes line breaks
		if err != nil {
			return err
		}
		fmt.Fprintf(&o.buffer, "id: %d\nevent: %s\ndata: %s\n\n", events[i].Seq, events[i].Type, data)
	}
	return o.flush()
}

func (o *eventWriter) flush() error {
	if o.buffer.Len() == 0 {
		return nil
	}
	if err := o.control.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
		return err
	}
	if _, err := o.buffer.WriteTo(o.w); err != nil {
		return err
	}
	return o.control.Flush()
}
