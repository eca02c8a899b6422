package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/diff"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// auditNote gathers what the audit log shall say of a request.
type auditNote struct {
	operation, source, object, objectID, change, reason string

	// about are the things that the request may change, and was is how they were before.
	about   []place
	was     []subject
	changes []diff.Field

	actor entity.Actor
	// guess: somebody came with a token.
	guess bool
	// reads: nothing is changed by it, so that only its refusal is noted. dry: neither
	// this time.
	reads, dry, written bool
}

type auditNoteKey struct{}

// noteOf is the note of the request, and one that nobody reads outside of requests.
func noteOf(ctx context.Context) *auditNote {
	if n, ok := ctx.Value(auditNoteKey{}).(*auditNote); ok {
		return n
	}
	return &auditNote{reads: true}
}

// harmless are the operations that change nothing although they are no GET.
var harmless = []string{"dry-run-automation", "preview-placement"}

// audit has noted what was changed before the answer goes, and what was refused.
func (a *API) audit(ctx huma.Context, next func(huma.Context)) {
	op, url := ctx.Operation(), ctx.URL()
	kind, _, _ := strings.Cut(strings.TrimPrefix(op.Path, "/"), "/")
	n := &auditNote{
		about:     []place{{kind: kind, ref: cmp.Or(ctx.Param("id"), ctx.Param("name"), url.Query().Get("name"))}},
		operation: op.OperationID, source: ctx.RemoteAddr(), object: objectOf(strings.TrimPrefix(url.Path, Base+"/"), url.Query().Get("name")),
		reads: op.Method == http.MethodGet || slices.Contains(harmless, op.OperationID),
	}
	next(huma.WithValue(ctx, auditNoteKey{}, n))
	a.write(ctx.Context(), n, ctx.Status(), n.reason)
}

// write puts the note into the log, once. Who was refused for want of a token is not
// worth a line; who guesses one is.
func (a *API) write(ctx context.Context, n *auditNote, status int, reason string) {
	outcome := auth.Allowed
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusTooManyRequests:
		outcome = auth.Refused
	case status >= http.StatusBadRequest:
		outcome = auth.Failed
	}
	if n.written || n.reads && outcome != auth.Refused || outcome == auth.Refused && n.actor == (entity.Actor{}) && !n.guess {
		return
	}
	n.written = true
	a.Audit.Note(ctx, auth.AuditEntry{
		ActorType: n.actor.Type, ActorID: n.actor.ID, Actor: n.actor.Name, Source: hostOf(n.source), Operation: n.operation, Object: short(n.object, 200),
		ObjectID: n.objectID, Change: short(n.change, 500), Changes: n.changes, Outcome: outcome, Status: status, Reason: short(reason, 300), RequestID: requestID(ctx),
	})
}

// hostOf is the address without the port, which says nothing later.
func hostOf(remote string) string {
	if withPort, err := netip.ParseAddrPort(remote); err == nil {
		return withPort.Addr().Unmap().String()
	}
	return short(remote, 100)
}

func short(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// objectOf is what a path is about: its first two segments. Some name it in the query.
func objectOf(path, named string) string {
	segments := strings.SplitN(path, "/", 3)
	if len(segments) == 1 && named != "" {
		segments = append(segments, named)
	}
	return strings.Join(segments[:min(2, len(segments))], "/")
}

// shownFields are those of a request's body whose values the log shows. Of all others it
// has the name only: they may be long, and may be secrets.
var shownFields = []string{
	"check", "disabled", "dryRun", "enabled", "expiresAt", "includeLocal", "interval", "name", "region", "role", "severity", "status", "system", "title", "version",
}

// describe says in short what the request wants to be otherwise.
func (n *auditNote) describe(in any) {
	if n.reads {
		return
	}
	v := reflect.Indirect(reflect.ValueOf(in))
	if v.Kind() != reflect.Struct {
		return
	}
	body := v.FieldByName("Body")
	if !body.IsValid() {
		return
	}
	switch b := body.Interface().(type) {
	case ApplyRequest:
		n.change, n.dry, n.about = b.inShort(), b.DryRun, b.places()
		return
	case ImportRequest:
		n.change, n.dry, n.about = b.inShort(), b.DryRun, nil
		return
	}
	text, err := json.Marshal(body.Interface())
	if err != nil {
		return
	}
	n.change = inShort(text)
	name := nameIn(text)
	if !strings.Contains(n.object, "/") {
		n.named(name)
	} else if n.about[0].ref == "" {
		n.about[0].ref = name // packages/enabled
	}
}

// before reads how that is which the request is about, and so knows its name.
func (a *API) before(ctx context.Context, n *auditNote) {
	if n.reads || n.dry {
		return
	}
	n.was = make([]subject, len(n.about))
	for i, at := range n.about {
		var err error
		if n.was[i], err = a.subject(ctx, at); err != nil {
			a.Log.Warn("what a request is about could not be read for the audit log", "operation", n.operation, "request_id", requestID(ctx), "error", err)
		}
		if at.path == "" {
			n.named(n.was[i].name)
			n.objectID = n.was[i].id
		}
	}
}

// nameRefused finds out what it is called that somebody was not let near, and of which
// they gave the id.
func (a *API) nameRefused(ctx context.Context, n *auditNote) {
	if !isID(n.about[0].ref) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	a.before(ctx, n)
}

// after compares it with how that has become.
func (a *API) after(ctx context.Context, n *auditNote) {
	for i, was := range n.was {
		at := n.about[i]
		if at.ref = cmp.Or(was.id, at.ref); at.path == "" {
			at.ref = cmp.Or(at.ref, n.objectID)
		}
		is, err := a.subject(ctx, at)
		if err != nil {
			a.Log.Warn("what a request has changed could not be read for the audit log", "operation", n.operation, "request_id", requestID(ctx), "error", err)
			continue
		}
		changes := differences(at.path, was, is)
		if was.set != nil && is.set != nil && at.path == "" && len(changes) > 0 {
			n.change = told(changes)
		}
		n.changes = append(n.changes, changes...)
	}
	if more := len(n.changes) - maxChanges; more > 0 {
		n.changes = append(n.changes[:maxChanges], diff.Field{Path: fmt.Sprintf("and %d more fields", more)})
	}
}

// named says what the object is called, which the path may know by its id only.
func (n *auditNote) named(name string) {
	if name != "" {
		kind, _, _ := strings.Cut(n.object, "/")
		n.object = kind + "/" + name
	}
}

// made knows what came of it: the name of what was changed, and what is new.
func (n *auditNote) made(out any) {
	v := reflect.Indirect(reflect.ValueOf(out))
	if n.reads || v.Kind() != reflect.Struct {
		return
	}
	body := v.FieldByName("Body")
	for _, inner := range []string{"", "User", "Token", "Satellite"} {
		b := reflect.Indirect(body)
		if inner != "" && b.IsValid() && b.Kind() == reflect.Struct {
			b = b.FieldByName(inner)
		}
		if !b.IsValid() || b.Kind() != reflect.Struct {
			continue
		}
		id, name := textIn(b, "ID"), textIn(b, "Name")
		if id == "" && name == "" {
			continue
		}
		if n.objectID == "" && len(n.about) == 1 && n.about[0].ref == "" {
			n.objectID = cmp.Or(id, name)
			n.named(cmp.Or(name, textIn(b, "Title")))
		}
		return
	}
}

func textIn(of reflect.Value, field string) string {
	if f := of.FieldByName(field); f.IsValid() && f.Kind() == reflect.String {
		return f.String()
	}
	return ""
}

func nameIn(object []byte) string {
	var named struct{ Name string }
	if json.Unmarshal(object, &named) != nil {
		return ""
	}
	return named.Name
}

// inShort lists the fields of an object, with the values of those that may be shown.
func inShort(object []byte) string {
	var members map[string]json.RawMessage
	if json.Unmarshal(object, &members) != nil {
		return ""
	}
	var all []string
	for name, value := range members {
		var scalar any
		if slices.Contains(shownFields, name) && json.Unmarshal(value, &scalar) == nil {
			switch s := scalar.(type) {
			case string:
				all = append(all, name+"="+short(s, 80))
				continue
			case bool, float64:
				all = append(all, name+"="+string(value))
				continue
			}
		}
		all = append(all, name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// inShort names the documents, the first few.
func (r ApplyRequest) inShort() string {
	const most = 10
	var names []string
	for _, d := range r.Documents[:min(most, len(r.Documents))] {
		names = append(names, d.Kind+" "+short(d.Metadata.Name, 60))
	}
	if more := len(r.Documents) - most; more > 0 {
		names = append(names, "and "+strconv.Itoa(more)+" more")
	}
	return dryly(r.DryRun, strings.Join(names, ", "))
}

// places are where the things are that the documents define, the first of them.
func (r ApplyRequest) places() (all []place) {
	for _, d := range r.Documents[:min(maxSubjects, len(r.Documents))] {
		all = append(all, place{kind: strings.ToLower(d.Kind) + "s", ref: d.Metadata.Name, path: d.Kind + " " + short(d.Metadata.Name, 60) + ": "})
	}
	return all
}

func (r ImportRequest) inShort() string {
	return dryly(r.DryRun, fmt.Sprintf("%d satellites, %d systems, %d checks, %d assignments", len(r.Satellites), len(r.Systems), len(r.Checks), len(r.Assignments)))
}

func dryly(dry bool, what string) string {
	if dry {
		return "dry run: " + what
	}
	return what
}

type auditQuery struct {
	Paging
	Actor     string    `query:"actor" maxLength:"200" doc:"Only of those whose name has this in it."`
	Operation string    `query:"operation" maxLength:"100" doc:"Only operations that have this in their name, such as delete."`
	Object    string    `query:"object" maxLength:"200" doc:"Only on objects that have this in their name, such as satellites/."`
	Outcome   string    `query:"outcome" enum:"allowed,refused,failed" doc:"Only what ended so."`
	From      time.Time `query:"from" doc:"Only from this time on."`
	To        time.Time `query:"to" doc:"Only before this time."`
}

func (a *API) addAudit() {
	route(a, http.MethodGet, "/audit", "list-audit", "What was changed and refused, by whom and from where, newest first", func(ctx context.Context, in *auditQuery) (*answer[List[auth.AuditEntry]], error) {
		var before int64
		var err error
		if in.Cursor != "" {
			if before, err = strconv.ParseInt(in.Cursor, 10, 64); err != nil || before < 1 {
				return nil, fault.New(fault.Invalid, "the cursor is not one of ours")
			}
		}
		entries, err := a.Audit.List(ctx, auth.AuditFilter{
			Actor: in.Actor, Operation: in.Operation, Object: in.Object, Outcome: auth.Outcome(in.Outcome), From: in.From, To: in.To,
		}, before, cmp.Or(in.Limit, 100))
		next := ""
		if len(entries) == in.Limit {
			next = strconv.FormatInt(entries[len(entries)-1].ID, 10)
		}
		return listed(entries, next, err)
	})
}
