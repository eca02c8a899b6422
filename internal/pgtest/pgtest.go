package pgtest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// shared is the cluster of this test process; its watchdog ends it. Starting one
// costs a second, so that is done once and not for each test.
var (
	shared    = sync.OnceValues(func() (*Cluster, error) { return Start("") })
	databases atomic.Int64
)

// URL gives the test an empty database of its own, which is dropped when the test
// ends. Without PostgreSQL's server programs the test fails; it is never skipped.
func URL(t testing.TB) string {
	t.Helper()
	return create(t, "")
}

// Copy gives the test a database of its own as URL does, which begins as a template is.
func Copy(t testing.TB, template string) string {
	t.Helper()
	return create(t, template)
}

func create(t testing.TB, template string) string {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("test%d", databases.Add(1))
	url, err := c.Create(t.Context(), name, template)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Drop(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	return url
}

// Template makes a database for Copy, and stays as long as the test process does. fill gets
// its URL, and leaves nobody connected.
func Template(ctx context.Context, fill func(url string) error) (template string, err error) {
	c, err := shared()
	if err != nil {
		return "", err
	}
	template = fmt.Sprintf("schema%d", databases.Add(1))
	url, err := c.Create(ctx, template, "")
	if err == nil {
		err = fill(url)
	}
	return template, err
}

// New gives the test a cluster of its own, to kill and to bring back.
func New(t testing.TB) *Cluster {
	t.Helper()
	c, err := Start("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}
