package main

import (
	"testing"
	"time"
)

const eu1 = `{"id":"7f4d","name":"eu-1","region":"eu","tags":{"env":"prod","a":"b;c"},"status":"online",
	"lastHeartbeatAt":"2026-11-22T04:59:57Z","lastConnectionEvent":"connected","version":"0.1.0","createdAt":"2026-11-20T08:00:00.5Z",
	"offlineThresholdMs":60000,"capabilities":[],"inventory":null,"epoch":3,"desiredRevision":7,"appliedRevision":6,
	"appliedErrors":[{"configId":"c1","systemId":"s1","message":"unknown strategy"}],"pulse":{"sentAt":1,"spoolRecords":12}}`

const us1 = `{"id":"8a01","name":"us-1","region":"us","tags":{},"status":"offline","lastHeartbeatAt":null,"lastConnectionEvent":null,
	"version":null,"createdAt":"2026-11-20T08:00:00Z","offlineThresholdMs":null,"capabilities":[],"inventory":null,"epoch":0,
	"desiredRevision":1,"appliedRevision":null,"appliedErrors":[],"pulse":null}`

func TestSatelliteCreateShowsTheTokenAndTheCommand(t *testing.T) {
	t.Parallel()
	threshold := time.Minute
	create := &SatelliteCreateCmd{Name: "eu-1", Region: "eu", Tag: map[string]string{"env": "prod"}, OfflineThreshold: &threshold}
	core := runs(t, create, "table", map[string]string{"POST /satellites": `{"satellite":` + eu1 + `,"token":"csat_x"}`}, `
Satellite eu-1 (eu) is made. Its token is shown this once.
Where it shall check from, run:

  export PERIGEE_SATELLITE_TOKEN=csat_x
  perigee-satellite --core URL --id 7f4d
`)
	want := `{"name":"eu-1","region":"eu","tags":{"env":"prod"},"offlineThresholdMs":60000}`
	if got, _ := core.received("POST /satellites"); got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
}

func TestSatelliteCreateAsJSONIsSatelliteAndToken(t *testing.T) {
	t.Parallel()
	runs(t, &SatelliteCreateCmd{Name: "us-1", Region: "us"}, "json", map[string]string{"POST /satellites": `{"satellite":` + us1 + `,"token":"csat_x"}`}, `
{
  "satellite": {
    "id": "8a01",
    "name": "us-1",
    "region": "us",
    "tags": {},
    "status": "offline",
    "lastHeartbeatAt": null,
    "lastConnectionEvent": null,
    "version": null,
    "createdAt": "2026-11-20T08:00:00Z",
    "offlineThresholdMs": null,
    "tokenExpiresAt": null,
    "tokenLastUsedAt": null,
    "previousTokenValidUntil": null,
    "previousTokenInUse": false,
    "capabilities": [],
    "inventory": null,
    "epoch": 0,
    "desiredRevision": 1,
    "appliedRevision": null,
    "appliedErrors": [],
    "pulse": null,
    "observer": null,
    "illSince": null,
    "duplicateUntil": null,
    "weight": 0,
    "cordonedAt": null,
    "draining": false,
    "leasedUntil": null,
    "seats": 0
  },
  "token": "csat_x"
}
`)
}

func TestSatelliteRotateToken(t *testing.T) {
	t.Parallel()
	runs(t, &SatelliteRotateTokenCmd{Name: "us-1"}, "table", map[string]string{"POST /satellites/us-1/rotate-token": `{"satellite":` + us1 + `,"token":"csat_y"}`}, `
The old token of satellite us-1 (us) does not work any more. Its token is shown this once.
Where it shall check from, run:

  export PERIGEE_SATELLITE_TOKEN=csat_y
  perigee-satellite --core URL --id 8a01
`)
}

const overlapping = `{"id":"7f4d","name":"eu-1","region":"eu","tags":{},"status":"online","lastHeartbeatAt":"2026-11-22T04:59:57Z",
	"createdAt":"2026-11-20T08:00:00Z","capabilities":[],"appliedErrors":[],"epoch":3,"desiredRevision":7,"appliedRevision":7,
	"tokenExpiresAt":"2026-12-22T05:00:00Z","tokenLastUsedAt":"2026-11-22T04:00:00Z",
	"previousTokenValidUntil":"2026-11-22T06:00:00Z","previousTokenInUse":true}`

func TestSatelliteRotateTokenWithAnOverlap(t *testing.T) {
	t.Parallel()
	hour, month := time.Hour, 720*time.Hour
	rotate := &SatelliteRotateTokenCmd{Name: "eu-1", Overlap: &hour, Expires: &month}
	core := runs(t, rotate, "table", map[string]string{"POST /satellites/eu-1/rotate-token": `{"satellite":` + overlapping + `,"token":"csat_y"}`}, `
The old token of satellite eu-1 (eu) works until 2026-11-22T06:00:00Z. Its token is shown this once.
Where it shall check from, run:

  export PERIGEE_SATELLITE_TOKEN=csat_y
  perigee-satellite --core URL --id 7f4d
`)
	if got, _ := core.received("POST /satellites/eu-1/rotate-token"); got != `{"overlapMs":3600000,"expiresInMs":2592000000}` {
		t.Errorf("sent %s", got)
	}
}

const ill = `{"id":"7f4d","name":"eu-1","region":"eu","tags":{},"status":"online","lastHeartbeatAt":"2026-11-22T04:59:57Z",
	"createdAt":"2026-11-20T08:00:00Z","capabilities":[],"appliedErrors":[],"epoch":3,"desiredRevision":7,"appliedRevision":7,
	"illSince":"2026-11-22T04:59:00Z","pulse":{"sentAt":1,"offsetMs":-300000,"uncertaintyMs":0.75},
	"observer":{"ill":[{"kind":"resolver","since":1,"detail":"no answer from the nameserver"}],"clockSkewed":true}}`

func TestSatellitesShowTheirIllness(t *testing.T) {
	t.Parallel()
	runs(t, &SatelliteListCmd{}, "table", map[string]string{"GET /satellites?limit=1000": `{"items":[` + ill + `,` + us1 + `],"nextCursor":null}`}, `
NAME  REGION  STATUS   ILL              HEARD   VERSION  TAGS
eu-1  eu      online   resolver, clock  3s ago  -
us-1  us      offline  -                -       -
`)
}

func TestSatellitesShowTheirTokens(t *testing.T) {
	t.Parallel()
	runs(t, &SatelliteListCmd{}, "table", map[string]string{"GET /satellites?limit=1000": `{"items":[` + overlapping + `,` + us1 + `],"nextCursor":null}`}, `
NAME  REGION  STATUS   HEARD   VERSION  TOKEN            TAGS
eu-1  eu      online   3s ago  -        previous in use
us-1  us      offline  -       -        -
`)
	runs(t, &SatelliteRevokePreviousTokenCmd{Name: "eu-1"}, "table", map[string]string{"POST /satellites/eu-1/revoke-previous-token": overlapping}, `
Name            eu-1
Id              7f4d
Region          eu
Tags            -
Status          online
Heard           3s ago
Last event      never connected
Version         -
Token           used 1h ago, expires 2026-12-22T05:00:00Z
Previous token  valid until 2026-11-22T06:00:00Z, still in use
Offline after   45s
Definitions     revision 7, up to date
Created         2026-11-20T08:00:00Z
`)
}

func TestSatelliteListReadsEveryPage(t *testing.T) {
	t.Parallel()
	runs(t, &SatelliteListCmd{Region: "e&u", Status: "online", Tag: []string{"env=prod", "a=b"}}, "table", map[string]string{
		"GET /satellites?limit=1000&region=e%26u&status=online&tag=env%3Dprod&tag=a%3Db":          `{"items":[` + eu1 + `],"nextCursor":"n"}`,
		"GET /satellites?cursor=n&limit=1000&region=e%26u&status=online&tag=env%3Dprod&tag=a%3Db": `{"items":[` + us1 + `],"nextCursor":null}`,
	}, `
NAME  REGION  STATUS   HEARD   VERSION  TAGS
eu-1  eu      online   3s ago  0.1.0    a=b;c,env=prod
us-1  us      offline  -       -
`)
}

func TestAnEmptyListAsJSONIsAList(t *testing.T) {
	t.Parallel()
	runs(t, &SatelliteListCmd{}, "json", map[string]string{"GET /satellites?limit=1000": `{"items":[],"nextCursor":null}`}, `
{
  "items": []
}
`)
}

func TestSatelliteGet(t *testing.T) {
	t.Parallel()
	runs(t, &SatelliteGetCmd{Name: "a/b c"}, "table", map[string]string{
		"GET /satellites/a%2Fb%20c":   eu1,
		"GET /assignments?limit=1000": `{"items":[{"checkId":"c1","systemId":"s1","check":"front-page","system":"shop"}],"nextCursor":null}`,
	}, `
Name           eu-1
Id             7f4d
Region         eu
Tags           a=b;c,env=prod
Status         online
Heard          3s ago
Last event     connected
Version        0.1.0
Token          never used, does not expire
Offline after  1m0s
Definitions    revision 7, still runs 6
Cannot run     front-page of shop: unknown strategy
To be sent     12 records, 0 dropped so far
Created        2026-11-20T08:00:00Z
`)
}

func TestSatelliteUpdateSendsWhatWasGiven(t *testing.T) {
	t.Parallel()
	minute := time.Minute
	for name, tt := range map[string]struct {
		update SatelliteUpdateCmd
		want   string
	}{
		"a name":                {SatelliteUpdateCmd{Name: new("eu-2")}, `{"name":"eu-2"}`},
		"region and tags":       {SatelliteUpdateCmd{Region: new("eu"), Tag: map[string]string{"a": "b"}}, `{"region":"eu","tags":{"a":"b"}}`},
		"no tags":               {SatelliteUpdateCmd{NoTags: true}, `{"tags":{}}`},
		"a threshold":           {SatelliteUpdateCmd{OfflineThreshold: &minute}, `{"offlineThresholdMs":60000}`},
		"the default threshold": {SatelliteUpdateCmd{DefaultThreshold: true}, `{"offlineThresholdMs":null}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, core, _ := setup(t, "table", map[string]string{"PATCH /satellites/eu-1": eu1})
			tt.update.Satellite = "eu-1"
			if err := tt.update.Run(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			if got, _ := core.received("PATCH /satellites/eu-1"); got != tt.want {
				t.Errorf("sent %s, want %s", got, tt.want)
			}
		})
	}
}

func TestSatelliteDelete(t *testing.T) {
	t.Parallel()
	core := runs(t, &SatelliteDeleteCmd{Name: "eu-1", Yes: true}, "table", map[string]string{"DELETE /satellites/eu-1": ``}, "")
	if _, asked := core.received("DELETE /satellites/eu-1"); !asked {
		t.Error("nothing was deleted")
	}
}

func TestM93_TransitionsOfTheRecordSayWho(t *testing.T) {
	t.Parallel()
	runs(t, &SatelliteTransitionsCmd{Name: "eu-1", Limit: 2, Record: true}, "table", map[string]string{
		"GET /satellites/eu-1/transitions?kind=satellite&limit=2": `{"items":[
			{"field":"region","from":"eu","to":"us","at":"2026-11-22T04:00:00Z","actor":{"type":"application","id":"t1","name":"deploy"}},
			{"field":"name","from":null,"to":"eu-1","at":"2026-11-22T03:00:00Z","actor":{"type":"system","id":"perigee"}}],"nextCursor":"more"}`,
	}, `
TIME                  FIELD   FROM  TO    BY
2026-11-22T04:00:00Z  region  eu    us    deploy
2026-11-22T03:00:00Z  name    -     eu-1  perigee
`)
}

func TestSatelliteTransitions(t *testing.T) {
	t.Parallel()
	runs(t, &SatelliteTransitionsCmd{Name: "eu-1", Limit: 2}, "table", map[string]string{
		"GET /satellites/eu-1/transitions?kind=satellite-connection&limit=2": `{"items":[
			{"field":"lastEvent","from":"connected","to":"heartbeat_lost","at":"2026-11-22T04:00:00Z"},
			{"field":"lastEvent","from":null,"to":"connected","at":"2026-11-22T03:00:00Z"}],"nextCursor":"more"}`,
	}, `
TIME                  FIELD      FROM       TO
2026-11-22T04:00:00Z  lastEvent  connected  heartbeat_lost
2026-11-22T03:00:00Z  lastEvent  -          connected
`)
}
