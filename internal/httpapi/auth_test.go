package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

const satellites = httpapi.Base + "/satellites"

func TestOnlyHoldersOfATokenGetIn(t *testing.T) {
	t.Parallel()
	c := setup(t)
	for what, header := range map[string][]string{
		"nothing": nil, "an empty token": {"Authorization", "Bearer "}, "a wrong token": {"Authorization", "Bearer perigee_wrong-token"},
		"another scheme": {"Authorization", "Basic " + c.token}, "no scheme": {"Authorization", c.token},
		"a wrong session": {"Cookie", "perigee_session=wrong-session"}, "the token as a cookie": {"Cookie", "perigee_session=" + c.token},
		"a digest": {"Authorization", "Bearer " + auth.Digest(c.token)},
	} {
		r := c.send(http.MethodGet, satellites, nil, header...)
		if r.status != http.StatusUnauthorized || !strings.HasPrefix(r.header.Get("WWW-Authenticate"), "Bearer") || !strings.Contains(r.body, "urn:perigee:problem:unauthenticated") {
			t.Errorf("%s: %d %v %s", what, r.status, r.header["Www-Authenticate"], r.body)
		}
		if strings.Contains(r.body, "wrong") {
			t.Errorf("%s: the answer repeats it: %s", what, r.body)
		}
	}
	for _, scheme := range []string{"Bearer ", "bearer ", "BEARER  "} {
		if r := c.send(http.MethodGet, satellites, nil, "Authorization", scheme+c.token); r.status != http.StatusOK {
			t.Errorf("%q: %d %s", scheme, r.status, r.body)
		}
	}
	// Who is not let in does not learn what exists, nor whether the request is right.
	for path, body := range map[string]string{"/satellites/none": "", "/systems": `{"name":7}`, "/apply": "nonsense"} {
		method := http.MethodPost
		var sent any = body
		if body == "" {
			method, sent = http.MethodGet, nil
		}
		if r := c.send(method, httpapi.Base+path, sent); r.status != http.StatusUnauthorized {
			t.Errorf("%s %s without a token: %d", method, path, r.status)
		}
	}
	if strings.Contains(c.log.String(), "perigee_wrong") || strings.Contains(c.log.String(), c.token) {
		t.Errorf("a token was logged: %s", c.log)
	}
}

func TestGuessersWaitAndHoldersDoNot(t *testing.T) {
	t.Parallel()
	c := setup(t)
	c.get("/satellites", nil)
	var last reply
	for range 20 {
		if last = c.send(http.MethodGet, satellites, nil, "Authorization", "Bearer perigee_guess"); last.status == http.StatusTooManyRequests {
			break
		}
	}
	if last.status != http.StatusTooManyRequests || last.header.Get("Retry-After") == "" {
		t.Errorf("after 20 guesses: %d %s", last.status, last.body)
	}
	if r := c.send(http.MethodPost, "/session", object{"token": "perigee_guess"}); r.status != http.StatusTooManyRequests || r.header.Get("Retry-After") == "" {
		t.Errorf("guessing elsewhere: %d %s", r.status, r.body)
	}
	c.get("/satellites", nil)
}

// session opens a session and gives its cookie.
func (c *core) session(header ...string) *http.Cookie {
	c.t.Helper()
	r := c.send(http.MethodPost, "/session", object{"token": c.token}, header...)
	cookies := (&http.Response{Header: r.header}).Cookies()
	if r.status != http.StatusNoContent || len(cookies) != 1 {
		c.t.Fatalf("POST /session = %d %v %s", r.status, cookies, r.body)
	}
	return cookies[0]
}

func TestThePagesSession(t *testing.T) {
	t.Parallel()
	c := setup(t)
	cookie := c.session()
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.Secure || cookie.Domain != "" ||
		cookie.MaxAge != int((12*time.Hour).Seconds()) || strings.Contains(cookie.Value, c.token) {
		t.Errorf("cookie = %+v", cookie)
	}
	if behindTLS := c.session("X-Forwarded-Proto", "https"); !behindTLS.Secure || behindTLS.Value == cookie.Value {
		t.Errorf("behind TLS = %+v", behindTLS)
	}
	with := []string{"Cookie", cookie.Name + "=" + cookie.Value}
	if r := c.send(http.MethodGet, satellites, nil, with...); r.status != http.StatusOK {
		t.Errorf("with a session: %d %s", r.status, r.body)
	}
	if r := c.send(http.MethodPost, satellites, object{"name": "eu-1", "region": "eu"}, append(with, "Sec-Fetch-Site", "same-origin", "Origin", c.url)...); r.status != http.StatusCreated {
		t.Errorf("a write with a session: %d %s", r.status, r.body)
	}
	r := c.send(http.MethodDelete, "/session", nil, with...)
	if cookies := (&http.Response{Header: r.header}).Cookies(); r.status != http.StatusNoContent || len(cookies) != 1 || cookies[0].MaxAge >= 0 {
		t.Errorf("DELETE /session = %d %v", r.status, cookies)
	}
	if r := c.send(http.MethodGet, satellites, nil, with...); r.status != http.StatusUnauthorized {
		t.Errorf("after the end: %d", r.status)
	}
	if r := c.send(http.MethodDelete, "/session", nil); r.status != http.StatusNoContent {
		t.Errorf("ending no session: %d", r.status)
	}
	for body, status := range map[string]int{
		`{"token":"perigee_wrong"}`: 401, `{"token":""}`: 401, `{}`: 401, `{"token":7}`: 422, `nonsense`: 422, ``: 422,
		`{"token":"` + strings.Repeat("x", 5<<10) + `"}`: 422,
	} {
		if r := c.send(http.MethodPost, "/session", body); r.status != status || r.header.Get("Set-Cookie") != "" {
			t.Errorf("%.40s: %d, want %d: %s", body, r.status, status, r.body)
		}
	}
}

// A browser sends the cookie along with what other sites make it send.
func TestOtherSitesCannotUseTheSession(t *testing.T) {
	t.Parallel()
	c := setup(t)
	cookie := c.session()
	with := []string{"Cookie", cookie.Name + "=" + cookie.Value}
	for _, foreign := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"},
	} {
		for _, route := range [][2]string{{"POST", satellites}, {"DELETE", satellites + "/x"}, {"PATCH", satellites + "/x"}, {"PUT", httpapi.Base + "/systems/x"}, {"POST", "/session"}, {"DELETE", "/session"}} {
			r := c.send(route[0], route[1], object{"name": "eu-1", "region": "eu"}, append(foreign, with...)...)
			if r.status != http.StatusForbidden || !strings.Contains(r.body, "urn:perigee:problem:forbidden") {
				t.Errorf("%s %s with %v: %d %s", route[0], route[1], foreign, r.status, r.body)
			}
		}
	}
	c.wrong(http.MethodGet, "/satellites/eu-1", nil, http.StatusNotFound)
}
