package blob_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/perigee-monitoring/perigee/internal/blob"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// bucket is one on a server of the test's own, which speaks S3's protocol over
// loopback. Signatures it does not verify: that the key was named is all that
// can be seen here.
type bucket struct {
	t       *testing.T
	url     string
	backend gofakes3.Backend
	// over stands between the client and the server.
	over atomic.Pointer[func(w http.ResponseWriter, r *http.Request, next http.Handler)]
}

const bucketName = "packages"

func startS3(t *testing.T) *bucket {
	t.Helper()
	b := &bucket{t: t, backend: s3mem.New()}
	s3 := gofakes3.New(b.backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if over := b.over.Load(); over != nil {
			(*over)(w, r, s3)
			return
		}
		s3.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	b.url = server.URL
	if err := b.backend.CreateBucket(bucketName); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bucket) address(name string) string {
	return "s3://" + name + "?region=eu-1&endpoint=" + b.url
}

func (b *bucket) open() blob.Store {
	b.t.Helper()
	s, err := blob.Open(b.t.Context(), b.address(bucketName+"/some/prefix"), blob.Keys{AccessKey: "the-key", SecretKey: "the-secret"})
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// between puts something between the client and the server.
func (b *bucket) between(over func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	b.over.Store(&over)
}

// cutPut lets the next PUT break off after so many bytes.
func (b *bucket) cutPut(after int, then func()) {
	var once atomic.Bool
	b.between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut && once.CompareAndSwap(false, true) {
			r.Body = io.NopCloser(io.MultiReader(io.LimitReader(r.Body, int64(after)), broken(then)))
			next.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler) // the client gets no answer
		}
		next.ServeHTTP(w, r)
	})
}

type broken func()

func (b broken) Read([]byte) (int, error) {
	b()
	return 0, io.ErrUnexpectedEOF
}

// What the server keeps is the blob alone, under the prefix; requests are signed with
// the key, and the secret does not travel.
func TestObjectsOfABucket(t *testing.T) {
	t.Parallel()
	b := startS3(t)
	s := b.open()
	var signed atomic.Int64
	b.between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=the-key/") && !strings.Contains(r.Header.Get("Authorization"), "the-secret") {
			signed.Add(1)
		}
		next.ServeHTTP(w, r)
	})
	data := bytes.Repeat([]byte("x"), 20<<20) // beyond what clients would split, if they were let
	put(t, s, integrity, data)
	list, err := b.backend.ListBucket(bucketName, nil, gofakes3.ListBucketPage{})
	if err != nil || len(list.Contents) != 1 {
		t.Fatalf("%d objects, %v", len(list.Contents), err)
	}
	object := list.Contents[0]
	if !strings.HasPrefix(object.Key, "some/prefix/") || !strings.HasSuffix(object.Key, ".tgz") || object.Size != int64(len(data)) {
		t.Errorf("the object is %s of %d bytes", object.Key, object.Size)
	}
	holds(t, s, integrity, data)
	if signed.Load() != 2 {
		t.Errorf("%d of 2 requests were signed", signed.Load())
	}
}

func TestABucketThatIsNotThereOrRefuses(t *testing.T) {
	t.Parallel()
	b := startS3(t)
	s := b.open()
	if _, err := blob.Open(t.Context(), b.address("nothing"), blob.Keys{}); err == nil || !strings.Contains(err.Error(), "opening the bucket nothing: there is none") {
		t.Errorf("opened: %v", err)
	}
	b.between(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `<Error><Code>SignatureDoesNotMatch</Code><Message>wrong secret</Message></Error>`)
	})
	unavailable(t, t.Context(), s)
	if _, err := blob.Open(t.Context(), b.address(bucketName), blob.Keys{AccessKey: "a", SecretKey: "b"}); err == nil || !strings.Contains(err.Error(), "opening the bucket packages") {
		t.Errorf("opened: %v", err)
	}
}

// An answer of another kind is no word on whether the blob is there.
func TestABucketInTrouble(t *testing.T) {
	t.Parallel()
	for name, trouble := range map[string]func(w http.ResponseWriter){
		"busy":   func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		"silent": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startS3(t)
			s := b.open()
			b.between(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { trouble(w) })
			// The client tries again for as long as it may.
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			unavailable(t, ctx, s)
		})
	}
}

func TestABucketThatWasDeleted(t *testing.T) {
	t.Parallel()
	b := startS3(t)
	s := b.open()
	if err := b.backend.DeleteBucket(bucketName); err != nil {
		t.Fatal(err)
	}
	unavailable(t, t.Context(), s)
}

func TestAReadThatBreaksOffIsNoBlob(t *testing.T) {
	t.Parallel()
	b := startS3(t)
	s := b.open()
	put(t, s, integrity, bytes.Repeat([]byte("x"), 1<<20))
	b.between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
		panic(http.ErrAbortHandler)
	})
	if got, err := s.Get(t.Context(), integrity); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
