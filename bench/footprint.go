package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// footprint measures a real satellite that carries out a hundred checks each ten
// seconds: its resident set and its share of a core, once it has settled.
func footprint(ctx context.Context, s settings, binary, engine string) (figures []figure, err error) {
	const checks = 100
	c, err := startCoreOn(ctx, binary, engine, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "all is well") }))
	defer target.Close()
	documents := []any{document("System", "target", map[string]any{})}
	for i := range checks {
		name := fmt.Sprintf("check-%03d", i)
		documents = append(documents, document("Check", name, map[string]any{
			"strategy": "healthcheck-http.http", "interval": "10s", "config": map[string]any{},
			"collectors": []any{map[string]any{
				"id": "page", "collector": "healthcheck-http.request", "config": map[string]any{"url": target.URL},
				"assertions": []any{map[string]any{"field": "statusCode", "operator": "equals", "value": 200}},
			}},
		}), document("Assignment", name, map[string]any{"check": name, "system": "target", "includeLocal": false, "satellites": map[string]any{"names": []string{"small"}}}))
	}
	var made struct {
		Satellite struct {
			ID string `json:"id"`
		} `json:"satellite"`
		Token string `json:"token"`
	}
	if err := c.call(ctx, http.MethodPost, "/api/v1/satellites", map[string]any{"name": "small", "region": "here"}, &made); err != nil {
		return nil, err
	}
	if err := c.call(ctx, http.MethodPost, "/api/v1/apply", map[string]any{"documents": documents}, nil); err != nil {
		return nil, err
	}
	agent := exec.Command(filepath.Join(filepath.Dir(binary), "perigee-satellite"), "--core", c.url, "--id", made.Satellite.ID, "--data-dir", filepath.Join(c.dir, "satellite"))
	agent.Env = append(os.Environ(), "PERIGEE_SATELLITE_TOKEN="+made.Token)
	agent.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := agent.Start(); err != nil {
		return nil, fmt.Errorf("starting the satellite: %w", err)
	}
	defer func() {
		_ = agent.Process.Signal(syscall.SIGTERM)
		err = errors.Join(err, agent.Wait())
	}()
	progress("footprint: letting the satellite settle")
	time.Sleep(15 * time.Second)
	cpu, began := processorTime(agent.Process.Pid), time.Now()
	time.Sleep(30 * time.Second)
	share := 100 * (processorTime(agent.Process.Pid) - cpu).Seconds() / time.Since(began).Seconds()
	resident, err := sizeOf(agent.Process.Pid, "VmRSS:")
	if err != nil {
		return nil, err
	}
	anonymous, err := sizeOf(agent.Process.Pid, "RssAnon:")
	if err != nil {
		return nil, err
	}
	note := fmt.Sprintf("%d HTTP checks each 10 s", checks)
	return []figure{
		{what: "satellite's resident set", reached: resident / mebibyte, unit: "MiB", bar: 30, goal: 20, less: true, note: fmt.Sprintf("%s; of it anonymous %s", note, number(anonymous/mebibyte, "MiB"))},
		{what: "satellite's share of a core", reached: share, unit: "%", bar: 2, goal: 1, less: true, note: note},
	}, nil
}

// sizeOf is a size in a process's status, in bytes.
func sizeOf(pid int, name string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib * 1024, err
		}
	}
	return 0, errors.New("the kernel does not say how large the satellite is")
}
