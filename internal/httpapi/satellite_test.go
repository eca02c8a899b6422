package httpapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

func TestCreateSatelliteShowsItsTokenOnce(t *testing.T) {
	t.Parallel()
	c := setup(t)
	var made map[string]json.RawMessage
	r := c.post("/satellites", object{"name": "eu-1", "region": "eu", "tags": object{"tier": "edge"}}, &made)
	if got := slices.Sorted(maps.Keys(made)); !slices.Equal(got, []string{"satellite", "token"}) {
		t.Errorf("the answer has %v", got)
	}
	var s fleet.Satellite
	var token string
	for raw, into := range map[string]any{string(made["satellite"]): &s, string(made["token"]): &token} {
		if err := json.Unmarshal([]byte(raw), into); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.HasPrefix(token, "csat_") {
		t.Errorf("token = %q", token)
	}
	if want := httpapi.Base + "/satellites/" + s.ID; r.header.Get("Location") != want {
		t.Errorf("Location = %q, want %q", r.header.Get("Location"), want)
	}
	if _, err := c.fleet.Verify(t.Context(), s.ID, token); err != nil {
		t.Errorf("the token does not let the satellite in: %v", err)
	}
	for _, path := range []string{"/satellites", "/satellites/eu-1", "/satellites/eu-1/transitions?kind=satellite", "/events?after=0", "/export"} {
		if r := c.call(http.MethodGet, path, nil, http.StatusOK, nil); strings.Contains(r.body, token) || strings.Contains(r.body, "$2") {
			t.Errorf("%s shows the token or its hash: %s", path, r.body)
		}
	}
	if strings.Contains(c.log.String(), token) || strings.Contains(c.log.String(), c.token) {
		t.Errorf("a token was logged: %s", c.log)
	}
}

// Spec I.2, SatelliteWithStatus: the fields are there, null when nothing is known.
func TestASatelliteHasEveryField(t *testing.T) {
	t.Parallel()
	c := setup(t)
	made, _ := c.satellite("eu-1", "eu")
	var byID, byName map[string]any
	c.get("/satellites/"+made.ID, &byID)
	c.get("/satellites/eu-1", &byName)
	if diff := cmp.Diff(byID, byName); diff != "" {
		t.Errorf("by name it is another (-id +name):\n%s", diff)
	}
	got := object{}
	for _, field := range []string{"id", "name", "region", "tags", "status", "lastHeartbeatAt", "lastConnectionEvent", "version", "offlineThresholdMs"} {
		value, ok := byID[field]
		if !ok {
			t.Errorf("%s is missing", field)
		}
		got[field] = value
	}
	want := object{
		"id": made.ID, "name": "eu-1", "region": "eu", "tags": object{}, "status": "offline",
		"lastHeartbeatAt": nil, "lastConnectionEvent": nil, "version": nil, "offlineThresholdMs": nil,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("satellite (-want +got):\n%s", diff)
	}
	if byID["createdAt"] != made.CreatedAt.Format("2006-01-02T15:04:05.999999999Z07:00") {
		t.Errorf("createdAt = %v, want %v", byID["createdAt"], made.CreatedAt)
	}
	for _, field := range []string{"capabilities", "appliedErrors"} {
		if value, ok := byID[field].([]any); !ok || len(value) != 0 {
			t.Errorf("%s = %v, want an empty list", field, byID[field])
		}
	}
}

// Spec M91: the original lists everything at once, in no order, without filters.
func TestM91_ListsComeInPagesByName(t *testing.T) {
	t.Parallel()
	c := setup(t)
	var names []string
	for i := range 7 {
		name := fmt.Sprintf("s%d", 6-i)
		c.satellite(name, "eu")
		names = append(names, name)
	}
	slices.Sort(names)
	var sizes []int
	var got []string
	query := url.Values{"limit": {"3"}}
	for {
		var page list[fleet.Satellite]
		c.get("/satellites?"+query.Encode(), &page)
		sizes = append(sizes, len(page.Items))
		for _, s := range page.Items {
			got = append(got, s.Name)
		}
		if page.NextCursor == nil {
			break
		}
		if len(sizes) == 1 {
			c.satellite("s0a", "eu") // what comes in between moves nothing
		}
		query.Set("cursor", *page.NextCursor)
	}
	if diff := cmp.Diff([]int{3, 3, 1}, sizes); diff != "" {
		t.Errorf("page sizes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(names, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if r := c.call(http.MethodGet, "/systems", nil, http.StatusOK, nil); strings.TrimSpace(r.body) != `{"items":[],"nextCursor":null}` {
		t.Errorf("an empty list is %s", r.body)
	}
}

func TestM91_SatellitesAreFiltered(t *testing.T) {
	t.Parallel()
	c := setup(t)
	for name, tags := range map[string]object{"a": {"tier": "edge", "os": "linux"}, "b": {"tier": "edge"}, "c": {}} {
		c.post("/satellites", object{"name": name, "region": map[string]string{"a": "eu", "b": "us", "c": "eu"}[name], "tags": tags}, nil)
	}
	for query, want := range map[string]string{
		"": "a b c", "name=b": "b", "region=eu": "a c", "tag=tier%3Dedge": "a b", "tag=tier%3Dedge&tag=os%3Dlinux": "a",
		"status=offline": "a b c", "status=online": "", "region=eu&tag=tier%3Dedge": "a", "name=none": "",
	} {
		var page list[fleet.Satellite]
		c.get("/satellites?"+query, &page)
		var got []string
		for _, s := range page.Items {
			got = append(got, s.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("?%s = %v, want %q", query, got, want)
		}
	}
	for query, place := range map[string]string{
		"tag=tier": "query.tag: write it as key=value", "status=asleep": `query.status: expected value to be one of "online, offline"`,
		"limit=0": "query.limit: expected number >= 1", "limit=1001": "query.limit: expected number <= 1000",
		"cursor=%21": "query.cursor: use nextCursor of the page before", "limt=1": "query.limt: unknown query parameter",
	} {
		if got := places(c.wrong(http.MethodGet, "/satellites?"+query, nil, http.StatusUnprocessableEntity)); !slices.Equal(got, []string{place}) {
			t.Errorf("?%s: %q, want %q", query, got, place)
		}
	}
}

func TestPatchSatellite(t *testing.T) {
	t.Parallel()
	c := setup(t)
	made, _ := c.satellite("eu-1", "eu")
	patch := func(body object) fleet.Satellite {
		t.Helper()
		var s fleet.Satellite
		c.call(http.MethodPatch, "/satellites/"+made.ID, body, http.StatusOK, &s)
		return s
	}
	want := made
	if diff := cmp.Diff(want, patch(object{})); diff != "" {
		t.Errorf("nothing given (-want +got):\n%s", diff)
	}
	threshold := int64(60_000)
	want.OfflineThresholdMs, want.Tags, want.Region = &threshold, map[string]string{"a": "1", "b": "2"}, "us"
	if diff := cmp.Diff(want, patch(object{"offlineThresholdMs": threshold, "tags": want.Tags, "region": "us"})); diff != "" {
		t.Errorf("three fields (-want +got):\n%s", diff)
	}
	want.Tags = map[string]string{"b": "3"}
	if diff := cmp.Diff(want, patch(object{"tags": want.Tags})); diff != "" {
		t.Errorf("tags are replaced, the threshold stays (-want +got):\n%s", diff)
	}
	want.OfflineThresholdMs = nil
	if diff := cmp.Diff(want, patch(object{"offlineThresholdMs": nil})); diff != "" {
		t.Errorf("a null threshold (-want +got):\n%s", diff)
	}
	want.Name, want.Tags = "eu-one", map[string]string{}
	if diff := cmp.Diff(want, patch(object{"name": "eu-one", "tags": object{}})); diff != "" {
		t.Errorf("name, and no tags (-want +got):\n%s", diff)
	}
	c.satellite("eu-2", "eu")
	if p := c.wrong(http.MethodPatch, "/satellites/eu-2", object{"name": "eu-one"}, http.StatusConflict); p.Type != "urn:perigee:problem:conflict" {
		t.Errorf("a taken name is %+v", p)
	}
	for body, location := range map[string]string{
		`{"name":""}`: "name", `{"offlineThresholdMs":1}`: "offlineThresholdMs", `{"nmae":"x"}`: "nmae",
		`{"tags":{"a":1}}`: "tags.a", `{"region":7}`: "region",
	} {
		p := c.wrong(http.MethodPatch, "/satellites/eu-2", body, http.StatusUnprocessableEntity)
		if len(p.Errors) != 1 || p.Errors[0].Location != location {
			t.Errorf("%s: %q, want one at %s", body, places(p), location)
		}
	}
}

func TestRotateToken(t *testing.T) {
	t.Parallel()
	c := setup(t)
	s, old := c.satellite("eu-1", "eu")
	var rotated httpapi.SatelliteToken
	c.call(http.MethodPost, "/satellites/eu-1/rotate-token", nil, http.StatusOK, &rotated)
	if rotated.Token == old || !strings.HasPrefix(rotated.Token, "csat_") || rotated.Satellite.ID != s.ID {
		t.Errorf("rotated = %+v", rotated)
	}
	if _, err := c.fleet.Verify(t.Context(), s.ID, old); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("the old token: %v", err)
	}
	if _, err := c.fleet.Verify(t.Context(), s.ID, rotated.Token); err != nil {
		t.Errorf("the new token: %v", err)
	}
}

func TestDeleteSatellite(t *testing.T) {
	t.Parallel()
	c := setup(t)
	s, _ := c.satellite("eu-1", "eu")
	if r := c.call(http.MethodDelete, "/satellites/eu-1", nil, http.StatusNoContent, nil); r.body != "" {
		t.Errorf("204 has a body: %q", r.body)
	}
	for _, ref := range []string{s.ID, "eu-1", "00000000-0000-0000-0000-000000000000"} {
		for _, route := range []struct {
			method, path string
			body         any
		}{{"GET", "", nil}, {"DELETE", "", nil}, {"PATCH", "", object{}}, {"POST", "/rotate-token", nil}, {"GET", "/transitions", nil}} {
			if ref == s.ID && route.path == "/transitions" {
				continue // its history stays
			}
			p := c.wrong(route.method, "/satellites/"+ref+route.path, route.body, http.StatusNotFound)
			if p.Type != "urn:perigee:problem:not-found" || !strings.Contains(p.Detail, "satellite") {
				t.Errorf("%s %s: %+v", route.method, ref+route.path, p)
			}
		}
	}
	var record list[entity.Transition]
	c.get("/satellites/"+s.ID+"/transitions?kind=satellite", &record)
	if len(record.Items) == 0 || record.Items[0].Actor == entity.System {
		t.Errorf("the record of a deleted satellite: %+v, want its making, by whoever made it", record.Items)
	}
}

func TestM33_RotationWithAnOverlap(t *testing.T) {
	t.Parallel()
	c := setup(t)
	s, old := c.satellite("eu-1", "eu")
	var rotated httpapi.SatelliteToken
	c.call(http.MethodPost, "/satellites/eu-1/rotate-token", object{"overlapMs": 3600000, "expiresInMs": 7200000}, http.StatusOK, &rotated)
	if rotated.Satellite.PreviousTokenValidUntil == nil || rotated.Satellite.TokenExpiresAt == nil {
		t.Errorf("rotated = %+v, want an overlap and an expiry", rotated.Satellite)
	}
	for _, token := range []string{old, rotated.Token} {
		if _, err := c.fleet.Verify(t.Context(), s.ID, token); err != nil {
			t.Errorf("during the overlap: %v", err)
		}
	}
	var revoked fleet.Satellite
	c.call(http.MethodPost, "/satellites/eu-1/revoke-previous-token", nil, http.StatusOK, &revoked)
	if revoked.PreviousTokenValidUntil != nil {
		t.Errorf("revoked = %+v, want no overlap", revoked)
	}
	if _, err := c.fleet.Verify(t.Context(), s.ID, old); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("the previous token: %v", err)
	}
	c.wrong(http.MethodPost, "/satellites/eu-1/revoke-previous-token", nil, http.StatusConflict)
	for body, location := range map[string]string{
		`{"overlapMs":-1}`: "overlapMs", `{"overlapMs":9223372036854775807}`: "overlapMs", `{"expiresInMs":1}`: "expiresInMs",
		`{"overlapMs":5000,"expiresInMs":5000}`: "overlapMs", `{"overlap":1}`: "overlap",
	} {
		p := c.wrong(http.MethodPost, "/satellites/eu-1/rotate-token", body, http.StatusUnprocessableEntity)
		if len(p.Errors) != 1 || p.Errors[0].Location != location {
			t.Errorf("%s: %q, want at %s", body, places(p), location)
		}
	}
}

func TestCreateSatelliteSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	c := setup(t)
	c.satellite("eu-1", "eu")
	if p := c.wrong(http.MethodPost, "/satellites", object{"name": "eu-1", "region": "eu"}, http.StatusConflict); !strings.Contains(p.Detail, "eu-1") {
		t.Errorf("a taken name: %+v", p)
	}
	for body, locations := range map[string]string{
		`{}`: "body", `{"name":"","region":""}`: "name region", `{"name":"x","region":"eu","offlineThresholdMs":14999}`: "offlineThresholdMs",
		`{"name":"x","region":"eu","nmae":1}`: "nmae", `{"name":"x","region":"eu","tags":["a"]}`: "tags", `[]`: "body", `null`: "body",
	} {
		p := c.wrong(http.MethodPost, "/satellites", body, http.StatusUnprocessableEntity)
		var got []string
		for _, e := range p.Errors {
			got = append(got, e.Location)
		}
		if slices.Sort(got); strings.Join(slices.Compact(got), " ") != locations {
			t.Errorf("%s: %q, want at %s", body, places(p), locations)
		}
	}
}

func TestTransitionsOfASatellite(t *testing.T) {
	t.Parallel()
	c := setup(t)
	s, _ := c.satellite("eu-1", "eu")
	epoch, err := c.fleet.Open(t.Context(), s.ID, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.fleet.Close(t.Context(), s.ID, epoch); err != nil {
		t.Fatal(err)
	}
	var all, record list[entity.Transition]
	c.get("/satellites/eu-1/transitions", &all)
	var edges []string
	for _, tr := range all.Items {
		if tr.EntityID != s.ID || tr.Kind != "satellite-connection" {
			t.Errorf("a transition of something else: %+v", tr)
		}
		if tr.Field == "lastConnectionEvent" || tr.Field == "lastEvent" || tr.To == "connected" || tr.To == "disconnected" {
			edges = append(edges, tr.To)
		}
	}
	if len(edges) < 2 || !slices.Contains(edges, "connected") || !slices.Contains(edges, "disconnected") ||
		slices.Index(edges, "disconnected") > slices.Index(edges, "connected") {
		t.Errorf("edges, newest first = %v of %+v", edges, all.Items)
	}
	c.get("/satellites/eu-1/transitions?kind=satellite&limit=1", &record)
	if len(record.Items) != 1 || record.Items[0].Kind != "satellite" {
		t.Errorf("history of the record = %+v", record)
	}
	c.wrong(http.MethodGet, "/satellites/eu-1/transitions?kind=other", nil, http.StatusUnprocessableEntity)
}

func TestCordonDrainAndWeight(t *testing.T) {
	t.Parallel()
	c := setup(t)
	c.satellite("eu-1", "eu")
	at := func(word string) [3]any {
		var s fleet.Satellite
		c.call(http.MethodPost, "/satellites/eu-1/"+word, nil, http.StatusOK, &s)
		return [3]any{s.CordonedAt != nil, s.Draining, s.Weight}
	}
	for _, step := range []struct {
		word string
		want [3]any
	}{
		{"cordon", [3]any{true, false, int64(1)}},
		{"drain", [3]any{true, true, int64(1)}},
		{"cordon", [3]any{true, false, int64(1)}}, // ends the drain, and no more
		{"uncordon", [3]any{false, false, int64(1)}},
		{"uncordon", [3]any{false, false, int64(1)}},
	} {
		if diff := cmp.Diff(step.want, at(step.word)); diff != "" {
			t.Errorf("%s: cordoned, draining, weight -want +got:\n%s", step.word, diff)
		}
	}
	for _, word := range []string{"cordon", "drain", "uncordon"} {
		c.wrong(http.MethodPost, "/satellites/nobody/"+word, nil, http.StatusNotFound)
	}
	var s fleet.Satellite
	c.call(http.MethodPatch, "/satellites/eu-1", object{"weight": 1000}, http.StatusOK, &s)
	if s.Weight != 1000 {
		t.Errorf("weight = %d", s.Weight)
	}
	for _, weight := range []any{-1, 1001, 1.5, "2"} {
		c.wrong(http.MethodPatch, "/satellites/eu-1", object{"weight": weight}, http.StatusUnprocessableEntity)
	}
}
