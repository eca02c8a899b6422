package check_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
)

func TestL123_L124_ValuesGoWhereTheConfigHasAPlaceForThem(t *testing.T) {
	t.Parallel()
	config := json.RawMessage(`{"a":"m","n":12345678901234567890,"o":{"b":"m"},"list":[{"x":"m"},{"x":"m","y":["m","m"]}]}`)
	before := bytes.Clone(config)
	got, err := check.SetTexts(config, map[string]string{
		"a": "A", "o.b": `B"\`, "list[0].x": "X0", "list[1].y[1]": "Y1",
		// Stale ones, of a config that has changed.
		"gone": "1", "o.gone": "2", "list[7].x": "3", "list.x": "4", "a.b": "5", "o": "6", "list[1]": "7", "": "8", "n": "9", "list[99999999999999999999].x": "10",
	})
	want := `{"a":"A","list":[{"x":"X0"},{"x":"m","y":["m","Y1"]}],"n":12345678901234567890,"o":{"b":"B\"\\"}}`
	if diff := cmp.Diff(want, string(got)); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if !bytes.Equal(before, config) {
		t.Errorf("the original was changed to %s", config)
	}
}
