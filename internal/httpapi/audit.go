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

	// about is the thing that the request may change; listed, that its path is that of a list
	// or of the only one of its kind, and cannot say which.
	about  place
	listed bool

	actor entity.Actor
	// guess: somebody came with a token.
	guess bool
	// reads: nothing is changed by it, so that only its refusal is noted. dry: neither
	// this time.
	reads, dry, written bool
	// draft is the entry as the transactions of the request write it; nil when it changes nothing.
	draft *auth.Draft
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
	kind, _, deeper := strings.Cut(strings.TrimPrefix(op.Path, "/"), "/")
	n := &auditNote{
		about:     place{kind: kind, ref: cmp.Or(ctx.Param("id"), ctx.Param("name"), url.Query().Get("name"))},
		listed:    !deeper,
		operation: op.OperationID, source: ctx.RemoteAddr(), object: objectOf(strings.TrimPrefix(url.Path, Base+"/"), url.Query().Get("name")),
		reads: op.Method == http.MethodGet || slices.Contains(harmless, op.OperationID),
	}
	next(huma.WithValue(ctx, auditNoteKey{}, n))
	a.write(ctx.Context(), n, ctx.Status(), n.reason)
}

// drafted has what the request changes written down by the transactions that change it.
func (a *API) drafted(ctx context.Context, n *auditNote, status int) context.Context {
	if n.reads || n.dry {
		return ctx
	}
	n.draft = auth.NewDraft(func(touched []auth.Touched) auth.AuditEntry { return n.entry(ctx, touched, status, "") })
	return auth.WithDraft(ctx, n.draft)
}

// write puts the note into the log, once, and over what the request's transactions have
// written when it ended otherwise. Who was refused for want of a token is not worth a
// line; who guesses one is.
func (a *API) write(ctx context.Context, n *auditNote, status int, reason string) {
	if n.written {
		return
	}
	var kept auth.AuditEntry
	if n.draft != nil {
		kept = n.draft.Close()
	}
	e := n.entry(ctx, nil, status, reason)
	if kept.ID != 0 { // what was changed, and when, is told
		e.ID, e.At, e.Object, e.ObjectID, e.Change, e.Changes = kept.ID, kept.At, kept.Object, kept.ObjectID, kept.Change, kept.Changes
	}
	if kept.ID == 0 && (n.reads && e.Outcome != auth.Refused || e.Outcome == auth.Refused && n.actor == (entity.Actor{}) && !n.guess) {
		return
	}
	n.written = true
	if kept.ID == 0 || !reflect.DeepEqual(e, kept) {
		a.Audit.Note(ctx, e)
	}
}

// entry is what the log says of the request when it has changed this, and ends so. When it
// is about one thing, that is what the entry is named after; the fields of others
// have their kind and name before them.
func (n *auditNote) entry(ctx context.Context, touched []auth.Touched, status int, reason string) auth.AuditEntry {
	e := auth.AuditEntry{
		ActorType: n.actor.Type, ActorID: n.actor.ID, Actor: n.actor.Name, Source: hostOf(n.source), Operation: n.operation, Object: n.object,
		ObjectID: n.objectID, Change: n.change, Status: status, Reason: short(reason, 300), RequestID: requestID(ctx),
	}
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusTooManyRequests:
		e.Outcome = auth.Refused
	case status >= http.StatusBadRequest:
		e.Outcome = auth.Failed
	default:
		e.Outcome = auth.Allowed
	}
	main := slices.IndexFunc(touched, n.isAbout)
	for i, t := range touched {
		if t.Kind == "automation-runs" && t.Was == nil {
			continue // it was asked for, and has nothing that anybody has set
		}
		was, is := subjectOf(t.Was), subjectOf(t.Is)
		path := ""
		switch {
		case main >= 0 && t.Kind == touched[main].Kind && t.ID == touched[main].ID:
			if i == main {
				e.Object, e.ObjectID = named(n.object, cmp.Or(was.name, is.name)), cmp.Or(was.id, is.id)
			}
		default:
			path = kindNamed(t.Kind) + " " + short(cmp.Or(was.name, is.name), 60) + ": "
		}
		changes := differences(path, was, is)
		if path == "" && t.Was != nil && t.Is != nil && len(changes) > 0 {
			e.Change = told(changes)
		}
		e.Changes = append(e.Changes, changes...)
	}
	if more := len(e.Changes) - maxChanges; more > 0 {
		e.Changes = append(e.Changes[:maxChanges], diff.Field{Path: fmt.Sprintf("and %d more fields", more)})
	}
	e.Object, e.Change = short(e.Object, 200), short(e.Change, 500)
	return e
}

// isAbout reports whether the request is about this. One that makes something cannot say
// which, and is about the first of its kind.
func (n *auditNote) isAbout(t auth.Touched) bool {
	if t.Kind != n.about.kind {
		return false
	}
	was, is := subjectOf(t.Was), subjectOf(t.Is)
	ref := cmp.Or(n.objectID, n.about.ref)
	if ref == "" {
		return n.listed
	}
	return slices.ContainsFunc([]string{t.ID, was.id, was.name, is.name}, func(s string) bool { return strings.EqualFold(s, ref) })
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
		n.change, n.dry = b.inShort(), b.DryRun
		return
	case ImportRequest:
		n.change, n.dry = b.inShort(), b.DryRun
		return
	}
	text, err := json.Marshal(body.Interface())
	if err != nil {
		return
	}
	n.change = inShort(text)
	name := nameIn(text)
	if !strings.Contains(n.object, "/") {
		n.object = named(n.object, name)
	} else if n.about.ref == "" {
		n.about.ref = name // packages/enabled
	}
}

// identify finds out what that is called which the request is about, and its id: when
// it is refused or changes nothing, nobody else says so.
func (a *API) identify(ctx context.Context, n *auditNote) {
	if n.reads || n.dry {
		return
	}
	found, err := a.subject(ctx, n.about)
	if err != nil {
		a.Log.Warn("what a request is about could not be read for the audit log", "operation", n.operation, "request_id", requestID(ctx), "error", err)
	}
	n.object, n.objectID = named(n.object, found.name), found.id
}

// nameRefused finds out what it is called that somebody was not let near, and of which
// they gave the id.
func (a *API) nameRefused(ctx context.Context, n *auditNote) {
	if !isID(n.about.ref) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	a.identify(ctx, n)
}

// named is the object under its name, which the path may know by its id only.
func named(object, name string) string {
	if name == "" {
		return object
	}
	kind, _, _ := strings.Cut(object, "/")
	return kind + "/" + name
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
