package fault

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestKindsSurviveWrapping(t *testing.T) {
	t.Parallel()
	cause := errors.New("connection refused")
	err := fmt.Errorf("opening: %w", Wrap(Unavailable, cause, "the database is away"))
	if !Is(err, Unavailable) || KindOf(err).Status() != http.StatusServiceUnavailable || !errors.Is(err, cause) {
		t.Errorf("%v lost its kind or its cause", err)
	}
	if plain := errors.New("boom"); KindOf(plain) != Internal || Is(plain, Unavailable) {
		t.Error("an error that is no fault is not internal")
	}
	if Is(nil, Internal) {
		t.Error("no error is a fault")
	}
}

func TestEveryKindHasANameAndAStatus(t *testing.T) {
	t.Parallel()
	for kind := Internal; kind <= Unavailable; kind++ {
		if kind.String() == "" || kind.Status() < 400 {
			t.Errorf("kind %d is %q with status %d", kind, kind, kind.Status())
		}
	}
}

func TestFieldsAreInTheText(t *testing.T) {
	t.Parallel()
	err := &Error{Kind: Invalid, Message: "the check is not valid", Fields: []Field{{Path: "spec.interval", Message: "is missing"}}}
	if !strings.Contains(err.Error(), "spec.interval: is missing") {
		t.Errorf("text = %q", err.Error())
	}
}
