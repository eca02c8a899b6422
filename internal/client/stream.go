package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

const (
	// streamSilence is how long a stream may say nothing; the core sends a comment
	// every 15 seconds.
	streamSilence = 45 * time.Second
	// streamRetry is how long to wait before a broken stream is taken up again.
	streamRetry = 2 * time.Second
	// maxEvent bounds one line of a stream.
	maxEvent = 4 << 20
)

// Watch hands the events after the given number to each, oldest first, as they
// happen, until ctx ends or each fails. Below zero it begins with what happens
// from now on. A stream that breaks is taken up where it was; broken, if not nil,
// is told why.
func (c *Client) Watch(ctx context.Context, after int64, each func(entity.Event) error, broken func(error)) error {
	for {
		err := c.stream(ctx, &after, each)
		if p, refused := errors.AsType[*Problem](err); refused && p.Status < 500 && p.Status != http.StatusTooManyRequests {
			return err
		}
		if failed, ok := errors.AsType[*handlerError](err); ok {
			return failed.err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if broken != nil {
			broken(err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(streamRetry):
		}
	}
}

// handlerError is an error of Watch's each, which ends it.
type handlerError struct{ err error }

func (h *handlerError) Error() string { return h.err.Error() }

func (c *Client) stream(ctx context.Context, after *int64, each func(entity.Event) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(streamSilence, func() { cancel(errors.New("the core has fallen silent")) })
	defer silence.Stop()
	header := http.Header{"Accept": {"text/event-stream"}}
	if *after >= 0 {
		header.Set("Last-Event-ID", fmt.Sprint(*after))
	}
	resp, err := c.send(ctx, http.MethodGet, "/events/stream", nil, header)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxEvent)
	id := int64(-1)
	var data strings.Builder
	for lines.Scan() {
		silence.Reset(streamSilence)
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "id:"):
			// With data or without: where the core is when it has nothing to tell yet.
			if seq, err := strconv.ParseInt(strings.TrimSpace(line[len("id:"):]), 10, 64); err == nil {
				id = seq
			}
		case strings.HasPrefix(line, "data:"):
			data.WriteString(strings.TrimPrefix(line, "data:"))
		case line == "" && data.Len() == 0:
			if id >= 0 { // lower than before when the database is another
				*after = id
			}
		case line == "":
			var e entity.Event
			if err := json.Unmarshal([]byte(data.String()), &e); err != nil {
				return fmt.Errorf("reading an event: %w", err)
			}
			data.Reset()
			if err := each(e); err != nil {
				return &handlerError{err}
			}
			*after = e.Seq
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return errors.New("the core ended the stream")
}
