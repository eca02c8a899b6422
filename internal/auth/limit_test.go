package auth_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// guess tries n wrong tokens from the address and says how many were looked at.
func guess(t *testing.T, a *auth.Authenticator, remote string, n int) (looked int) {
	t.Helper()
	for i := range n {
		_, err := a.Token(t.Context(), remote, fmt.Sprintf("wrong-%d", i))
		switch {
		case fault.Is(err, fault.Unauthenticated):
			looked++
		case !fault.Is(err, fault.TooMany):
			t.Fatalf("a wrong token: %v", err)
		}
	}
	return looked
}

func TestGuessesAreLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, _ := holding(t)
		if n := guess(t, a, "192.0.2.1:1000", 50); n != 10 {
			t.Errorf("%d guesses at once were looked at, want 10", n)
		}
		if _, err := a.Token(t.Context(), "192.0.2.1:2000", right); !fault.Is(err, fault.TooMany) {
			t.Errorf("a right guess after too many wrong ones: %v", err)
		}
		if _, err := a.Token(t.Context(), "192.0.2.2:1000", right); err != nil {
			t.Errorf("a neighbour: %v", err)
		}
		if _, err := a.Token(t.Context(), "192.0.2.1:2000", right); err != nil {
			t.Errorf("a token that is known to be right, behind the guesser's address: %v", err)
		}
		if n := guess(t, a, "192.0.2.1:1000", 5); n != 0 {
			t.Errorf("a holder's success gave the guesser %d more", n)
		}
		time.Sleep(9 * time.Second) // of the bubble
		if n := guess(t, a, "192.0.2.1:1000", 50); n != 3 {
			t.Errorf("after 9 s %d more were looked at, want 3", n)
		}
	})
}

func TestSuccessesAreNotLimited(t *testing.T) {
	t.Parallel()
	a, _ := holding(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 50 {
				if _, err := a.Token(t.Context(), "192.0.2.1:1", right); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestManyGuessersAtOnce(t *testing.T) {
	t.Parallel()
	a, _ := holding(t)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() { guess(t, a, fmt.Sprintf("[2001:db8:%x::1]:1", i), 12) })
	}
	wg.Wait()
	if _, err := a.Token(t.Context(), "192.0.2.1:1", right); err != nil {
		t.Error(err)
	}
}

// One machine has as many IPv6 addresses of its network as it likes.
func TestOneGuesserIsOneNetwork(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		first, second string
		same          bool
	}{
		{"192.0.2.1:1", "192.0.2.1:2", true},
		{"192.0.2.1:1", "192.0.2.2:1", false},
		{"192.0.2.1:1", "[::ffff:192.0.2.1]:1", true},
		{"192.0.2.1", "192.0.2.1:1", true},
		{"[2001:db8::1]:1", "[2001:db8::ffff:1]:1", true},
		{"[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false},
		{"[fe80::1%eth0]:1", "[fe80::2]:1", true},
		{"@", "@", true},
		{"@", "", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, _ := holding(t)
			guess(t, a, test.first, 20)
			if same := guess(t, a, test.second, 1) == 0; same != test.same {
				t.Errorf("%s and %s are one network: %v, want %v", test.first, test.second, same, test.same)
			}
		})
	}
}

func TestNetworksAreForgottenNotGathered(t *testing.T) {
	t.Parallel()
	a, _ := holding(t)
	for i := range 12_000 { // more than are remembered
		guess(t, a, fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255), 1)
	}
	if n := guess(t, a, "192.0.2.1:1", 50); n < 10 || n > 12 {
		t.Errorf("after many networks one is looked at %d times, want 10", n)
	}
}
