package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/client"
)

const shop = `{"systemId":"s1","system":"shop","status":"unhealthy","since":"2026-11-22T04:55:00Z","reason":"front is unhealthy",
	"healthyChecks":1,"totalChecks":2,"checks":[
		{"checkId":"c1","check":"front","status":"unhealthy","reason":"1 of 2 locations","locations":[
			{"satelliteId":"7f4d","satellite":"eu-1","region":"eu","online":true,"fresh":true,"status":"unhealthy","since":"2026-11-22T04:55:00Z",
			 "executedAt":"2026-11-22T04:59:52Z","receivedAt":"2026-11-22T04:59:52Z","latencyMs":12,"message":"status 500","runId":"r1"},
			{"satelliteId":"8a01","satellite":"us-1","region":"us","online":false,"fresh":false,"status":"unknown","since":null,
			 "executedAt":null,"receivedAt":null,"latencyMs":null,"message":"","runId":""}]},
		{"checkId":"c2","check":"mail","status":"healthy","reason":"","locations":[]}]}`

const names1 = `{"items":[{"id":"s1","name":"shop"}],"nextCursor":null}`

func TestStatus(t *testing.T) {
	t.Parallel()
	answers := map[string]string{"GET /status": `{"items":[` + shop + `],"nextCursor":null}`, "GET /systems/shop/status": shop}
	runs(t, &StatusCmd{}, "table", answers, `
SYSTEM  STATUS     SINCE   CHECKS  REASON
shop    unhealthy  5m ago  1/2     front is unhealthy
`)
	runs(t, &StatusCmd{System: "shop", Verbose: true}, "table", answers, `
SYSTEM / CHECK / SATELLITE  STATUS     SINCE   CHECKS  RAN     LATENCY  REASON
shop                        unhealthy  5m ago  1/2                      front is unhealthy
  front                     unhealthy  -                                1 of 2 locations
    eu-1 (eu)               unhealthy  5m ago          8s ago  12 ms    status 500
    us-1 (us)               unknown    -               -       -        satellite offline; no result yet
  mail                      healthy    -
`)
}

func TestResultListShowsNames(t *testing.T) {
	t.Parallel()
	list := &ResultListCmd{runFlags: runFlags{Check: "front", From: "1h", Limit: 2}, Status: "unhealthy"}
	runs(t, list, "table", map[string]string{
		"GET /results?check=front&from=2026-11-22T04%3A00%3A00Z&limit=2&status=unhealthy": `{"items":[
			{"runId":"r1","satelliteId":"7f4d","checkId":"c1","systemId":"s1","status":"unhealthy","latencyMs":12,
			 "executedAt":"2026-11-22T04:59:52.4Z","receivedAt":"2026-11-22T04:59:52Z","slot":"2026-11-22T04:59:50Z","source":"eu-1 (eu)","message":"status\n500"},
			{"runId":"r2","satelliteId":"7f4d","checkId":"gone","systemId":"s1","status":"unhealthy","latencyMs":null,
			 "executedAt":"2026-11-22T04:59:42Z","receivedAt":"2026-11-22T04:59:52Z","slot":"2026-11-22T04:59:40Z","source":"eu-1 (eu)"}],"nextCursor":"more"}`,
		"GET /checks?limit=1000":  `{"items":[{"id":"c1","name":"front"}],"nextCursor":null}`,
		"GET /systems?limit=1000": names1,
	}, `
EXECUTED              SYSTEM  CHECK  SATELLITE  STATUS     LATENCY  MESSAGE
2026-11-22T04:59:52Z  shop    front  eu-1 (eu)  unhealthy  12 ms    status 500
2026-11-22T04:59:42Z  shop    gone   eu-1 (eu)  unhealthy  -
`)
}

func TestResultListAsJSONAsksForNothingElse(t *testing.T) {
	t.Parallel()
	runs(t, &ResultListCmd{Detail: true}, "yaml", map[string]string{
		"GET /results?detail=true&limit=1000": `{"items":[{"runId":"r1","satelliteId":"7f4d","checkId":"c1","systemId":"s1","status":"healthy","latencyMs":12,
			"executedAt":"2026-11-22T04:59:52Z","receivedAt":"2026-11-22T04:59:52Z","slot":"2026-11-22T04:59:50Z","source":"eu-1 (eu)",
			"result":{"metadata":{"b":"\ud83d\ude00","a":1.50}}}],"nextCursor":null}`,
	}, `
items:
  - runId: r1
    satelliteId: 7f4d
    checkId: c1
    systemId: s1
    status: healthy
    latencyMs: 12
    executedAt: "2026-11-22T04:59:52Z"
    receivedAt: "2026-11-22T04:59:52Z"
    slot: "2026-11-22T04:59:50Z"
    source: eu-1 (eu)
    result:
      metadata:
        b: "\U0001F600"
        a: 1.50
`)
}

func TestSkipList(t *testing.T) {
	t.Parallel()
	runs(t, &SkipListCmd{runFlags{Limit: 50}}, "table", map[string]string{
		"GET /skips?limit=50": `{"items":[{"id":"k1","satelliteId":"7f4d","checkId":"c1","systemId":"s1","from":"2026-11-22T04:00:00Z","to":"2026-11-22T04:10:00Z",
			"count":61,"reason":"down","receivedAt":"2026-11-22T04:11:00Z"}],"nextCursor":null}`,
		"GET /checks?limit=1000":     `{"items":[{"id":"c1","name":"front"}],"nextCursor":null}`,
		"GET /systems?limit=1000":    names1,
		"GET /satellites?limit=1000": `{"items":[` + eu1 + `],"nextCursor":null}`,
	}, `
FROM                  TO                    SLOTS  SYSTEM  CHECK  SATELLITE  REASON
2026-11-22T04:00:00Z  2026-11-22T04:10:00Z  61     shop    front  eu-1       down
`)
}

const (
	connected = `{"seq":8,"type":"satellite.connected","kind":"satellite-connection","entityId":"7f4d","changeId":"h1","changed":["lastEvent"],` +
		`"prev":{"lastEvent":null},"next":{"lastEvent":"connected"},"payload":{"name":"eu-1"},"actor":{"type":"system","id":"perigee"},"at":"2026-11-22T04:00:00Z"}`
	sick = `{"seq":9,"type":"healthcheck.system_degraded","kind":"health","entityId":"s1","changeId":"h2","changed":["healthyChecks","status"],` +
		`"prev":{"status":"healthy","healthyChecks":2},"next":{"status":"unhealthy","healthyChecks":1},"payload":{},"actor":{"type":"system","id":"perigee"},"at":"2026-11-22T04:00:01Z"}`
	removed = `{"seq":10,"type":"satellite.removed","kind":"satellite","entityId":"7f4d","changeId":"h3","changed":["name"],` +
		`"prev":{"name":"eu-1"},"next":null,"payload":null,"actor":{"type":"user","id":"u"},"at":"2026-11-22T04:00:02Z"}`
)

func TestEventList(t *testing.T) {
	t.Parallel()
	runs(t, &EventListCmd{After: 7, Limit: 50}, "table", map[string]string{
		"GET /events?after=7&limit=50": `{"items":[` + connected + `,` + sick + `,` + removed + `],"next":10}`,
		"GET /systems?limit=1000":      names1,
	}, `
TIME                  NUMBER  EVENT                        OF                         CHANGED
2026-11-22T04:00:00Z  8       satellite.connected          satellite-connection eu-1  lastEvent: - → connected
2026-11-22T04:00:01Z  9       healthcheck.system_degraded  health shop                healthyChecks: 2 → 1, status: healthy → unhealthy
2026-11-22T04:00:02Z  10      satellite.removed            satellite eu-1
`)
}

func TestEventListBeginsWithTheNewest(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"GET /events?limit=1&newest=true": `{"items":[` + removed + `],"next":10}`,
		"GET /events?after=8&limit=2":     `{"items":[` + sick + `,` + removed + `],"next":10}`,
		"GET /events?after=0&limit=50":    `{"items":[` + removed + `],"next":10}`,
		"GET /events?after=0&limit=1000":  `{"items":[` + sick + `,` + removed + `],"next":10}`,
	}
	for _, test := range []struct {
		list EventListCmd
		want []string
	}{
		{EventListCmd{After: -1, Limit: 2}, []string{sick, removed}},
		{EventListCmd{After: -1, Limit: 50}, []string{removed}}, // there are fewer
		{EventListCmd{After: -1}, []string{sick, removed}},      // all
		{EventListCmd{After: 0, Limit: 50}, []string{removed}},  // from the beginning
	} {
		a, _, out := setup(t, "json", answers)
		if err := test.list.Run(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		var got struct{ Items []json.RawMessage }
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || len(got.Items) != len(test.want) {
			t.Errorf("%+v: %v, %s", test.list, err, out)
		}
	}
}

func TestEventListSaysThatThereIsMore(t *testing.T) {
	t.Parallel()
	a, _, _ := setup(t, "json", map[string]string{"GET /events?after=0&limit=1": `{"items":[` + connected + `],"next":8}`})
	var errs bytes.Buffer
	a.errw, a.interactive = &errs, true
	if err := (&EventListCmd{Limit: 1}).Run(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if got, want := errs.String(), "there is more: perigee event list --after 8\n"; got != want {
		t.Errorf("standard error %q, want %q", got, want)
	}
}

// untilLines is where a watch writes; it ends the watch after so many lines.
type untilLines struct {
	bytes.Buffer
	lines int
	end   context.CancelFunc
}

func (u *untilLines) Write(p []byte) (int, error) {
	n, err := u.Buffer.Write(p)
	if bytes.Count(u.Bytes(), []byte("\n")) >= u.lines {
		u.end()
	}
	return n, err
}

func TestEventWatchPrintsALineForEachEvent(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{
		"table": `
2026-11-22T04:00:00Z  8  satellite.connected  satellite-connection eu-1  lastEvent: - → connected
2026-11-22T04:00:01Z  9  healthcheck.system_degraded  health shop  healthyChecks: 2 → 1, status: healthy → unhealthy
`,
		"json": "\n" + connected + "\n" + sick + "\n",
	} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch strings.TrimPrefix(r.URL.Path, client.Base) {
				case "/systems":
					fmt.Fprint(w, names1)
				case "/events/stream":
					if got := r.Header.Get("Last-Event-ID"); got != "7" {
						t.Errorf("the stream begins after %q, want 7", got)
					}
					fmt.Fprintf(w, ": welcome\n\nid: 8\nevent: e\ndata: %s\n\nid: 9\nevent: e\ndata: %s\n\n", connected, sick)
					_ = http.NewResponseController(w).Flush() // the client has gone
					<-r.Context().Done()
				default:
					fmt.Fprint(w, `{"items":[],"next":0}`)
				}
			}))
			t.Cleanup(server.Close)
			c, err := client.New(client.Options{URL: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out := &untilLines{lines: 2, end: cancel}
			a := &app{client: c, out: out, errw: t.Output(), format: format, now: nil}
			if err := (&EventWatchCmd{After: 7}).Run(ctx, a); err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(strings.TrimPrefix(want, "\n"), out.String()); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEventWatchEndsWhenNobodyReads(t *testing.T) {
	t.Parallel()
	full := errors.New("broken pipe")
	a, _, _ := setup(t, "json", map[string]string{
		"GET /events?limit=1": `{"items":[],"next":0}`,
		"GET /events/stream":  "data: " + connected + "\n\n",
	})
	a.out = failing{full}
	if err := (&EventWatchCmd{After: 7}).Run(t.Context(), a); !errors.Is(err, full) {
		t.Errorf("error %v, want %v", err, full)
	}
}
