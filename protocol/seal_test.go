package protocol

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSealedValuesOpenWithTheSessionsKeyAlone(t *testing.T) {
	t.Parallel()
	mine, err := NewSealKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewSealKey()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"API_TOKEN": "canary-1234"}
	sealed, err := Seal(mine.Public, "r1", want)
	if err != nil {
		t.Fatal(err)
	}
	if raw, _ := base64.StdEncoding.DecodeString(sealed); strings.Contains(string(raw), "canary") {
		t.Error("the sealed text shows the value")
	}
	var got map[string]string
	if err := mine.Unseal(sealed, "r1", &got); err != nil || !cmp.Equal(want, got) {
		t.Errorf("opened %v, %v", got, err)
	}
	for name, err := range map[string]error{
		"another key":     other.Unseal(sealed, "r1", &got),
		"another request": mine.Unseal(sealed, "r2", &got),
		"cut":             mine.Unseal(sealed[:len(sealed)-8], "r1", &got),
		"not base64":      mine.Unseal("%", "r1", &got),
	} {
		if err == nil {
			t.Errorf("%s opens it", name)
		}
	}
	if wrong := mine.Unseal(sealed, "r1", new(int)); wrong == nil || strings.Contains(wrong.Error(), "canary") {
		t.Errorf("the wrong form: %v", wrong)
	}
	for _, public := range []string{"", "%", "c2hvcnQ="} {
		if _, err := Seal(public, "r1", want); err == nil {
			t.Errorf("sealed to the key %q", public)
		}
	}
}
