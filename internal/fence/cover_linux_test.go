package fence_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/fence"
)

// A script that stays who a satellite without rights is, and finds all files of the machine,
// finds none of the satellite's own.
func TestOwnFiles(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 { // from whom nothing can be hidden
		again(t, "^TestOwnFiles$")
		return
	}
	dir := scratch(t)
	data, token := filepath.Join(dir, "data"), filepath.Join(dir, "token")
	place := fence.Place{
		Scratch: filepath.Join(data, "runs/1"), ReadOnly: []string{filepath.Join(data, "packages/a"), "/usr/bin/perl"},
		Closed: []string{data, token, filepath.Join(dir, "absent")},
	}
	for _, d := range []string{place.Scratch, place.ReadOnly[0]} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for path, text := range map[string]string{
		token: "secret", data + "/spool": "secret", data + "/runs/2": "secret", place.ReadOnly[0] + "/index.js": "module", dir + "/other": "other",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	open := func(p *fence.Policy) {
		p.Filesystem.Mode, p.Network, p.Privilege.Mode = fence.FilesOff, fence.Network{Mode: fence.NetworkUnrestricted}, fence.PrivilegeInherit
	}
	us := fmt.Sprintf("/proc/%d", os.Getpid())
	for name, c := range map[string]struct{ script, want string }{
		"the token":                  {"cat " + token, ""},
		"what it keeps":              {"cat " + data + "/spool", ""},
		"what else is where it runs": {"cat ../2", ""},
		"what is further up":         {"cat ../../spool", ""},
		"by a root":                  {"cat " + us + "/root" + token, ""},
		"by a directory":             {"cat " + us + "/cwd/../" + filepath.Base(dir) + "/token", ""},
		"its environment":            {"tr '\\0' '\\n' <" + us + "/environ | grep -q ^PATH= && echo secret", ""},
		"its descriptors":            {"ls -l " + us + "/fd/ && echo secret", ""},
		"by unmounting":              {"umount " + token + "; umount " + data + "; cat " + token, ""},
		"by a namespace":             {"unshare -Ur cat " + token, ""},
		"by moving what it lies in":  {"mv " + data + " " + data + "2; cat " + data + "2/spool", ""},
		"a link":                     {"ln " + token + " " + dir + "/hard; cat " + dir + "/hard", ""},
		"other files":                {"cat " + dir + "/other", "other"},
		"packages":                   {"cat " + place.ReadOnly[0] + "/index.js", "module"},
		"a directory of its own":     {"echo mine >file && cat " + place.Scratch + "/file && pwd", "mine\n" + place.Scratch + "\n"},
		"what it writes":             {"printf other >" + dir + "/new && cat " + dir + "/new", "other"},
		"the machine's own files":    {"test -s /etc/passwd && printf there", "there"},
		"processes of the machine":   {"grep -q . " + us + "/cmdline && printf there", "there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := shell(t, strict(open), place, c.script)
			if strings.Contains(got, "secret") || c.want != "" && (got != c.want || err != nil) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	t.Run("what a script before has moved", func(t *testing.T) {
		t.Parallel()
		dir := scratch(t)
		above, gone := filepath.Join(dir, "above"), filepath.Join(dir, "gone")
		token := filepath.Join(above, "here", "token")
		if err := errors.Join(os.MkdirAll(filepath.Dir(token), 0o700), os.WriteFile(token, []byte("secret"), 0o600)); err != nil {
			t.Fatal(err)
		}
		place := fence.Place{Scratch: scratch(t), Closed: []string{token}}
		for _, script := range []string{"mv " + above + " " + gone, "cat " + gone + "/here/token"} {
			if got, err := shell(t, strict(open), place, script); err == nil {
				t.Errorf("%s: %q", script, got)
			}
		}
		if got, err := shell(t, strict(open), place, "cd "+above+" && echo x >beside && mv beside here/ && cat here/beside"); got != "x\n" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
	if text, err := os.ReadFile(token); err != nil || string(text) != "secret" {
		t.Errorf("%q, %v", text, err)
	}
}
