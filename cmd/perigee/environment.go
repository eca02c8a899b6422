package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/perigee-monitoring/perigee/internal/catalog"
)

// fieldsOf are the fields that flags give, which are texts.
func fieldsOf(flags map[string]string) map[string]any {
	if flags == nil {
		return nil
	}
	fields := make(map[string]any, len(flags))
	for key, value := range flags {
		fields[key] = value
	}
	return fields
}

// fieldText is fields as they are shown: "tier=1, url=https://shop".
func fieldText(fields map[string]any) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		text, is := fields[key].(string)
		if !is {
			value, err := json.Marshal(fields[key])
			if err != nil {
				continue
			}
			text = string(value)
		}
		all = append(all, key+"="+text)
	}
	return strings.Join(all, ", ")
}

// fieldFlags change the fields of what exists already.
type fieldFlags struct {
	Field    map[string]string `mapsep:"none" placeholder:"KEY=VALUE" xor:"fields" help:"Fields instead of those it has; may be repeated."`
	NoFields bool              `xor:"fields" help:"Take all fields away."`
}

func (f *fieldFlags) given() bool { return f.Field != nil || f.NoFields }

func (f *fieldFlags) instead(of map[string]any) map[string]any {
	if f.given() {
		return fieldsOf(f.Field)
	}
	return of
}

// environmentFlags change the environments of a system that exists already.
type environmentFlags struct {
	Environment    []string `sep:"none" placeholder:"NAME[:KEY=VALUE,…]" xor:"environments" help:"Environments instead of those it has, with their fields; may be repeated. NAME alone keeps the fields that it has."`
	NoEnvironments bool     `xor:"environments" help:"Take all environments away."`
}

func (f *environmentFlags) given() bool { return f.Environment != nil || f.NoEnvironments }

func (f *environmentFlags) instead(of []catalog.Environment) []catalog.EnvironmentInput {
	if f.given() {
		return environmentsOf(f.Environment, of)
	}
	var same []catalog.EnvironmentInput
	for _, env := range of {
		same = append(same, catalog.EnvironmentInput{ID: env.ID, Name: env.Name, Fields: env.Fields})
	}
	return same
}

// environmentsOf reads environments as flags give them.
func environmentsOf(flags []string, before []catalog.Environment) []catalog.EnvironmentInput {
	var all []catalog.EnvironmentInput
	for _, flag := range flags {
		name, rest, withFields := strings.Cut(flag, ":")
		in := catalog.EnvironmentInput{Name: name}
		at := slices.IndexFunc(before, func(e catalog.Environment) bool { return e.Name == name })
		switch {
		case withFields:
			in.Fields = map[string]any{}
			for pair := range strings.SplitSeq(rest, ",") {
				if key, value, ok := strings.Cut(pair, "="); ok {
					in.Fields[key] = value
				}
			}
		case at >= 0:
			in.Fields = before[at].Fields
		}
		all = append(all, in)
	}
	return all
}

// environments shows those of a system, one in a row.
func (a *app) environments(w *tabwriter.Writer, all []catalog.Environment) {
	if len(all) == 0 {
		row(w, "Environments", "-")
	}
	for i, env := range all {
		title := "Environments"
		if i > 0 {
			title = ""
		}
		text := env.Name
		if len(env.Fields) > 0 {
			text += " (" + fieldText(env.Fields) + ")"
		}
		row(w, title, text)
	}
}

// environmentChoice are the flags by which an assignment chooses environments.
type environmentChoice struct {
	Environment          []string          `sep:"none" placeholder:"NAME" xor:"environments" help:"An environment of the system in which it runs; may be repeated. It runs in all when left out."`
	AllEnvironments      bool              `xor:"environments" help:"Run it in all environments of the system."`
	NoEnvironments       bool              `xor:"environments" help:"Run it once and in no environment."`
	SatelliteEnvironment map[string]string `mapsep:"none" placeholder:"SATELLITE=NAME,…" help:"On this satellite only these of its environments; 'all' for no difference, '' for none. May be repeated."`
}

func (c *environmentChoice) given() bool {
	return c.Environment != nil || c.AllEnvironments || c.NoEnvironments || c.SatelliteEnvironment != nil
}

// chosen is the choice in place of the one before.
func (c *environmentChoice) chosen(before []string) []string {
	switch {
	case c.AllEnvironments:
		return nil
	case c.NoEnvironments:
		return []string{}
	case c.Environment != nil:
		return c.Environment
	}
	return before
}

// narrowed is the choice of single satellites, of which those not named stay.
func (c *environmentChoice) narrowed(before map[string][]string) map[string][]string {
	if c.SatelliteEnvironment == nil {
		return before
	}
	all := map[string][]string{}
	maps.Copy(all, before)
	for satellite, names := range c.SatelliteEnvironment {
		switch names {
		case "all":
			delete(all, satellite)
		case "":
			all[satellite] = []string{}
		default:
			all[satellite] = strings.Split(names, ",")
		}
	}
	return all
}

// chosenText shows a choice of environments.
func chosenText(names []string) string {
	switch {
	case names == nil:
		return "all"
	case len(names) == 0:
		return "none: one run without"
	}
	return fmt.Sprint(strings.Join(names, ", "))
}
