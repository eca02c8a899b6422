package httpapi

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// addSessions lets the page exchange a token for a cookie that scripts cannot read.
func (a *API) addSessions(mux *http.ServeMux) {
	mux.HandleFunc("POST /session", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Token string `json:"token"`
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&in); err != nil {
			a.refuse(w, r, fault.New(fault.Invalid, `send {"token":"…"}`))
			return
		}
		id, _, err := a.Auth.OpenSession(r.Context(), r.RemoteAddr, strings.TrimSpace(in.Token))
		if err != nil {
			a.refuse(w, r, err)
			return
		}
		http.SetCookie(w, cookie(r, id, int(auth.SessionAge.Seconds())))
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("DELETE /session", func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie(sessionCookie); err == nil {
			a.Auth.CloseSession(c.Value)
		}
		http.SetCookie(w, cookie(r, "", -1))
		w.WriteHeader(http.StatusNoContent)
	})
}

func cookie(r *http.Request, id string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: sessionCookie, Value: id, Path: "/", MaxAge: maxAge, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	}
}
