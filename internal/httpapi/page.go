package httpapi

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
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
)

// page serves the web interface. It is static, knows nothing, and reads the API like
// any other program, with the cookie that POST /session gave it; so it needs no
// authentication itself.
type page struct {
	index []byte
	files map[string]*pageFile // by path, with the leading slash
}

type pageFile struct {
	body         []byte
	contentType  string
	cacheControl string
	zipped       func() []byte // nil when it is not smaller; made at the first request
}

// newPage reads the files, all of which are in the program.
func newPage(files fs.FS) *page {
	p := &page{files: map[string]*pageFile{}}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			return err
		}
		body, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		if name == "index.html" {
			p.index = body
			return nil
		}
		p.files["/"+name] = newPageFile(name, body)
		return nil
	})
	if err != nil || p.index == nil {
		panic("httpapi: the files of the page are not in the program")
	}
	return p
}

// contentTypes are those that do not hang on the machine's own list.
var contentTypes = map[string]string{
	".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".woff2": "font/woff2",
}

func newPageFile(name string, body []byte) *pageFile {
	f := &pageFile{body: body, contentType: contentTypes[path.Ext(name)], cacheControl: briefly}
	if f.contentType == "" {
		f.contentType = mime.TypeByExtension(path.Ext(name))
	}
	if strings.HasPrefix(name, "assets/") {
		f.cacheControl = forever
	}
	f.zipped = sync.OnceValue(func() []byte { return zip(body) })
	return f
}

func zip(body []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil
	}
	_, err = w.Write(body)
	if closeErr := w.Close(); err != nil || closeErr != nil || out.Len() >= len(body) {
		return nil
	}
	return out.Bytes()
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

func (f *pageFile) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", f.cacheControl)
	h.Set("Vary", "Accept-Encoding")
	body := f.body
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		if zipped := f.zipped(); zipped != nil {
			h.Set("Content-Encoding", "gzip")
			body = zipped
		}
	}
	_, _ = w.Write(body) // the client may have gone
}
