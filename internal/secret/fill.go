package secret

import (
	"context"
	"slices"

	"github.com/perigee-monitoring/perigee/internal/redact"
)

// Fill puts values where texts refer to secrets, for what the core itself sends. The
// redactor takes the values out of whatever comes back; nil when there are none.
// Faults: NotFound, Unavailable.
func (s *Service) Fill(ctx context.Context, texts ...string) ([]string, *redact.Redactor, error) {
	var names []string
	parsed := make([]text, len(texts))
	for i, t := range texts {
		if p, ok := parse(t); ok {
			parsed[i] = p
			names = append(names, p.names...)
		}
	}
	if len(names) == 0 {
		return texts, nil, nil
	}
	slices.Sort(names)
	values, _, err := s.resolve(ctx, slices.Compact(names))
	if err != nil {
		return nil, nil, err
	}
	filled := slices.Clone(texts)
	for i, p := range parsed {
		if p.names != nil {
			filled[i] = p.fill(values)
		}
	}
	var taken []string
	for _, v := range values {
		taken = append(taken, v)
	}
	return filled, redact.New(taken...), nil
}

// Refers reports whether the text refers to a secret.
func Refers(t string) bool { return reference.MatchString(t) }
