package probe

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// sshKey is a key pair: the private one in OpenSSH's form, encrypted if there is a
// passphrase, and the public one as a line.
func sshKey(t *testing.T, passphrase string) (private, public string, signer ssh.Signer) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if signer, err = ssh.NewSignerFromKey(key); err != nil {
		t.Fatal(err)
	}
	var block *pem.Block
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	} else {
		block, err = ssh.MarshalPrivateKey(key, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), string(ssh.MarshalAuthorizedKey(signer.PublicKey())), signer
}

func TestSSH(t *testing.T) {
	t.Parallel()
	path := program(t, "sshd")
	against(check.SSH, "program", versionOf(t, program(t, "ssh"), "-V"))
	who, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 { // what a package's service makes
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	host, hostPublic, hostSigner := sshKey(t, "")
	private, public, _ := sshKey(t, "")
	locked, lockedPublic, _ := sshKey(t, "open sesame")
	stranger, _, _ := sshKey(t, "")
	hostFile, allowed := write(t, dir, "host", host), write(t, dir, "allowed", public+lockedPublic)
	s := child(t, func(port int) []string {
		config := fmt.Sprintf("Port %d\nListenAddress 127.0.0.1\nHostKey %s\nAuthorizedKeysFile %s\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile none\nMaxStartups 100\nMaxSessions 2\n", port, hostFile, allowed)
		return []string{path, "-D", "-e", "-f", write(t, dir, "sshd_config", config)}
	})
	with := func(more map[string]string) string {
		more["username"] = who.Username
		text, _ := json.Marshal(more)
		return string(text[1 : len(text)-1])
	}
	key := with(map[string]string{"privateKey": private})
	try(t, s, check.SSH, []trial{
		{"connecting signs in", key, "", "", "", nil},
		{"a command", key, check.SSHCommand, `{"command":"echo out; echo err >&2; exit 3"}`, "", map[string]any{"exitCode": 3.0, "stdout": "out\n", "stderr": "err\n"}},
		{"a signal", key, check.SSHCommand, `{"command":"kill -9 $$"}`, "", map[string]any{"exitCode": -1.0, "stdout": "", "stderr": ""}},
		{"a locked key", with(map[string]string{"privateKey": locked, "passphrase": "open sesame"}), check.SSHCommand, `{"command":"true"}`, "", map[string]any{"exitCode": 0.0, "stdout": "", "stderr": ""}},
		{"a locked key and no passphrase", with(map[string]string{"privateKey": locked}), "", "", "the config cannot be used: privateKey: …", nil},
		{"the known machine", with(map[string]string{"privateKey": private, "hostKey": hostPublic}), "", "", "", nil},
		{"the known machine by fingerprint", with(map[string]string{"privateKey": private, "hostKey": ssh.FingerprintSHA256(hostSigner.PublicKey())}), "", "", "", nil},
		{
			"another machine", with(map[string]string{"privateKey": private, "hostKey": public}), "", "",
			"signing in: the machine has another key than the config's: " + ssh.FingerprintSHA256(hostSigner.PublicKey()), nil,
		},
		{"wrong key", with(map[string]string{"privateKey": stranger}), "", "", "signing in: unable to authenticate, attempted methods [none publickey], no supported methods remain", nil},
		{"wrong password", with(map[string]string{"password": "wrong"}), "", "", "signing in: the server refused", nil},
		{"too slow", key + `,"timeout":1500`, check.SSHCommand, `{"command":"sleep 60"}`, "Check failed: timed out after 1500 ms while waiting for the command", nil},
		{"cpu", key, check.HardwareCPU, `{}`, "", map[string]any{"usagePercent": some, "loadAvg1m": some, "loadAvg5m": some, "loadAvg15m": some, "coreCount": some}},
		{"memory", key, check.HardwareMemory, `{"includeSwap":false}`, "", map[string]any{"totalMb": some, "usedMb": some, "freeMb": some, "usedPercent": some}},
		{"disk", key, check.HardwareDisk, `{"mountPoint":"/proc"}`, "", map[string]any{
			"filesystem": "proc", "totalGb": 0.0, "usedGb": 0.0, "availableGb": 0.0, "usedPercent": 0.0, "mountPoint": "/proc",
		}},
		{"the root's disk", key, check.HardwareDisk, `{}`, "", map[string]any{
			"filesystem": some, "totalGb": some, "usedGb": some, "availableGb": some, "usedPercent": some, "mountPoint": "/",
		}},
		{"no such disk", key, check.HardwareDisk, `{"mountPoint":"/nowhere"}`, `Check failed: "LC_ALL=C df -Pk -- /nowhere" ended with 1: …`, nil},
	})
	// Collectors of one kind beside each other, and more than the server does at once.
	a := s.assignment(check.SSH, key, "", "")
	want := map[string]string{}
	for i := range 6 {
		mount := []string{"/", "/proc"}[i%2]
		want[fmt.Sprint(i)] = mount
		a.Collectors = append(a.Collectors, protocol.Collector{ID: fmt.Sprint(i), CollectorID: check.HardwareDisk, Config: json.RawMessage(`{"mountPoint":"` + mount + `"}`)})
	}
	r := New(Options{}).Execute(t.Context(), a, nil, nil)
	got := map[string]string{}
	for id := range r.Metadata.Collectors {
		got[id], _ = object(t, r, id)["mountPoint"].(string)
	}
	if diff := cmp.Diff(want, got); diff != "" || r.Status != check.Healthy {
		t.Errorf("%s, %s: mount points (-want +got):\n%s", r.Status, r.Message, diff)
	}
}

// A server that knows the password, because OpenSSH knows only those of real users.
func TestSSHPassword(t *testing.T) {
	t.Parallel()
	_, _, signer := sshKey(t, "")
	config := &ssh.ServerConfig{PasswordCallback: func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
		if string(password) != "right" {
			return nil, errors.New("no")
		}
		return nil, nil
	}}
	config.AddHostKey(signer)
	against(check.SSH, "module", "golang.org/x/crypto/ssh, for passwords")
	s := serve(t, func(conn net.Conn) {
		shaken, channels, requests, err := ssh.NewServerConn(conn, config)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		for c := range channels {
			_ = c.Reject(ssh.Prohibited, "nothing to see here")
		}
		_ = shaken.Wait()
	})
	try(t, s, check.SSH, []trial{
		{"right", `"username":"u","password":"right"`, "", "", "", nil},
		{"wrong", `"username":"u","password":"wrong"`, "", "", "signing in: unable to authenticate…", nil},
		{"no channel", `"username":"u","password":"right"`, check.SSHCommand, `{"command":"true"}`, `Check failed: ssh: rejected: administratively prohibited ("nothing to see here")`, nil},
	})
}

func TestHardware(t *testing.T) {
	t.Parallel()
	one, two, three, cores := 0.5, 1.25, 2.0, 4
	cpu, err := cpuResult([]string{"cpu  100 0 100 700 100 0 0 0 0 0", "cpu  125 0 125 725 125 0 0 0 0 0", "0.50 1.25 2.00 1/100 4242", "4"}, check.HardwareCPUConfig{IncludeLoadAverage: true, IncludeCoreCount: true})
	if diff := cmp.Diff(&check.HardwareCPUResult{UsagePercent: 50, LoadAvg1m: &one, LoadAvg5m: &two, LoadAvg15m: &three, CoreCount: &cores}, cpu); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	used, all := 512.0, 1024.0
	meminfo := []string{"MemTotal: 4096000 kB", "MemFree: 1024000 kB", "MemAvailable: 2048000 kB", "SwapTotal: 1048576 kB", "SwapFree: 524288 kB"}
	memory, err := memoryResult(meminfo, check.HardwareMemoryConfig{IncludeSwap: true})
	if diff := cmp.Diff(&check.HardwareMemoryResult{TotalMb: 4000, UsedMb: 2000, FreeMb: 2000, UsedPercent: 50, SwapUsedMb: &used, SwapTotalMb: &all}, memory); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	memory, err = memoryResult(meminfo, check.HardwareMemoryConfig{IncludeBuffersCache: true})
	if diff := cmp.Diff(&check.HardwareMemoryResult{TotalMb: 4000, UsedMb: 3000, FreeMb: 1000, UsedPercent: 75}, memory); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, lines := range [][]string{nil, {""}, {"cpu", "cpu", "", ""}, {"not found"}} {
		if _, err := cpuResult(lines, check.HardwareCPUConfig{}); err == nil {
			t.Errorf("cpu of %q", lines)
		}
		if _, err := memoryResult(lines, check.HardwareMemoryConfig{}); err == nil {
			t.Errorf("memory of %q", lines)
		}
		if _, err := diskResult(lines); err == nil {
			t.Errorf("disk of %q", lines)
		}
	}
}
