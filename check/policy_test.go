package check

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPolicyDefaults(t *testing.T) {
	t.Parallel()
	opinion := SecondOpinion{Ask: 2, Wait: Duration(2 * time.Second), Domain: "region"}
	for _, tc := range []struct {
		text string
		want Policy
	}{
		{`{}`, Policy{Thresholds: Thresholds{1, 1, 1}, Quorum: Quorum{Kind: QuorumWorst}, SecondOpinion: opinion}},
		{`{"thresholds":{"unhealthy":3},"secondOpinion":{"off":true}}`, Policy{
			Thresholds: Thresholds{3, 3, 1}, Quorum: Quorum{Kind: QuorumWorst}, SecondOpinion: SecondOpinion{Off: true},
		}},
		{`{"window":{"failures":3,"of":10},"flap":{"on":40},"quorum":{"kind":"regions"}}`, Policy{
			Thresholds: Thresholds{Recovery: 1}, Window: Window{3, 10}, Flap: Flap{20, 40, 25},
			Quorum: Quorum{Kind: QuorumRegions, Count: 1}, SecondOpinion: opinion,
		}},
	} {
		var p Policy
		if err := json.Unmarshal([]byte(tc.text), &p); err != nil {
			t.Fatal(err)
		}
		if wrong := p.Validate(); wrong != nil {
			t.Errorf("%s is wrong: %+v", tc.text, wrong)
		}
		got := p.WithDefaults()
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.text, diff)
		}
		if again := got.WithDefaults(); again != got {
			t.Errorf("%s: defaults of defaults are %+v", tc.text, again)
		}
		if wrong := got.Validate(); wrong != nil {
			t.Errorf("%s with defaults is wrong: %+v", tc.text, wrong)
		}
		text, err := json.Marshal(p)
		if err != nil || string(text) != tc.text {
			t.Errorf("%s is written as %s (%v)", tc.text, text, err)
		}
	}
}

func TestPolicyProblems(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		`{"thresholds":{"unhealthy":-1,"degraded":101}}`:               {"thresholds.unhealthy", "thresholds.degraded"},
		`{"thresholds":{"unhealthy":2,"degraded":3}}`:                  nil, // slow for long, or down for a moment
		`{"window":{"failures":4,"of":3}}`:                             {"window.failures"},
		`{"window":{"failures":4}}`:                                    {"window.of", "window.failures"},
		`{"latency":{"degradedMs":5,"unhealthyMs":4}}`:                 {"latency.degradedMs"},
		`{"latency":{"degradedMs":-5}}`:                                {"latency.degradedMs"},
		`{"flap":{"window":2,"on":10,"off":20}}`:                       {"flap.window", "flap.off"},
		`{"quorum":{"kind":"most"}}`:                                   {"quorum.kind"},
		`{"quorum":{"kind":"count"}}`:                                  {"quorum.count"},
		`{"quorum":{"kind":"all","count":2,"share":50}}`:               {"quorum.count", "quorum.share"},
		`{"quorum":{"kind":"share","share":101}}`:                      {"quorum.share"},
		`{"quorum":{"kind":"regions","count":2,"share":50}}`:           nil,
		`{"secondOpinion":{"ask":11,"wait":"1m"}}`:                     {"secondOpinion.ask", "secondOpinion.wait"},
		`{"quorum":{"kind":"count","count":2},"flap":{"window":100}}`:  nil,
		`{"thresholds":{"degraded":2,"unhealthy":5,"recovery":1}}`:     nil,
		`{"window":{"failures":1,"of":1},"thresholds":{"degraded":5}}`: nil,
	} {
		var p Policy
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
		var paths []string
		for _, wrong := range p.Validate() {
			paths = append(paths, wrong.Path)
		}
		if diff := cmp.Diff(want, paths); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}
