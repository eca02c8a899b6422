package httpapi

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// addSessions lets the page exchange a password or a token for a cookie that scripts
// cannot read, and who has the set-up code make the first administrator.
func (a *API) addSessions(mux *http.ServeMux) {
	mux.HandleFunc("GET /session", func(w http.ResponseWriter, r *http.Request) {
		setup, users, err := a.Accounts.Waiting(r.Context())
		if err != nil {
			a.refuse(w, r, err)
			return
		}
		writeJSON(w, http.StatusOK, map[string]bool{"setup": setup, "users": users})
	})
	mux.HandleFunc("POST /session", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Token, User, Password string }
		if err := read(w, r, &in); err != nil {
			a.refuse(w, r, fault.New(fault.Invalid, `send {"user":"…","password":"…"}, or {"token":"…"}`))
			return
		}
		c := auth.Credentials{Token: strings.TrimSpace(in.Token), Name: in.User, Password: in.Password}
		how, claimed := "with a password", in.User
		if c.Token != "" || c.Name == "" {
			how, claimed = "with a token", ""
		}
		id, p, err := a.Auth.SignIn(r.Context(), r.RemoteAddr, c)
		n := &auditNote{operation: "sign-in", source: r.RemoteAddr, change: how, object: "session", guess: c.Token != "" || c.Name != ""}
		a.opened(w, r, n, id, claimed, p, err)
	})
	mux.HandleFunc("DELETE /session", func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie(sessionCookie); err == nil {
			p, who := a.Auth.Session(r.Context(), c.Value)
			if err := a.Auth.CloseSession(r.Context(), c.Value); err != nil {
				a.refuse(w, r, err)
				return
			}
			if who == nil {
				a.write(r.Context(), &auditNote{operation: "sign-out", source: r.RemoteAddr, object: "session", actor: p.Actor()}, http.StatusNoContent, "")
			}
		}
		http.SetCookie(w, cookie(r, "", -1))
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /setup", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Code, User, Password string }
		if err := read(w, r, &in); err != nil {
			a.refuse(w, r, fault.New(fault.Invalid, `send {"code":"…","user":"…","password":"…"}`))
			return
		}
		n := &auditNote{
			operation: "set-up", source: r.RemoteAddr, change: "the first administrator", object: "users/" + in.User, guess: in.Code != "",
			about: place{kind: "users", ref: in.User}, actor: entity.Actor{Name: short(in.User, 63)},
		}
		id, p, err := a.Auth.SetUp(a.drafted(r.Context(), n, http.StatusNoContent), r.RemoteAddr, in.Code, auth.NewUser{Name: in.User, Password: in.Password})
		a.opened(w, r, n, id, in.User, p, err)
	})
}

// read takes a small JSON body.
func read(w http.ResponseWriter, r *http.Request, into any) error {
	return json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(into)
}

// opened answers with the cookie of a session, or why there is none. Claimed is the name
// that somebody came with.
func (a *API) opened(w http.ResponseWriter, r *http.Request, n *auditNote, id, claimed string, p auth.Principal, err error) {
	if err != nil {
		problem := a.fail(r.Context(), r.Method+" "+r.URL.Path, err)
		if claimed != "" {
			n.actor = entity.Actor{Name: short(claimed, 63)}
		}
		a.write(r.Context(), n, problem.Status, problem.Detail)
		write(w, problem)
		return
	}
	n.actor = p.Actor()
	a.write(r.Context(), n, http.StatusNoContent, "")
	http.SetCookie(w, cookie(r, id, int(auth.SessionAge.Seconds())))
	w.WriteHeader(http.StatusNoContent)
}

func cookie(r *http.Request, id string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: sessionCookie, Value: id, Path: "/", MaxAge: maxAge, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	}
}
