package main

import (
	"io"

	"github.com/perigee-monitoring/perigee/internal/script"
)

// CheckTypesCmd prints what scripts find, for the editors of people.
type CheckTypesCmd struct{}

// Run prints it; no core is asked.
func (CheckTypesCmd) Run(out io.Writer) error {
	_, err := io.WriteString(out, script.Types)
	return err
}
