package httpapi

import (
	"embed"
	"net/http"
)

//go:embed page
var pageFiles embed.FS

// addPage serves the first page: the state of things for people with a browser.
// It is static, knows nothing, and reads the API like any other program, with the
// cookie that POST /session gave it; so it needs no authentication itself.
func addPage(mux *http.ServeMux) {
	for _, f := range []struct{ path, name, contentType string }{
		{"/{$}", "index.html", "text/html; charset=utf-8"},
		{"/app.css", "app.css", "text/css; charset=utf-8"},
		{"/app.js", "app.js", "text/javascript; charset=utf-8"},
		{"/history.js", "history.js", "text/javascript; charset=utf-8"},
		{"/favicon.svg", "favicon.svg", "image/svg+xml"},
	} {
		body, err := pageFiles.ReadFile("page/" + f.name)
		if err != nil {
			panic("httpapi: a file of the page is not in the program: " + err.Error())
		}
		mux.HandleFunc("GET "+f.path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", f.contentType)
			_, _ = w.Write(body) // the client may have gone
		})
	}
}
