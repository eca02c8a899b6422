// Package redact takes secret values out of what leaves a run: messages, errors and
// the evidence of collectors. The satellite uses it before a result reaches its
// disk, the core once more before one reaches the database (spec H.2, M36).
//
// It finds values as they are, and in the forms in which programs print them:
// escaped as in JSON, percent-encoded, in base64. It cannot find what a program has
// hashed, cut or turned around: a check that is meant to show a secret shows it.
package redact

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/perigee-monitoring/perigee/check"
)

// Mask stands where a secret value was.
const Mask = "****"

const (
	// minEmbedded is the length from which a value is looked for inside longer texts. A
	// shorter one would blacken half of what people read ("1" is in every latency), and
	// is only taken out where it is the whole text.
	minEmbedded = 4
	// minEncoded is the length from which encoded forms are looked for as well.
	minEncoded = 8
)

// Redactor takes a set of values out of texts. Nil, and one without values, change
// nothing. It is safe for concurrent use.
type Redactor struct {
	whole map[string]bool   // values shorter than minEmbedded
	find  *strings.Replacer // nil without longer values
	words []string          // what find looks for
}

// New makes a redactor for the values. Empty ones count for nothing.
func New(values ...string) *Redactor {
	r := &Redactor{}
	seen := map[string]bool{}
	for _, v := range values {
		switch {
		case v == "":
		case len(v) < minEmbedded:
			if r.whole == nil {
				r.whole = map[string]bool{}
			}
			r.whole[v] = true
		default:
			for _, form := range forms(v) {
				if !seen[form] {
					seen[form] = true
					r.words = append(r.words, form)
				}
			}
		}
	}
	if len(r.words) == 0 {
		return r
	}
	// Longest first: of two values of which one holds the other, none may leave a rest.
	slices.SortFunc(r.words, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	pairs := make([]string, 0, 2*len(r.words))
	for _, w := range r.words {
		pairs = append(pairs, w, Mask)
	}
	r.find = strings.NewReplacer(pairs...)
	return r
}

// forms are the value, its lines when it has several, and how each is printed.
func forms(value string) []string {
	all := []string{value}
	// A key of many lines is mostly printed line by line.
	for line := range strings.Lines(value) {
		if line = strings.TrimRight(line, "\r\n"); len(line) >= minEncoded {
			all = append(all, line)
		}
	}
	for _, v := range slices.Clone(all) {
		if text, err := json.Marshal(v); err == nil {
			all = append(all, string(text[1:len(text)-1]))
		}
		var plain bytes.Buffer
		e := json.NewEncoder(&plain)
		e.SetEscapeHTML(false)
		if e.Encode(v) == nil {
			all = append(all, strings.TrimSuffix(plain.String()[1:], "\"\n"))
		}
		if len(v) < minEncoded {
			continue
		}
		all = append(all, url.QueryEscape(v), url.PathEscape(v))
		for _, coding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			all = append(all, inBase64(coding, v)...)
		}
	}
	return all
}

// inBase64 is what of the value's base64 form does not depend on what stands before
// and behind it, for each of the three places at which it can begin.
func inBase64(coding *base64.Encoding, v string) []string {
	var all []string
	for before := range 3 {
		text := coding.WithPadding(base64.NoPadding).EncodeToString([]byte(strings.Repeat("x", before) + v))
		// The first characters hold bits of what is before, the last of what is behind.
		from := (before*8 + 5) / 6
		to := len(text)
		if (before+len(v))%3 != 0 {
			to--
		}
		if to-from >= minEncoded {
			all = append(all, text[from:to])
		}
	}
	return all
}

// Empty reports whether there is nothing to take out.
func (r *Redactor) Empty() bool { return r == nil || (r.find == nil && len(r.whole) == 0) }

// String takes the values out of a text.
func (r *Redactor) String(s string) string {
	switch {
	case r == nil || s == "":
		return s
	case r.whole[s]:
		return Mask
	case r.find == nil:
		return s
	}
	return r.find.Replace(s)
}

// holds reports whether the text may hold one of the values.
func (r *Redactor) holds(text []byte) bool {
	if len(r.whole) > 0 {
		return true
	}
	return slices.ContainsFunc(r.words, func(w string) bool { return bytes.Contains(text, []byte(w)) })
}

// JSON takes the values out of a JSON text, out of keys too. What is no JSON is
// treated as a text. Numbers stay, but for one that is a whole value.
func (r *Redactor) JSON(raw json.RawMessage) json.RawMessage {
	if r.Empty() || len(raw) == 0 || !r.holds(raw) && !bytes.ContainsRune(raw, '\\') {
		return raw
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return json.RawMessage(r.String(string(raw)))
	}
	clean, err := json.Marshal(r.value(v))
	if err != nil { // it came out of JSON
		return json.RawMessage(`"` + Mask + `"`)
	}
	return clean
}

func (r *Redactor) value(v any) any {
	switch v := v.(type) {
	case string:
		return r.String(v)
	case json.Number:
		if text := r.String(v.String()); text != v.String() {
			return text
		}
		return v
	case []any:
		for i := range v {
			v[i] = r.value(v[i])
		}
		return v
	case map[string]any:
		clean := make(map[string]any, len(v))
		for key, item := range v {
			clean[r.String(key)] = r.value(item)
		}
		return clean
	}
	return v
}

// Result takes the values out of everything that a run says.
func (r *Redactor) Result(res *check.Result) {
	if r.Empty() || res == nil {
		return
	}
	res.Message = r.String(res.Message)
	res.Metadata.Error = r.String(res.Metadata.Error)
	for entry, found := range res.Metadata.Collectors {
		res.Metadata.Collectors[entry] = r.JSON(found)
	}
}
