//go:build !lean

package probe

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/perigee-monitoring/perigee/check"
)

// files writes a certificate and its key where a server's program finds them.
func files(t *testing.T, dir string, c tls.Certificate) (cert, key string) {
	t.Helper()
	private, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, dir, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}))),
		write(t, dir, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// Strategies that can speak TLS do so with a server that does, and with none whose
// certificate is somebody else's.
func TestTLSWithServers(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert := ca.leaf(-day, day, "127.0.0.1")
	keys := &tls.Config{Certificates: []tls.Certificate{cert}}
	for strategy, c := range map[string]struct {
		start func(t *testing.T) target
		more  []string
	}{
		check.Redis:    {func(t *testing.T) target { return secureRedis(t, cert) }, []string{`"tls":true`}},
		check.MQTT:     {func(t *testing.T) target { return secureMosquitto(t, cert) }, []string{`"tls":true`}},
		check.NATS:     {func(t *testing.T) target { return secureNATS(t, keys) }, []string{`"tls":true`}},
		check.Kafka:    {func(t *testing.T) target { return secureKafka(t, keys) }, []string{`"tls":true`}},
		check.GRPC:     {func(t *testing.T) target { return secureGRPC(t, keys) }, []string{`"useTls":true`}},
		check.LDAP:     {func(t *testing.T) target { return secureLDAP(t, cert) }, []string{`"security":"tls"`}},
		check.MySQL:    {func(t *testing.T) target { return secureMariaDB(t, cert) }, []string{`"tls":true,"database":"shop","user":"u","password":"right"`}},
		check.Postgres: {func(t *testing.T) target { return securePostgres(t, ca) }, []string{`"ssl":true,"database":"postgres","user":"u","password":"right"`}},
		check.MongoDB:  {func(t *testing.T) target { return secureReplica(t, keys) }, []string{`"tls":true`}},
	} {
		t.Run(strategy, func(t *testing.T) {
			t.Parallel()
			s := c.start(t)
			for _, more := range c.more {
				a := s.assignment(strategy, more, "", "")
				for _, w := range whole { // strategies that connect only for a collector
					if kind, _ := check.Strategy(strategy); kind.Lazy && w.strategy == strategy {
						a = s.assignment(strategy, more, w.collector, w.config)
					}
				}
				wantHealthy(t, New(Options{Roots: ca.pool}).Execute(t.Context(), a, nil, nil))
				r := New(Options{Roots: newAuthority(t).pool}).Execute(t.Context(), a, nil, nil)
				if r.Status != check.Unhealthy || !strings.Contains(r.Message, "the certificate is signed by an unknown authority") {
					t.Errorf("with another authority: %s, %s", r.Status, r.Message)
				}
			}
		})
	}
}

func secureRedis(t *testing.T, c tls.Certificate) target {
	dir := t.TempDir()
	cert, key := files(t, dir, c)
	return child(t, func(port int) []string {
		return []string{
			program(t, "redis-server", "valkey-server"), "--port", "0", "--tls-port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--dir", dir,
			"--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no",
		}
	})
}

func secureMosquitto(t *testing.T, c tls.Certificate) target {
	dir := t.TempDir()
	cert, key := files(t, dir, c)
	return child(t, func(port int) []string {
		config := fmt.Sprintf("listener %d 127.0.0.1\ncertfile %s\nkeyfile %s\nallow_anonymous true\npersistence false\nuser root\n", port, cert, key)
		return []string{program(t, "mosquitto"), "-c", write(t, dir, "mosquitto.conf", config)}
	})
}

func secureNATS(t *testing.T, keys *tls.Config) target {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, TLSConfig: keys, TLSTimeout: 10})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server did not start")
	}
	return target{"127.0.0.1", s.Addr().(*net.TCPAddr).Port}
}

func secureKafka(t *testing.T, keys *tls.Config) target {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(keys))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	host, port, err := net.SplitHostPort(cluster.ListenAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(port)
	return target{host, n}
}

func secureGRPC(t *testing.T, keys *tls.Config) target {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(keys)))
	healthpb.RegisterHealthServer(s, health.NewServer())
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(listener) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return target{"127.0.0.1", listener.Addr().(*net.TCPAddr).Port}
}

func secureLDAP(t *testing.T, c tls.Certificate) target {
	dir := t.TempDir()
	cert, key := files(t, dir, c)
	if err := os.Mkdir(filepath.Join(dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	config := write(t, dir, "slapd.conf", fmt.Sprintf("include /etc/ldap/schema/core.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile %[1]s/pid\n"+
		"TLSCertificateFile %[2]s\nTLSCertificateKeyFile %[3]s\nTLSVerifyClient never\ndatabase mdb\nsuffix \"dc=example,dc=org\"\nmaxsize 10485760\ndirectory %[1]s/db\n", dir, cert, key))
	return child(t, func(port int) []string {
		return []string{program(t, "slapd"), "-f", config, "-h", fmt.Sprintf("ldaps://127.0.0.1:%d", port), "-d", "0"}
	})
}

func secureMariaDB(t *testing.T, c tls.Certificate) target {
	dir, err := os.MkdirTemp("", "m") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cert, key := files(t, dir, c)
	user := "--user=root"
	if os.Getuid() != 0 {
		user = "--skip-name-resolve"
	}
	small := []string{"--no-defaults", "--datadir=" + filepath.Join(dir, "d"), user, "--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M", "--innodb-flush-method=nosync"}
	install := program(t, "mariadb-install-db", "mysql_install_db")
	if text, err := exec.Command(install, append(small, "--skip-test-db", "--auth-root-authentication-method=normal")...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	init := write(t, dir, "init.sql", "CREATE DATABASE shop;\nCREATE USER 'u'@'127.0.0.1' IDENTIFIED BY 'right' REQUIRE SSL;\nGRANT SELECT ON shop.* TO 'u'@'127.0.0.1';\n")
	return child(t, func(port int) []string {
		return append(append([]string{program(t, "mariadbd", "mysqld")}, small...), fmt.Sprintf("--port=%d", port), "--bind-address=127.0.0.1", "--socket="+dir+"/s",
			"--pid-file="+dir+"/p", "--init-file="+init, "--skip-log-bin", "--skip-name-resolve", "--ssl-cert="+cert, "--ssl-key="+key)
	})
}

// securePostgres listens on an address of its own, because the port is the usual one. Its
// key is a file that the server has written itself: it wants no other owner.
func securePostgres(t *testing.T, ca *authority) target {
	address := fmt.Sprintf("127.%d.%d.2", 100+os.Getpid()%100, os.Getpid()/100%200)
	cluster, conn, dir := postgres(t, "hostssl all all 127.0.0.0/8 scram-sha-256", "listen_addresses="+address)
	cert, key := files(t, t.TempDir(), ca.leaf(-day, day, address))
	var statements []string
	for setting, file := range map[string]string{"ssl_cert_file": cert, "ssl_key_file": key} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		its := filepath.Join(dir, setting)
		statements = append(statements,
			fmt.Sprintf("COPY (SELECT unnest(string_to_array('%s', E'\\n'))) TO '%s'", strings.TrimSpace(string(text)), its),
			fmt.Sprintf("ALTER SYSTEM SET %s = '%s'", setting, its))
	}
	for _, statement := range append(statements, "ALTER SYSTEM SET ssl = on") {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	key = filepath.Join(dir, "ssl_key_file")
	if err := errors.Join(os.Chmod(key, 0o600), cluster.Shutdown(), cluster.Restart()); err != nil {
		t.Fatal(err)
	}
	return target{address, 5432}
}

// secureReplica is the stand-in behind an end of TLS.
func secureReplica(t *testing.T, keys *tls.Config) target {
	behind := replica(t, bson.M{"ok": 1.0, "isWritablePrimary": true})
	return serve(t, func(conn net.Conn) {
		there, err := net.Dial("tcp", behind.address())
		if err != nil {
			return
		}
		defer there.Close()
		here := tls.Server(conn, keys)
		go func() { defer conn.Close(); io.Copy(here, there) }()
		io.Copy(there, here)
	})
}
