package protocol

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/perigee-monitoring/perigee/check"
)

// kilobyteResult is a result of an HTTP check of about 1 KB on the wire.
func kilobyteResult() *Result {
	found := fmt.Sprintf(`{"_collectorId":"healthcheck-http.request","statusCode":200,"statusText":"OK","responseTimeMs":41,`+
		`"body":%q,"bodyLength":1256,"success":true}`, strings.Repeat("lorem ipsum ", 40))
	return &Result{
		ConfigID: "8a6a1c52-7a3e-4c8e-9d53-1f5b3c1f0a01", SystemID: "4f2d1c52-7a3e-4c8e-9d53-1f5b3c1f0a02",
		Status: check.Healthy, LatencyMs: new(42.0), ExecutedAt: "2030-01-02T03:04:05.678Z", Slot: 1893553445000, Revision: 12,
		Result: &check.Result{Status: check.Healthy, LatencyMs: 42, Message: "Completed in 42ms", Metadata: check.Metadata{
			Connected: true, ConnectionTimeMs: new(0.0),
			Collectors: map[string]json.RawMessage{"e1": json.RawMessage(found)},
			Timings:    &check.Timings{DNSMs: new(1.0), ConnectMs: new(2.5), TLSMs: new(7.25), WaitMs: new(30.0), TransferMs: new(1.25)},
		}},
	}
}

func benchmarkDecode(b *testing.B, m Message) {
	frame, err := Encode(m)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeFromAgent(frame); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkEncode(b *testing.B, m Message) {
	var buffer []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buffer, err = Append(buffer[:0], m); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(buffer)))
}

func BenchmarkDecodeResult(b *testing.B) { benchmarkDecode(b, kilobyteResult()) }

func BenchmarkDecodeHeartbeat(b *testing.B) {
	benchmarkDecode(b, &Heartbeat{Version: "1.0.0", UptimeSeconds: 3600.25, Perigee: &Pulse{SentAt: 1893553445678}})
}

func BenchmarkDecodeResultsOf100(b *testing.B) {
	batch := &Results{}
	for seq := range int64(100) {
		batch.Records = append(batch.Records, Record{Seq: seq + 1, Result: kilobyteResult()})
	}
	benchmarkDecode(b, batch)
}

func BenchmarkEncodeResult(b *testing.B) { benchmarkEncode(b, kilobyteResult()) }

func BenchmarkEncodeAck(b *testing.B) { benchmarkEncode(b, &Ack{UpTo: 123456, Credit: 1 << 20}) }

func BenchmarkEncodeDelta(b *testing.B) {
	upsert := *golden()["authenticated_full"].(*Authenticated)
	benchmarkEncode(b, &Delta{Base: 12, Revision: 13, Upserts: upsert.Assignments, Removals: []Pair{{ConfigID: "c", SystemID: "s"}}})
}

// BenchmarkLibraryDecodesResult is what encoding/json takes for the same, without
// seeing what is missing.
func BenchmarkLibraryDecodesResult(b *testing.B) {
	frame, err := Encode(kilobyteResult())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		if err := json.Unmarshal(frame, new(Result)); err != nil {
			b.Fatal(err)
		}
	}
}
