package fence

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// Egress is whom the checks of a satellite may reach, as its own operator says; no core has
// a say in it. It is about checks, not about scripts, which have policies of their own.
type Egress struct {
	// Deny are kinds of addresses and networks that no check connects to.
	Deny []string `json:"deny"`
	// Allow, where there is any, are the only hosts, addresses and networks that checks
	// connect to, each with a port or without; what is denied stays denied.
	Allow []string `json:"allow"`
}

// DefaultEgress is what holds where an operator has said nothing: private networks are what
// monitors are there for, and no service that is watched hands out credentials of the machine.
func DefaultEgress() Egress { return Egress{Deny: []string{"metadata"}} }

// kinds of addresses that a policy can name. Nameservers may answer at the addresses of
// metadata, and give nothing away.
var kinds = map[string]func(netip.AddrPort) bool{
	"metadata":   func(to netip.AddrPort) bool { return isMetadata(to.Addr()) && to.Port() != 53 },
	"link-local": func(to netip.AddrPort) bool { return isLinkLocal(to.Addr()) },
	"loopback":   func(to netip.AddrPort) bool { return to.Addr().IsLoopback() || to.Addr().IsUnspecified() },
	"private":    func(to netip.AddrPort) bool { return to.Addr().IsPrivate() || shared.Contains(to.Addr()) },
}

// shared is the space of carriers and of overlays (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

// UnmarshalJSON leaves what is absent as it is by default.
func (e *Egress) UnmarshalJSON(text []byte) error {
	type members Egress
	filled := members(DefaultEgress())
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&filled); err != nil {
		return err
	}
	*e = Egress(filled)
	return nil
}

// Validate says what is wrong with it. Fault: Invalid with every wrong place.
func (e Egress) Validate() error {
	var wrong []fault.Field
	for i, what := range e.Deny {
		if _, err := netip.ParsePrefix(what); err != nil && kinds[what] == nil {
			wrong = append(wrong, fault.Field{Path: fmt.Sprintf("checks.deny[%d]", i), Value: what, Message: "must be metadata, link-local, loopback, private, or a network such as 10.0.0.0/8"})
		}
	}
	for i, host := range e.Allow {
		if !allowable(host) {
			wrong = append(wrong, fault.Field{Path: fmt.Sprintf("checks.allow[%d]", i), Value: host, Message: "is no host, address or network"})
		}
	}
	if len(e.Deny) > maxAllowed || len(e.Allow) > maxAllowed {
		wrong = append(wrong, fault.Field{Path: "checks", Message: fmt.Sprintf("each list must be at most %d long", maxAllowed)})
	}
	if wrong != nil {
		return &fault.Error{Kind: fault.Invalid, Message: "the policy for checks is not valid", Fields: wrong}
	}
	return nil
}

// Barred is a connection of a check that the satellite's operator does not allow.
type Barred struct{ To, Reason string }

func (e *Barred) Error() string {
	return fmt.Sprintf("the policy of this satellite's own operator does not let checks connect to %s: %s", e.To, e.Reason)
}

// Admit says why a check's connection to an address is refused; nil lets it be made. host is
// the name that it was found by, "" for none.
func (e Egress) Admit(host string, to netip.AddrPort) error {
	at := netip.AddrPortFrom(plain(to.Addr()), to.Port())
	for _, what := range e.Deny {
		if of := kinds[what]; of != nil {
			if of(at) {
				return &Barred{to.String(), what + " addresses are closed"}
			}
		} else if network, err := netip.ParsePrefix(what); err == nil && network.Contains(at.Addr()) {
			return &Barred{to.String(), what + " is closed"}
		}
	}
	if len(e.Allow) > 0 && !(Network{Allow: e.Allow}).lists(host, to) {
		return &Barred{to.String(), "it is not on the list of what is allowed"}
	}
	return nil
}

// ReadLocal reads what a satellite's own operator has in a file: a policy for scripts, nil
// when it says nothing of them, and under "checks" whom checks may reach, nil for the default.
func ReadLocal(text []byte) (*Policy, *Egress, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, nil, err
	}
	var egress *Egress
	if checks, ok := members["checks"]; ok {
		egress = new(Egress)
		if err := json.Unmarshal(checks, egress); err != nil {
			return nil, nil, fmt.Errorf("checks: %w", err)
		}
		if err := egress.Validate(); err != nil {
			return nil, nil, err
		}
		delete(members, "checks")
		if len(members) == 0 {
			return nil, egress, nil
		}
	}
	rest, err := json.Marshal(members)
	if err != nil {
		return nil, nil, err
	}
	policy := new(Policy)
	if err := json.Unmarshal(rest, policy); err != nil {
		return nil, nil, err
	}
	return policy, egress, policy.Validate()
}
