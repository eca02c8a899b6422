package httpapi

import "net/http"

func addPage(*http.ServeMux) {}
