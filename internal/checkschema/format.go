package checkschema

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/perigee-monitoring/perigee/check"
)

// formats are the values of "format" in our schemas. Texts with templates are
// judged at run time, when they are filled.
var formats = []*jsonschema.Format{
	{Name: "http-url", Validate: onText(func(text string) error {
		return isURL(text, "http", "https")
	})},
	{Name: "ws-url", Validate: onText(func(text string) error {
		return isURL(text, "ws", "wss")
	})},
	{Name: "proxy-url", Validate: onText(func(text string) error {
		return isURL(text, "http", "https", "socks5")
	})},
	{Name: "cidr", Validate: onText(func(text string) error {
		if _, err := netip.ParsePrefix(text); err != nil {
			return fmt.Errorf("must be a network such as 10.0.0.0/8 or fe80::/10")
		}
		return nil
	})},
	{Name: "host", Validate: onText(isHost)},
	{Name: "name", Validate: onText(func(text string) error {
		if len(check.Holes("{{ "+text+" }}")) != 1 || strings.Contains(text, ".") {
			return fmt.Errorf("must be a name: a letter, then letters, digits, _ and -")
		}
		return nil
	})},
	{Name: "oid", Validate: onText(func(text string) error {
		if !check.IsOID(text) {
			return fmt.Errorf("must be an object identifier in numbers, such as 1.3.6.1.2.1.1.3.0")
		}
		return nil
	})},
	{Name: "container-url", Validate: onText(func(text string) error {
		if u, err := url.Parse(text); err == nil && u.Scheme == "unix" && u.Host == "" && u.Path != "" {
			return nil
		}
		if isURL(text, "http", "https") != nil {
			return fmt.Errorf("must be a URL such as http://host:2375 or unix:///path/of.sock")
		}
		return nil
	})},
	{Name: "mount-point", Validate: onText(func(text string) error {
		if !check.IsMountPoint(text) {
			return fmt.Errorf("must be made of letters, digits and the characters _ / . : -")
		}
		return nil
	})},
}

func onText(validate func(string) error) func(any) error {
	return func(value any) error {
		text, ok := value.(string)
		if !ok || text == "" || strings.Contains(text, "{{") {
			return nil // what is not a text, or empty, other rules speak of
		}
		return validate(text)
	}
}

func isURL(text string, schemes ...string) error {
	u, err := url.Parse(text)
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Hostname() == "" {
		return fmt.Errorf("must be a URL such as %s://example.org", schemes[0])
	}
	return nil
}

func isHost(text string) error {
	if _, err := netip.ParseAddr(text); err == nil {
		return nil
	}
	if strings.ContainsAny(text, " \t\r\n/:@?#[]") {
		return fmt.Errorf("must be a name or an address alone, such as example.org")
	}
	return nil
}
