package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// bucketTimeout bounds one request to a bucket.
const bucketTimeout = 2 * time.Minute

// Keys are what a bucket is opened with; none for one that everybody may use.
type Keys struct{ AccessKey, SecretKey, SessionToken string }

// S3 keeps blobs as objects of a bucket.
type S3 struct {
	client *minio.Client
	bucket string
	prefix string
}

// OpenS3 opens s3://BUCKET/PREFIX?endpoint=https://HOST&region=REGION, and looks
// whether the bucket is there. Without an endpoint it is one of AWS.
func OpenS3(ctx context.Context, address string, keys Keys) (*S3, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" {
		return nil, errors.New("opening a bucket: write s3://BUCKET/PREFIX?endpoint=https://HOST")
	}
	if parsed.User != nil {
		return nil, errors.New("opening a bucket: keys do not belong in the address; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	query := parsed.Query()
	for name := range query {
		if name != "endpoint" && name != "region" {
			return nil, fmt.Errorf("opening a bucket: unknown option %q; known are endpoint and region", name)
		}
	}
	endpoint, err := url.Parse(orAWS(query.Get("endpoint")))
	if err != nil || endpoint.Host == "" || endpoint.Scheme != "https" && endpoint.Scheme != "http" || strings.Trim(endpoint.Path, "/") != "" {
		return nil, errors.New("opening a bucket: the endpoint is not of the form https://HOST")
	}
	client, err := minio.New(endpoint.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(keys.AccessKey, keys.SecretKey, keys.SessionToken),
		Secure: endpoint.Scheme == "https", Region: query.Get("region"), BucketLookup: lookup(endpoint.Host),
	})
	if err != nil {
		return nil, fmt.Errorf("opening a bucket: %w", err)
	}
	s := &S3{client: client, bucket: parsed.Host, prefix: strings.Trim(parsed.Path, "/")}
	ctx, cancel := context.WithTimeout(ctx, bucketTimeout)
	defer cancel()
	there, err := client.BucketExists(ctx, s.bucket)
	if err != nil {
		return nil, fmt.Errorf("opening the bucket %s: %w", s.bucket, err)
	}
	if !there {
		return nil, fmt.Errorf("opening the bucket %s: there is none", s.bucket)
	}
	return s, nil
}

const aws = "s3.amazonaws.com"

func orAWS(endpoint string) string {
	if endpoint == "" {
		return "https://" + aws
	}
	return endpoint
}

// lookup: AWS wants the bucket in the host's name, others know it in the path.
func lookup(host string) minio.BucketLookupType {
	if strings.HasSuffix(host, ".amazonaws.com") {
		return minio.BucketLookupAuto
	}
	return minio.BucketLookupPath
}

// Name is how records call a bucket; where it is may change.
func (*S3) Name() string { return "s3" }

func (s *S3) object(integrity string) string { return path.Join(s.prefix, key(integrity)+".tgz") }

// Put writes an object, which is there when it is there whole.
func (s *S3) Put(ctx context.Context, integrity string, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, bucketTimeout)
	defer cancel()
	_, err := s.client.PutObject(ctx, s.bucket, s.object(integrity), bytes.NewReader(data), int64(len(data)),
		minio.PutObjectOptions{ContentType: "application/gzip", DisableMultipart: true})
	return s.failed("writing", err)
}

// Get reads an object.
func (s *S3) Get(ctx context.Context, integrity string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, bucketTimeout)
	defer cancel()
	object, err := s.client.GetObject(ctx, s.bucket, s.object(integrity), minio.GetObjectOptions{})
	if err != nil {
		return nil, s.failed("reading", err)
	}
	defer func() { _ = object.Close() }() // at the end of reading
	data, err := io.ReadAll(io.LimitReader(object, maxBlob))
	if absent(err) {
		return nil, fault.New(fault.NotFound, "the bucket does not have this package")
	}
	if err != nil {
		return nil, s.failed("reading", err)
	}
	return data, nil
}

// Delete takes an object away.
func (s *S3) Delete(ctx context.Context, integrity string) error {
	ctx, cancel := context.WithTimeout(ctx, bucketTimeout)
	defer cancel()
	err := s.client.RemoveObject(ctx, s.bucket, s.object(integrity), minio.RemoveObjectOptions{})
	if absent(err) {
		return nil
	}
	return s.failed("deleting", err)
}

func absent(err error) bool {
	if err == nil {
		return false
	}
	answer := minio.ToErrorResponse(err)
	return answer.StatusCode == http.StatusNotFound && answer.Code != "NoSuchBucket"
}

func (s *S3) failed(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(fault.Unavailable, fmt.Errorf("%s a package in the bucket %s: %w", doing, s.bucket, err), "the bucket of packages cannot be used")
}
