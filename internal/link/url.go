package link

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/perigee-monitoring/perigee/protocol"
)

// URL is where the core at coreURL serves satellites (spec A.1): http becomes ws,
// https becomes wss, one trailing slash goes, a path prefix stays.
func URL(coreURL string) (string, error) {
	u, err := url.Parse(coreURL)
	if err != nil {
		// What url.Parse says repeats its input, which may hold a password.
		return "", errors.New("the core's URL cannot be read; write it as https://core.example.org")
	}
	scheme, ok := map[string]string{"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}[u.Scheme]
	switch {
	case !ok:
		return "", fmt.Errorf("the core's URL begins with %q; it must begin with http:// or https://", u.Scheme)
	case u.Host == "":
		return "", errors.New("the core's URL has no host; write it as https://core.example.org")
	case u.User != nil:
		return "", errors.New("the core's URL must not hold a user or password: the satellite has a token of its own")
	case u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("the core's URL must end with its path, without ? or #")
	}
	return scheme + "://" + u.Host + strings.TrimSuffix(u.EscapedPath(), "/") + protocol.Path, nil
}
