package perigeetest

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A place reaches a host by its name, and faults of one place are no other's.
func TestFaultsAreOfOnePlace(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }))
	defer server.Close()
	network := NewNetwork(t, map[string]string{"shop.test": strings.TrimPrefix(server.URL, "http://")})
	near, other := network.Place(), network.Place()
	_, port, _ := net.SplitHostPort(near.Address("shop.test"))
	get := func(p *Place) string {
		resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, p.Nameserver)
		}}
		client := &http.Client{
			Timeout:   300 * time.Millisecond,
			Transport: &http.Transport{DialContext: (&net.Dialer{Resolver: resolver}).DialContext, DisableKeepAlives: true},
		}
		resp, err := client.Get("http://shop.test:" + port)
		if err != nil {
			return "fails"
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return string(text)
	}
	for _, c := range []struct {
		name  string
		fault func()
		mend  func()
	}{
		{"silent way", func() { near.Way("shop.test", WaySilent) }, func() { near.Way("shop.test", WayOpen) }},
		{"refused way", func() { near.Way("shop.test", WayRefused) }, func() { near.Way("shop.test", WayOpen) }},
		{"silent names", func() { near.Names(NamesSilent) }, func() { near.Names(NamesKnown) }},
		{"failing names", func() { near.Names(NamesFailing) }, func() { near.Names(NamesKnown) }},
		{"uplink", func() { near.Uplink(false) }, func() { near.Uplink(true) }},
	} {
		c.fault()
		if a, b := get(near), get(other); a != "fails" || b != "here" {
			t.Errorf("%s: it %s here, and %s elsewhere", c.name, a, b)
		}
		c.mend()
		if a := get(near); a != "here" {
			t.Errorf("%s mended: it %s", c.name, a)
		}
	}
}
