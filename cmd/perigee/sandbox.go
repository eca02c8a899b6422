package main

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"text/tabwriter"

	"github.com/perigee-monitoring/perigee/internal/fence"
	"github.com/perigee-monitoring/perigee/internal/sandbox"
)

// SandboxCmd is what can be done with the policy for scripts.
type SandboxCmd struct {
	Show  SandboxShowCmd  `cmd:"" default:"1" help:"Show the policy."`
	Set   SandboxSetCmd   `cmd:"" help:"Set the policy, and tell it to every satellite."`
	Reset SandboxResetCmd `cmd:"" help:"Go back to the policy that the original ships."`
}

// SandboxShowCmd shows the policy.
type SandboxShowCmd struct{}

// Run shows it.
func (c *SandboxShowCmd) Run(ctx context.Context, a *app) error {
	var s sandbox.Setting
	if err := a.client.Get(ctx, "/sandbox-policy", nil, &s); err != nil {
		return err
	}
	return a.sandbox(s)
}

// SandboxSetCmd sets the policy.
type SandboxSetCmd struct {
	File string `arg:"" placeholder:"FILE" help:"JSON with the fields that perigee sandbox show -o json has under policy; - is standard input."`
}

// maxPolicy bounds a policy's file.
const maxPolicy = 1 << 20

// Run sets it.
func (c *SandboxSetCmd) Run(ctx context.Context, a *app) error {
	text, err := a.readInput(c.File, "the policy", maxPolicy)
	if err != nil {
		return err
	}
	if !json.Valid(text) {
		return usage("perigee sandbox show -o json", "%s holds no JSON", c.File)
	}
	var s sandbox.Setting
	if err := a.client.Put(ctx, "/sandbox-policy", json.RawMessage(text), &s); err != nil {
		return err
	}
	return a.sandbox(s)
}

// SandboxResetCmd goes back to the default.
type SandboxResetCmd struct{}

// Run goes back.
func (c *SandboxResetCmd) Run(ctx context.Context, a *app) error {
	var s sandbox.Setting
	if err := a.client.Delete(ctx, "/sandbox-policy", &s); err != nil {
		return err
	}
	return a.sandbox(s)
}

func (a *app) sandbox(s sandbox.Setting) error {
	return a.print(s, func(w *tabwriter.Writer) {
		p := s.Policy
		set := "by nobody: as the original ships it"
		if !s.IsDefault {
			set = a.ago(value(s.UpdatedAt)) + " by " + s.UpdatedBy
		}
		row(w, "Set", set)
		row(w, "Enabled", yesNo(p.Enabled))
		row(w, "Where it cannot be", p.OnUnavailable)
		row(w, "Network", p.Network.Mode+allowed(p.Network))
		row(w, "Files", p.Filesystem.Mode)
		row(w, "Privilege", p.Privilege.Mode)
		limits, _ := json.Marshal(p.Resources) // numbers
		row(w, "Limits", cmp.Or(strings.NewReplacer("{", "", "}", "", `"`, "", ",", ", ", ":", " ").Replace(string(limits)), "none"))
	})
}

func allowed(n fence.Network) string {
	text := ""
	if n.Mode == "allowlist" {
		text = " of " + cmp.Or(strings.Join(n.Allow, ", "), "nothing")
	}
	if n.DenyLinkLocalAndMetadata {
		text += ", never link-local and metadata addresses"
	}
	return text
}
