package probe

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perigee-monitoring/perigee/check"
)

// podman is a runtime whose containers have one program, busybox, and no network. It
// keeps everything in a directory of the test's; what it is given is a command line.
func podman(t *testing.T, dir string) (run func(args ...string), service []string) {
	t.Helper()
	path := program(t, "podman")
	against(check.Container, "program", versionOf(t, path, "--version")+", "+versionOf(t, program(t, "runc"), "--version"))
	busybox, err := os.ReadFile(program(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rootfs/bin", "rootfs/proc", "rootfs/sys", "rootfs/dev"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(dir+"/rootfs/bin/busybox", busybox, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("busybox", dir+"/rootfs/bin/sh"); err != nil {
		t.Fatal(err)
	}
	// More than these limits not every root may give: one in a container may not.
	config := write(t, dir, "containers.conf", fmt.Sprintf(`[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
runtime = "runc"
static_dir = "%[1]s/static"
tmp_dir = "%[1]s/tmp"
volume_path = "%[1]s/volumes"
`, dir))
	storage := write(t, dir, "storage.conf", fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = \"%[1]s/graph\"\nrunroot = \"%[1]s/run\"\n", dir))
	command := []string{"env", "CONTAINERS_CONF=" + config, "CONTAINERS_STORAGE_CONF=" + storage, path}
	run = func(args ...string) {
		t.Helper()
		if text, err := exec.Command(command[0], append(command[1:], args...)...).CombinedOutput(); err != nil {
			t.Fatalf("podman %s: %v\n%s", strings.Join(args, " "), err, text)
		}
	}
	return run, append(command, "system", "service", "--time", "0", "unix://"+dir+"/s")
}

func TestContainer(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "c") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	run, service := podman(t, dir)
	t.Cleanup(func() { run("rm", "--force", "--all", "--time", "0") })
	// Busy, but not for ever, should nobody be left to end it.
	run("run", "--detach", "--name", "web", "--health-cmd", "true", "--health-interval", "disable", "--memory", "64m",
		"--rootfs", dir+"/rootfs", "/bin/busybox", "timeout", "300", "/bin/sh", "-c", "while :; do :; done")
	run("healthcheck", "run", "web")
	run("run", "--detach", "--name", "job", "--rootfs", dir+"/rootfs", "/bin/sh", "-c", "exit 7")
	run("wait", "job")
	run("create", "--name", "new", "--rootfs", dir+"/rootfs", "/bin/sh")
	childOn(t, "tcp", func(target) bool {
		conn, err := net.Dial("unix", dir+"/s")
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, func(int) []string { return service })

	config := func(name string) string { return fmt.Sprintf(`{"endpoint":"unix://%s/s","container":%q}`, dir, name) }
	state := func(state string, exit float64) map[string]any {
		return map[string]any{"exists": true, "running": false, "state": state, "health": "none", "exitCode": exit, "restartCount": 0.0, "oomKilled": false}
	}
	tryAt(t, check.Container, config("web"), []trial{
		{"the runtime answers", "", "", "", "", nil},
		{"running", "", check.ContainerStatus, `{}`, "", map[string]any{
			"exists": true, "running": true, "state": "running", "health": "healthy", "exitCode": 0.0, "restartCount": 0.0, "oomKilled": false,
		}},
		{"stats", "", check.ContainerStats, `{}`, "", map[string]any{
			"cpuPercent": some, "memoryPercent": some, "memoryUsageBytes": some, "memoryLimitBytes": float64(64 << 20),
		}},
	})
	tryAt(t, check.Container, config("job"), []trial{
		{"ended", "", check.ContainerStatus, `{}`, "", state("exited", 7)},
		{"ended uses nothing", "", check.ContainerStats, `{}`, "", map[string]any{}},
	})
	tryAt(t, check.Container, config("new"), []trial{{"created", "", check.ContainerStatus, `{}`, "", state("created", 0)}})
	tryAt(t, check.Container, config("gone"), []trial{
		{"there is none", "", check.ContainerStatus, `{}`, "", map[string]any{"exists": false}},
		{"stats of none", "", check.ContainerStats, `{}`, "Check failed: there is no such container", nil},
	})
}

// What Docker says and Podman does not: two moments, and a cache of files.
func TestContainerOfDocker(t *testing.T) {
	t.Parallel()
	against(check.Container, "stand-in", "answers in the form of Docker's API, over HTTP")
	url := site(t, map[string]string{
		"/_ping": "OK",
		"/containers/web/json": `{"Id":"4f","Name":"/web","RestartCount":2,"State":{"Status":"running","Running":true,"OOMKilled":false,
			"ExitCode":0,"Health":{"Status":"starting","FailingStreak":0}}}`,
		"/containers/job/json": `{"State":{"Status":"exited","Running":false,"OOMKilled":true,"ExitCode":137},"RestartCount":0}`,
		"/containers/web/stats": `{"read":"2026-01-02T03:04:06.5Z","preread":"2026-01-02T03:04:04Z",
			"cpu_stats":{"cpu_usage":{"total_usage":3000000000},"system_cpu_usage":110000000000,"online_cpus":4},
			"precpu_stats":{"cpu_usage":{"total_usage":2000000000},"system_cpu_usage":100000000000,"online_cpus":4},
			"memory_stats":{"usage":300000000,"limit":1000000000,"stats":{"inactive_file":50000000}}}`,
	}, nil)
	config := func(name string) string { return fmt.Sprintf(`{"endpoint":%q,"container":%q}`, url, name) }
	tryAt(t, check.Container, config("web"), []trial{
		{"running", "", check.ContainerStatus, `{}`, "", map[string]any{
			"exists": true, "running": true, "state": "running", "health": "starting", "exitCode": 0.0, "restartCount": 2.0, "oomKilled": false,
		}},
		{"stats", "", check.ContainerStats, `{}`, "", map[string]any{
			"cpuPercent": 40.0, "memoryPercent": 25.0, "memoryUsageBytes": 250000000.0, "memoryLimitBytes": 1000000000.0,
		}},
	})
	tryAt(t, check.Container, config("job"), []trial{
		{"out of memory", "", check.ContainerStatus, `{}`, "", map[string]any{
			"exists": true, "running": false, "state": "exited", "health": "none", "exitCode": 137.0, "restartCount": 0.0, "oomKilled": true,
		}},
	})
}
