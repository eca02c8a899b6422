package main

import (
	"embed"
	"io"
	"slices"
	"strings"
	"text/template"

	"github.com/alecthomas/kong"
)

// CompletionCmd prints a script that lets a shell complete what is typed.
type CompletionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help says what to do with the script.
func (c *CompletionCmd) Help() string {
	return `To complete in this shell and those to come:

  bash   source <(perigee completion bash), and the same in ~/.bashrc
  zsh    source <(perigee completion zsh), and the same in ~/.zshrc behind compinit
  fish   perigee completion fish > ~/.config/fish/completions/perigee.fish`
}

//go:embed completion
var completionScripts embed.FS

// Run makes the script of the commands and flags that there are.
func (c *CompletionCmd) Run(k *kong.Context, out io.Writer) error {
	script, err := template.New(c.Shell+".tmpl").Funcs(template.FuncMap{
		"quote": quoted, "join": strings.Join, "below": below,
	}).ParseFS(completionScripts, "completion/"+c.Shell+".tmpl")
	if err != nil {
		return err
	}
	commands := commandsOf(k.Model.Node, k.Model.Name)
	return script.Execute(out, map[string]any{"Commands": commands, "Valued": valued(commands)})
}

// completable is what can be typed behind a command.
type completable struct {
	// Path is how it is called: "perigee satellite list".
	Path string
	// Names are its subcommands, or the words that its first argument may be.
	Names []word
	Flags []word
}

// word is something that can be typed, with what it means.
type word struct {
	// Texts are its spellings, the longest first: "--output", "-o".
	Texts []string
	Help  string
	// Takes: a value follows; Values are those it may be, if they are few.
	Takes  bool
	Values []string
}

// commandsOf lists a command and all below it.
func commandsOf(n *kong.Node, path string) []completable {
	self := completable{Path: path}
	var under []completable
	for _, child := range n.Children {
		if child.Hidden || child.Type != kong.CommandNode {
			continue
		}
		self.Names = append(self.Names, word{Texts: []string{child.Name}, Help: child.Help})
		under = append(under, commandsOf(child, path+" "+child.Name)...)
	}
	if len(n.Positional) > 0 && n.Positional[0].Enum != "" {
		for _, text := range n.Positional[0].EnumSlice() {
			self.Names = append(self.Names, word{Texts: []string{text}})
		}
	}
	for _, group := range n.AllFlags(true) {
		for _, flag := range group {
			self.Flags = append(self.Flags, flagWords(flag)...)
		}
	}
	return append([]completable{self}, under...)
}

func flagWords(f *kong.Flag) []word {
	w := word{Texts: []string{"--" + f.Name}, Help: f.Help, Takes: !f.IsBool() && !f.IsCounter()}
	if f.Short != 0 {
		w.Texts = append(w.Texts, "-"+string(f.Short))
	}
	if f.Enum != "" {
		w.Values = slices.DeleteFunc(f.EnumSlice(), func(v string) bool { return v == "" })
	}
	if f.Tag.Negatable == "" {
		return []word{w}
	}
	return []word{w, {Texts: []string{"--no-" + f.Name}, Help: f.Help}}
}

// valued are the flags behind which a value is no command.
func valued(commands []completable) []string {
	var all []string
	for _, c := range commands {
		for _, f := range c.Flags {
			if f.Takes {
				all = append(all, f.Texts...)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// below are all but the program itself.
func below(commands []completable) []completable { return commands[1:] }

// quoted is text in single quotes, for any of the shells.
func quoted(text string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "\n", " ").Replace(text) + "'"
}
