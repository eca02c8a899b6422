package httpapi

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// policy is the content security policy of everything. Scripts, styles and data
	// come from here and from nowhere else.
	policy = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
	// nonceMark stands in index.html where the nonce of an answer belongs. With it the
	// page may add style elements of its own; there is no such way in for scripts.
	nonceMark = "__CSP_NONCE__"
	// forever is for files whose names have a hash of their content.
	forever = "public, max-age=31536000, immutable"
	briefly = "public, max-age=3600"
	// packedExt is behind the name of a file that is packed with gzip.
	packedExt = ".gz"
)

// page serves the web interface. It is static, knows nothing, and reads the API like
// any other program, with the cookie that POST /session gave it; so it needs no
// authentication itself.
type page struct {
	index []byte
	files map[string]*pageFile // by path, with the leading slash
}

// pageFile is a file as it lies in the program: packed with gzip, or plain where that is
// not smaller.
type pageFile struct {
	files        fs.FS
	name         string
	contentType  string
	cacheControl string
	tag          string // of what lies there
	packed       bool
	plain        func() []byte // of a packed one; made when the first one asks who takes no gzip
}

// newPage knows the files, all of which are in the program.
func newPage(files fs.FS) *page {
	p := &page{files: map[string]*pageFile{}}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			return err
		}
		if name == "index.html" {
			p.index, err = fs.ReadFile(files, name)
			return err
		}
		f, err := newPageFile(files, name)
		p.files["/"+strings.TrimSuffix(name, packedExt)] = f
		return err
	})
	if err != nil || p.index == nil {
		panic(fmt.Sprintf("httpapi: the files of the page are not in the program: %v", err))
	}
	return p
}

// contentTypes are those that do not hang on the machine's own list.
var contentTypes = map[string]string{
	".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".woff2": "font/woff2",
}

func newPageFile(files fs.FS, name string) (*pageFile, error) {
	plain, packed := strings.CutSuffix(name, packedExt)
	f := &pageFile{files: files, name: name, contentType: contentTypes[path.Ext(plain)], cacheControl: briefly, packed: packed}
	if f.contentType == "" {
		f.contentType = mime.TypeByExtension(path.Ext(plain))
	}
	if strings.HasPrefix(name, "assets/") {
		f.cacheControl = forever
	}
	f.plain = sync.OnceValue(f.unpack)
	in, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, in); err != nil {
		return nil, err
	}
	f.tag = base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:15])
	return f, nil
}

func (f *pageFile) unpack() []byte {
	body, err := fs.ReadFile(f.files, f.name)
	if err == nil {
		var in *gzip.Reader
		if in, err = gzip.NewReader(bytes.NewReader(body)); err == nil {
			body, err = io.ReadAll(in)
		}
	}
	if err != nil {
		panic("httpapi: a file of the page is broken: " + err.Error())
	}
	return body
}

// add routes what the page loads. Its own addresses are given to it by wants.
func (p *page) add(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", p.serveIndex)
	for name, f := range p.files {
		mux.HandleFunc("GET "+name, f.serve)
	}
}

// wants reports whether the request is a browser's for a page that the interface
// makes itself, such as /systems/shop; what is no page there says the interface.
func (p *page) wants(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && !strings.HasPrefix(r.URL.Path, "/api/") &&
		!strings.HasPrefix(r.URL.Path, "/assets/") && strings.Contains(r.Header.Get("Accept"), "text/html")
}

func (p *page) serveIndex(w http.ResponseWriter, _ *http.Request) {
	nonce := rand.Text()
	w.Header().Set("Content-Security-Policy", policy+"; style-src 'self' 'nonce-"+nonce+"'")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(bytes.ReplaceAll(p.index, []byte(nonceMark), []byte(nonce))) // the client may have gone
}

// serve sends the file as it lies there to whoever can read that. ServeContent sees to
// what somebody has already, and to parts.
func (f *pageFile) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", f.cacheControl)
	if f.packed {
		h.Set("Vary", "Accept-Encoding")
		if !takesGzip(r.Header) {
			body := f.plain()
			h.Set("ETag", `"`+f.tag+`-plain"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
			return
		}
		h.Set("Content-Encoding", "gzip")
	}
	in, err := f.files.Open(f.name)
	content, ok := in.(io.ReadSeeker)
	if err != nil || !ok {
		panic(fmt.Sprintf("httpapi: a file of the page is not in the program any more: %v", err))
	}
	defer in.Close()
	if info, err := in.Stat(); err == nil && f.packed {
		h.Set("Content-Length", strconv.FormatInt(info.Size(), 10)) // which ServeContent leaves out of what is encoded
	}
	h.Set("ETag", `"`+f.tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, content)
}

// takesGzip reports whether who asks can read gzip (RFC 9110, 12.5.3): what is named
// counts more than *, and a weight of 0 is no.
func takesGzip(h http.Header) bool {
	all := false
	for _, item := range strings.Split(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		coding, weight, weighed := strings.Cut(item, ";")
		takes := true
		if weighed {
			name, value, _ := strings.Cut(weight, "=")
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			takes = err == nil && strings.EqualFold(strings.TrimSpace(name), "q") && q > 0
		}
		switch strings.ToLower(strings.TrimSpace(coding)) {
		case "gzip", "x-gzip":
			return takes
		case "*":
			all = takes
		}
	}
	return all
}
