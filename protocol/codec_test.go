package protocol

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEncodePutsTheTypeFirst(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		message Message
		want    string
	}{
		{&Ack{UpTo: 7}, `{"type":"perigee_ack","upTo":7}`},
		{&Inventory{}, `{"type":"perigee_inventory"}`},
		{&Shutdown{Reason: "a <b> & c"}, `{"type":"shutdown","reason":"a <b> & c"}`},
	} {
		frame, err := Encode(c.message)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, string(frame)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}
