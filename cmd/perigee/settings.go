package main

import (
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

// settings are the flags of the command that runs, with what they are set to, however
// that was done. Of those that are tagged secretive, because a password may be in them, it
// is told that they are set.
func settings(flags []*kong.Flag) []httpapi.InForce {
	var all []httpapi.InForce
	for _, f := range flags {
		if f.Hidden || f.Name == "help" {
			continue
		}
		s := httpapi.InForce{Name: "--" + f.Name, Value: valueText(f.Target), Secret: f.Tag.Has("secretive"), Means: f.Help}
		if len(f.Envs) > 0 {
			s.Env = f.Envs[0]
		}
		if s.Secret && s.Value != "" {
			s.Value = "set"
		}
		all = append(all, s)
	}
	return all
}

// valueText is a value as the flag takes it.
func valueText(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case time.Duration:
		return inShort(value)
	case bool:
		return strconv.FormatBool(value)
	case []string:
		return strings.Join(value, ",")
	}
	return v.String()
}

// inShort is a duration without the zeroes behind it: 168h, 30m.
func inShort(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}
