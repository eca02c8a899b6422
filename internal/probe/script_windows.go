package probe

import "os/exec"

// scriptsRun: no shell scripts here.
const scriptsRun = false

func isolate(*exec.Cmd)   {}
func killGroup(*exec.Cmd) {}
