package assertion

import (
	"encoding/json"
	"math"
	"strconv"
)

// outcome is one entry of the member _assertions.
type outcome struct {
	Field    string `json:"field"`
	JSONPath string `json:"jsonPath,omitempty"`
	Operator string `json:"operator"`
	Value    any    `json:"value,omitempty"`
	// Expression in place of them.
	Expression string `json:"expression,omitempty"`
	Passed     bool   `json:"passed"`
	Message    string `json:"message,omitempty"`
	// Got is what was found, as bounded JSON, where it is asked for (Explain).
	Got string `json:"got,omitempty"`
}

// append writes the outcome as package json does, of which it is a good part of what
// judging a run costs.
func (o outcome) append(to []byte) []byte {
	to = appendText(append(to, `{"field":`...), o.Field)
	to = appendMember(to, `,"jsonPath":`, o.JSONPath)
	to = appendText(append(to, `,"operator":`...), o.Operator)
	if o.Value != nil {
		to = appendValue(append(to, `,"value":`...), o.Value)
	}
	to = appendMember(to, `,"expression":`, o.Expression)
	to = strconv.AppendBool(append(to, `,"passed":`...), o.Passed)
	to = appendMember(to, `,"message":`, o.Message)
	to = appendMember(to, `,"got":`, o.Got)
	return append(to, '}')
}

// appendMember writes a text that may be left out.
func appendMember(to []byte, name, text string) []byte {
	if text == "" {
		return to
	}
	return appendText(append(to, name...), text)
}

// appendValue writes a value as package json does. Values came out of JSON, so they go back
// into it; one that does not is null.
func appendValue(to []byte, value any) []byte {
	switch v := value.(type) {
	case string:
		return appendText(to, v)
	case float64:
		// The others have exponents and fractions, and minus zero has a sign.
		if v == math.Trunc(v) && math.Abs(v) < 1e15 && (v != 0 || !math.Signbit(v)) {
			return strconv.AppendInt(to, int64(v), 10)
		}
	}
	text, err := json.Marshal(value)
	if err != nil {
		return append(to, "null"...)
	}
	return append(to, text...)
}
