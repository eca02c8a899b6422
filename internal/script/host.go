package script

import (
	"container/heap"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // scripts talk to what still signs with it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	whatwg "github.com/nlnwa/whatwg-url/url"
)

// maxTimers bounds how many timers of a script wait at once.
const maxTimers = 10_000

var began = time.Now()

// host answers what the prelude asks of this process. An error becomes an exception.
func (m *machine) host(args []any) (any, error) {
	what, _ := argument(args, 0).(string)
	switch what {
	case "log":
		return nil, m.out.Encode(said{Log: &logged{Text: text(args, 1)}})
	case "now":
		return float64(time.Since(began).Microseconds()) / 1000, nil
	case "timer":
		if len(m.timers) >= maxTimers {
			return nil, fmt.Errorf("more than %d timers wait", maxTimers)
		}
		wait := time.Duration(min(number(args, 2), 1e9) * float64(time.Millisecond))
		heap.Push(&m.timers, timer{at: time.Now().Add(wait), id: int(number(args, 1))})
		return nil, nil
	case "untimer":
		id := int(number(args, 1))
		if i := slices.IndexFunc(m.timers, func(t timer) bool { return t.id == id }); i >= 0 {
			heap.Remove(&m.timers, i)
		}
		return nil, nil
	case "fetch":
		return nil, m.fetch(text(args, 1))
	case "abort":
		return nil, m.out.Encode(said{Abort: int64(number(args, 1))})
	case "end":
		if m.end == nil {
			m.end = &ended{Value: json.RawMessage(text(args, 1))}
		}
		return nil, nil
	case "fail":
		if m.end == nil {
			m.end = &ended{Thrown: &thrown{Name: text(args, 1), Message: text(args, 2), Stack: text(args, 3)}}
		}
		return nil, nil
	case "url":
		return parseURL(args)
	case "form":
		return url.QueryEscape(text(args, 1)), nil
	case "unform":
		plain, err := url.QueryUnescape(text(args, 1))
		if err != nil {
			return text(args, 1), nil //nolint:nilerr // what is no escape is text
		}
		return plain, nil
	case "utf8":
		return decodeUTF8(args)
	case "uuid":
		return uuid.NewString(), nil
	case "random":
		b := make([]byte, min(max(int(number(args, 1)), 0), 1<<16))
		_, _ = rand.Read(b) // it never fails
		return base64.StdEncoding.EncodeToString(b), nil
	case "digest", "hmac":
		return hashed(what, args)
	}
	return nil, fmt.Errorf("there is no %q", what)
}

func argument(args []any, i int) any {
	if i < len(args) {
		return args[i]
	}
	return nil
}

func text(args []any, i int) string {
	s, _ := argument(args, i).(string)
	return s
}

func number(args []any, i int) float64 {
	switch n := argument(args, i).(type) {
	case int:
		return float64(n)
	case float64:
		return n
	}
	return 0
}

func (m *machine) fetch(request string) error {
	if m.asked++; m.asked > maxFetches {
		return fmt.Errorf("more than %d requests in one run", maxFetches)
	}
	var t fetchTask
	if err := json.Unmarshal([]byte(request), &t); err != nil {
		return errors.New("the request cannot be read")
	}
	m.fetches++
	return m.out.Encode(said{Fetch: &t})
}

// urlParts are what a URL object shows (WHATWG URL, section 6.1).
type urlParts struct {
	Href     string `json:"href"`
	Origin   string `json:"origin"`
	Protocol string `json:"protocol"`
	Username string `json:"username"`
	Password string `json:"password"`
	Host     string `json:"host"`
	Hostname string `json:"hostname"`
	Port     string `json:"port"`
	Pathname string `json:"pathname"`
	Search   string `json:"search"`
	Hash     string `json:"hash"`
}

// parseURL reads a URL, against a base if there is one, with one part set anew if one is
// named; null for what is no URL.
func parseURL(args []any) (any, error) {
	href := text(args, 1)
	var u *whatwg.Url
	var err error
	if base, ok := argument(args, 2).(string); ok {
		u, err = whatwg.ParseRef(base, href)
	} else {
		u, err = whatwg.Parse(href)
	}
	if err != nil {
		return nil, nil //nolint:nilerr // null says so
	}
	if part, ok := argument(args, 3).(string); ok {
		set := map[string]func(string){
			"protocol": u.SetProtocol, "username": u.SetUsername, "password": u.SetPassword, "host": u.SetHost, "hostname": u.SetHostname,
			"port": u.SetPort, "pathname": u.SetPathname, "search": u.SetSearch, "hash": u.SetHash,
		}[part]
		if set != nil {
			set(text(args, 4))
		}
	}
	parts, err := json.Marshal(urlParts{
		Href: u.Href(false), Origin: origin(u), Protocol: u.Protocol(), Username: u.Username(), Password: u.Password(),
		Host: u.Host(), Hostname: u.Hostname(), Port: u.Port(), Pathname: u.Pathname(), Search: u.Search(), Hash: u.Hash(),
	})
	return string(parts), err
}

func origin(u *whatwg.Url) string {
	switch u.Protocol() {
	case "http:", "https:", "ws:", "wss:", "ftp:":
		return u.Protocol() + "//" + u.Host()
	}
	return "null"
}

func decodeUTF8(args []any) (any, error) {
	raw, err := base64.StdEncoding.DecodeString(text(args, 1))
	if err != nil {
		return nil, err
	}
	if fatal, _ := argument(args, 2).(bool); fatal && !utf8.Valid(raw) {
		return nil, nil
	}
	return strings.ToValidUTF8(string(raw), "\uFFFD"), nil
}

func hashed(what string, args []any) (any, error) {
	var fresh func() hash.Hash
	switch text(args, 1) {
	case "SHA-1":
		fresh = sha1.New
	case "SHA-256":
		fresh = sha256.New
	case "SHA-384":
		fresh = sha512.New384
	case "SHA-512":
		fresh = sha512.New
	default:
		return nil, errors.New("the hash is not known here")
	}
	first, err := base64.StdEncoding.DecodeString(text(args, 2))
	if err != nil {
		return nil, err
	}
	h := fresh()
	if what == "hmac" {
		data, err := base64.StdEncoding.DecodeString(text(args, 3))
		if err != nil {
			return nil, err
		}
		h = hmac.New(fresh, first)
		h.Write(data)
	} else {
		h.Write(first)
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil)), nil
}
