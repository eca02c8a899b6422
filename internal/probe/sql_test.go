package probe

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/pgtest"
)

func TestMySQL(t *testing.T) {
	t.Parallel()
	path, install := program(t, "mariadbd", "mysqld"), program(t, "mariadb-install-db", "mysql_install_db")
	against(check.MySQL, "program", versionOf(t, path, "--version"))
	dir, err := os.MkdirTemp("", "m") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	data := filepath.Join(dir, "d")
	user := "--user=root"
	if os.Getuid() != 0 {
		user = "--skip-name-resolve"
	}
	small := []string{"--no-defaults", "--datadir=" + data, user, "--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M", "--innodb-flush-method=nosync"}
	if text, err := exec.Command(install, append(small, "--skip-test-db", "--auth-root-authentication-method=normal")...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	init := write(t, dir, "init.sql", "CREATE DATABASE shop;\nCREATE USER 'u'@'127.0.0.1' IDENTIFIED BY 'right';\nGRANT SELECT ON shop.* TO 'u'@'127.0.0.1';\n")
	s := child(t, func(port int) []string {
		return append(append([]string{path}, small...), fmt.Sprintf("--port=%d", port), "--bind-address=127.0.0.1", "--socket="+dir+"/s",
			"--pid-file="+dir+"/p", "--init-file="+init, "--skip-log-bin", "--skip-name-resolve")
	})
	const right = `"database":"shop","user":"u","password":"right"`
	fine := map[string]any{"rowCount": 1.0, "success": true}
	try(t, s, check.MySQL, []trial{
		{"connecting signs in", right, "", "", "", nil},
		{"one row", right, check.MySQLQuery, `{}`, "", fine},
		{"three rows", right, check.MySQLQuery, `{"query":"SELECT 1 UNION SELECT 2 UNION SELECT 3"}`, "", map[string]any{"rowCount": 3.0, "success": true}},
		{"no rows", right, check.MySQLQuery, `{"query":"SELECT 1 WHERE false"}`, "", map[string]any{"rowCount": 0.0, "success": true}},
		{
			"wrong query", right, check.MySQLQuery, `{"query":"SELECT * FROM nothing"}`,
			"Check failed: the server answered 1146: Table 'shop.nothing' doesn't exist",
			map[string]any{"rowCount": 0.0, "success": false},
		},
		{
			"too slow", right + `,"timeout":1500`, check.MySQLQuery, `{"query":"SELECT SLEEP(60)"}`,
			"Check failed: timed out after 1500 ms while waiting for the query",
			map[string]any{"rowCount": 0.0, "success": false},
		},
		{"wrong password", `"database":"shop","user":"u","password":"wrong"`, "", "", "the server answered 1045: Access denied for user 'u'@'127.0.0.1' (using password: YES)", nil},
		{"another's database", `"database":"mysql","user":"u","password":"right"`, "", "", "the server answered 1044: Access denied for user 'u'@'127.0.0.1' to database 'mysql'", nil},
		{"TLS that it does not speak", right + `,"tls":true`, "", "", "TLS requested but server does not support TLS", nil},
	})
}

// postgres is a cluster with a role u, whose password is "right", to which the rule lets
// others than us in; dir is the cluster's own, and the connection is ours.
func postgres(t *testing.T, rule string, settings ...string) (cluster *pgtest.Cluster, conn *pgx.Conn, dir string) {
	t.Helper()
	rules, err := os.MkdirTemp("", "perigee-hba")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(rules) })
	hba := write(t, rules, "pg_hba.conf", "local all perigee trust\n"+rule+"\n")
	for _, name := range []string{rules, hba} { // the server may run as somebody else
		if err := os.Chmod(name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if cluster, err = pgtest.Start("", append(settings, "hba_file="+hba)...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cluster.Stop() })
	if conn, err = pgx.Connect(t.Context(), cluster.URL()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	if _, err := conn.Exec(t.Context(), "CREATE ROLE u LOGIN PASSWORD 'right'"); err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	return cluster, conn, at.Query().Get("host")
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	_, conn, dir := postgres(t, "local all all scram-sha-256")
	var version string
	if err := conn.QueryRow(t.Context(), "SELECT version()").Scan(&version); err != nil {
		t.Fatal(err)
	}
	against(check.Postgres, "program", cut(version, 90))
	// A cluster listens on a socket alone.
	s := serve(t, func(conn net.Conn) {
		socket, err := net.Dial("unix", filepath.Join(dir, ".s.PGSQL.5432"))
		if err != nil {
			return
		}
		defer socket.Close()
		go func() { defer conn.Close(); io.Copy(conn, socket) }()
		io.Copy(socket, conn)
	})
	const right = `"database":"postgres","user":"u","password":"right"`
	try(t, s, check.Postgres, []trial{
		{"connecting signs in", right, "", "", "", nil},
		{"one row", right, check.PostgresQuery, `{}`, "", map[string]any{"rowCount": 1.0, "success": true}},
		{"three rows", right, check.PostgresQuery, `{"query":"SELECT generate_series(1, 3)"}`, "", map[string]any{"rowCount": 3.0, "success": true}},
		{"no rows", right, check.PostgresQuery, `{"query":"SELECT 1 WHERE false"}`, "", map[string]any{"rowCount": 0.0, "success": true}},
		{
			"wrong query", right, check.PostgresQuery, `{"query":"SELECT * FROM nothing"}`,
			`Check failed: the server answered ERROR: relation "nothing" does not exist (42P01)`,
			map[string]any{"rowCount": 0.0, "success": false},
		},
		{
			"two statements", right, check.PostgresQuery, `{"query":"SELECT 1; SELECT 2"}`,
			"Check failed: the server answered ERROR: cannot insert multiple commands into a prepared statement (42601)",
			map[string]any{"rowCount": 0.0, "success": false},
		},
		{
			"too slow", right + `,"timeout":1500`, check.PostgresQuery, `{"query":"SELECT pg_sleep(60)"}`,
			"Check failed: timed out after 1500 ms while waiting for the query",
			map[string]any{"rowCount": 0.0, "success": false},
		},
		{"wrong password", `"database":"postgres","user":"u","password":"wrong"`, "", "", `the server answered FATAL: password authentication failed for user "u" (28P01)`, nil},
		{"no such database", `"database":"none","user":"u","password":"right"`, "", "", `the server answered FATAL: database "none" does not exist (3D000)`, nil},
		{"TLS that it does not speak", right + `,"ssl":true`, "", "", "127.0.0.1:…", nil},
		{"a flood", right, check.PostgresQuery, `{"query":"SELECT repeat('x', 1000000) FROM generate_series(1, 100)"}`, "Check failed: the other side sent more than 16 MiB", map[string]any{"rowCount": some, "success": false}},
	})
}
