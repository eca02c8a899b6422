// Package web holds the web interface as files: what vite made of the sources beside
// this file, packed, or, where a program was built without Node, one page that says how
// to build it. How the files are served is internal/httpapi's business.
package web

import (
	"embed"
	"io/fs"
)

// packed is there in every checkout, with nothing but a placeholder in it.
//
//go:embed all:packed
var packed embed.FS

//go:embed unbuilt
var unbuilt embed.FS

// Files are index.html and what it loads. Those with .gz behind their name are packed with
// gzip; the others do not shrink by it. Whatever lies under assets has a hash of its
// content in its name.
func Files() fs.FS {
	if built, err := fs.Sub(packed, "packed"); err == nil {
		if _, err := fs.Stat(built, "index.html"); err == nil {
			return built
		}
	}
	page, err := fs.Sub(unbuilt, "unbuilt")
	if err != nil {
		panic("web: a directory of the program is not in it: " + err.Error())
	}
	return page
}
