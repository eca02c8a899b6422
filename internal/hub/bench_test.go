package hub_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/hub"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

// durable is an ingest for which everything is durable at once.
type durable struct{}

var done = func() <-chan error {
	ch := make(chan error)
	close(ch)
	return ch
}()

func (durable) Submit(context.Context, health.Item) (<-chan error, error) { return done, nil }

// benchHub is a running hub over records in memory, of n satellites with ten
// assignments each.
func benchHub(b *testing.B, n int) *hub.Hub {
	records := newFakeFleet()
	var ten []protocol.Assignment
	for i := range 10 {
		ten = append(ten, pair(fmt.Sprint("check-", i)))
	}
	for i := range n {
		records.add(fmt.Sprint("s", i), ten...)
	}
	h := hub.New(hub.Config{Fleet: records, Ingest: durable{}})
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = h.Run(ctx) })
	b.Cleanup(func() { cancel(); run.Wait() })
	return h
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// BenchmarkHandshake is one satellite coming and going, over a pipe.
func BenchmarkHandshake(b *testing.B) {
	h := benchHub(b, 1)
	credentials := must(protocol.Encode(hello("s0")))
	var served sync.WaitGroup
	defer served.Wait()
	b.ReportAllocs()
	for b.Loop() {
		agent, core := link.Pipe()
		served.Go(func() { h.Serve(core) })
		if err := agent.Write(credentials); err != nil {
			b.Fatal(err)
		}
		must(agent.Read())
		agent.Close(protocol.CloseNormal, "")
	}
}

// BenchmarkResults is batches of a hundred results through one session, from the
// frame to the ack, without a database.
func BenchmarkResults(b *testing.B) {
	benchResults(b, benchHub(b, 1), func(seq int64) protocol.Record { return slotted(seq, "check-1") })
}

func benchResults(b *testing.B, h *hub.Hub, record func(seq int64) protocol.Record) {
	agent := enter(b, h, "s0")
	const records = 100
	var m protocol.Results
	for i := range int64(records) {
		m.Records = append(m.Records, record(i+1))
	}
	frame := must(protocol.Encode(&m))
	b.ReportAllocs()
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		if err := agent.Write(frame); err != nil {
			b.Fatal(err)
		}
		must(agent.Read())
	}
	b.ReportMetric(records*float64(b.N)/b.Elapsed().Seconds(), "results/s")
}

// enter opens a session of the satellite, which ends with the test.
func enter(tb testing.TB, h *hub.Hub, id string) link.Conn {
	tb.Helper()
	agent, core := link.Pipe()
	var served sync.WaitGroup
	served.Go(func() { h.Serve(core) })
	tb.Cleanup(func() { agent.Close(protocol.CloseNormal, ""); served.Wait() })
	if err := agent.Write(must(protocol.Encode(hello(id)))); err != nil {
		tb.Fatal(err)
	}
	must(agent.Read())
	return agent
}

// BenchmarkResultsAndSecrets is the same batches, with evidence in the results and
// the real service of secrets. A pair that declares none pays nothing, whatever
// others declare: the first two must allocate the same, and take as long. What
// redaction costs is the third.
func BenchmarkResultsAndSecrets(b *testing.B) {
	for _, c := range []struct {
		name        string
		assignments []protocol.Assignment
	}{
		{"nobody declares one", []protocol.Assignment{pair("check-1"), pair("check-2")}},
		{"another pair declares one", []protocol.Assignment{pair("check-1"), secretive("check-2")}},
		{"the pair declares one", []protocol.Assignment{secretive("check-1"), pair("check-2")}},
	} {
		b.Run(c.name, func(b *testing.B) {
			h, _ := hubWithSecrets(b, c.assignments...)
			benchResults(b, h, func(seq int64) protocol.Record { return telling(seq, "check-1") })
		})
	}
}

// BenchmarkPush is a change of one check on a thousand satellites, from the bell
// to the last of them.
func BenchmarkPush(b *testing.B) {
	const satellites = 1000
	records := newFakeFleet()
	changes := make(chan struct{}, 1)
	h := hub.New(hub.Config{Fleet: records, Ingest: durable{}, Changes: changes})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = h.Run(ctx) })
	defer running.Wait()
	defer cancel()
	pushed := make(chan struct{}, satellites)
	for i := range satellites {
		id := fmt.Sprint("s", i)
		records.add(id, pair("front"), pair("back"))
		agent, core := link.Pipe()
		running.Go(func() { h.Serve(core) })
		if err := agent.Write(must(protocol.Encode(hello(id)))); err != nil {
			b.Fatal(err)
		}
		must(agent.Read())
		running.Go(func() {
			for {
				if _, err := agent.Read(); err != nil {
					return
				}
				pushed <- struct{}{}
			}
		})
	}
	interval := 10.0
	for b.Loop() {
		interval++
		for i := range satellites {
			records.assign(fmt.Sprint("s", i), every("front", interval), pair("back"))
		}
		changes <- struct{}{}
		for range satellites {
			<-pushed
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/satellites, "µs/satellite")
}

// BenchmarkIdleSession reports the memory of an idle session over a real socket,
// heap and stacks after a collection, the link included. The peers are bare
// sockets in the same process; what they hold is measured too, and is small.
func BenchmarkIdleSession(b *testing.B) {
	const satellites = 2000
	h := benchHub(b, satellites)
	server := httptest.NewServer(h)
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	var peers []net.Conn
	defer func() {
		for _, c := range peers {
			c.Close()
		}
	}()
	for i := range 50 { // what is there once, however many come
		peers = append(peers, bareSatellite(b, address, fmt.Sprint("s", i)))
	}
	before := memory()
	for b.Loop() {
		if len(peers) == satellites {
			continue
		}
		for i := len(peers); i < satellites; i++ {
			peers = append(peers, bareSatellite(b, address, fmt.Sprint("s", i)))
		}
	}
	after := memory()
	b.ReportMetric(float64(after-before)/1024/(satellites-50), "KiB/session")
	b.ReportMetric(0, "ns/op")
}

func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// bareSatellite is an authenticated WebSocket without a library's memory.
func bareSatellite(b *testing.B, address, id string) net.Conn {
	c := must(net.Dial("tcp", address))
	must(fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", protocol.Path))
	payload := must(protocol.Encode(hello(id)))
	frame := binary.BigEndian.AppendUint16([]byte{0x81, 0x80 | 126}, uint16(len(payload)))
	frame = append(append(frame, 0, 0, 0, 0), payload...) // a mask of zeros changes nothing
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		b.Fatal(err)
	}
	r := bufio.NewReaderSize(c, 512)
	for {
		if line := must(r.ReadString('\n')); line == "\r\n" {
			break
		}
	}
	must(c.Write(frame))
	head := make([]byte, 4)
	must(io.ReadFull(r, head))
	must(io.CopyN(io.Discard, r, int64(binary.BigEndian.Uint16(head[2:]))))
	return c
}
