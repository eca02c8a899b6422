package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// config is a pointer to one of the config structs of this package.
type config[T any] interface {
	*T
	defaults()
}

func defaultsOf[T any, P config[T]]() T {
	var c T
	P(&c).defaults()
	return c
}

// Decode reads a stored config into its struct, with defaults for what is absent
// or null (spec M78), and refuses values that cannot be used, naming the field.
// Unknown fields are passed over, because a core relays configs as they were
// stored, perhaps by a newer version; they are refused when a check is saved.
func Decode[T any, P config[T]](raw json.RawMessage) (T, error) {
	c := defaultsOf[T, P]()
	if raw = bytes.TrimSpace(raw); len(raw) > 0 {
		if err := json.Unmarshal(raw, &c); err != nil {
			return c, typeError(err)
		}
	}
	return c, Validate(c)
}

// Validate holds a config, given by value, against the constraints of its fields.
// Templates count as what they are written as, so it is asked again once they are
// filled.
func Validate(config any) error {
	if err := usable(reflect.ValueOf(config), ""); err != nil {
		return err
	}
	if c, ok := config.(interface{ valid() error }); ok {
		return c.valid()
	}
	return nil
}

func decodeAny[T any, P config[T]](raw json.RawMessage) (any, error) { return Decode[T, P](raw) }

// typeError says in people's words what encoding/json did not like.
func typeError(err error) error {
	mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return fmt.Errorf("the config is not JSON: %w", err)
	}
	if mismatch.Field == "" {
		return fmt.Errorf("the config must be an object, not %s", mismatch.Value)
	}
	field := index.ReplaceAllString(mismatch.Field, "[$1]")
	return fmt.Errorf("%s must be %s, not %s", field, wanted(mismatch.Type), mismatch.Value)
}

// index is a position in a list as the newer of Go's two decoders names it; the
// older leaves it out.
var index = regexp.MustCompile(`\.(\d+)\b`)

func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int:
		return "a whole number"
	case reflect.Slice:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	default:
		return "a " + jsonType(t)
	}
}

// usable holds the struct against the constraints in its jsonschema tags, of
// which the JSON Schemas are made too, so that each is written once.
func usable(v reflect.Value, path string) error {
	for f, value := range v.Fields() {
		name := path + jsonName(f)
		for _, rule := range strings.Split(f.Tag.Get("jsonschema"), ",") {
			key, arg, _ := strings.Cut(rule, "=")
			if err := obeys(value, key, arg); err != nil {
				return fmt.Errorf("%s %w", name, err)
			}
		}
		if err := oneOf(value, f.Tag.Get("jsonschema")); err != nil {
			return fmt.Errorf("%s %w", name, err)
		}
		if f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct {
			for i := range value.Len() {
				if err := usable(value.Index(i), fmt.Sprintf("%s[%d].", name, i)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func obeys(v reflect.Value, rule, arg string) error {
	switch rule {
	case "minimum":
		if limit, _ := strconv.ParseFloat(arg, 64); number(v) < limit {
			return fmt.Errorf("must be at least %s", arg)
		}
	case "maximum":
		if limit, _ := strconv.ParseFloat(arg, 64); number(v) > limit {
			return fmt.Errorf("must be at most %s", arg)
		}
	case "minLength":
		if v.Len() == 0 {
			return errors.New("is missing")
		}
	}
	return nil
}

func number(v reflect.Value) float64 {
	if v.CanInt() {
		return float64(v.Int())
	}
	return v.Float()
}

func oneOf(v reflect.Value, tag string) error {
	var allowed []string
	for _, rule := range strings.Split(tag, ",") {
		if value, ok := strings.CutPrefix(rule, "enum="); ok {
			if value == v.String() {
				return nil
			}
			allowed = append(allowed, value)
		}
	}
	if allowed == nil {
		return nil
	}
	return fmt.Errorf("must be one of %s", strings.Join(allowed, ", "))
}

// Expand replaces every templatable text of a config, given by pointer, by what
// f makes of it (spec K.4, K.7). The first error ends it and names the field.
func Expand(config any, f func(string) (string, error)) error {
	return eachText(reflect.ValueOf(config).Elem(), "", "templatable", func(name string, v reflect.Value) error {
		text, err := f(v.String())
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		v.SetString(text)
		return nil
	})
}

// Secrets calls f with the name and value of every secret text of a config,
// given by pointer.
func Secrets(config any, f func(name, value string) error) error {
	return eachText(reflect.ValueOf(config).Elem(), "", "secret", func(name string, v reflect.Value) error {
		return f(name, v.String())
	})
}

func eachText(v reflect.Value, path, mark string, f func(string, reflect.Value) error) error {
	for field, value := range v.Fields() {
		name := path + jsonName(field)
		switch {
		case field.Tag.Get("check") == mark:
			if err := f(name, value); err != nil {
				return err
			}
		case field.Type.Kind() == reflect.Slice && field.Type.Elem().Kind() == reflect.Struct:
			for i := range value.Len() {
				if err := eachText(value.Index(i), fmt.Sprintf("%s[%d].", name, i), mark, f); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
