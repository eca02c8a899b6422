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
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("test%d", databases.Add(1))
	url, err := c.Create(t.Context(), name)
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
