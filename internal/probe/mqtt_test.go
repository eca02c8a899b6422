package probe

import (
	"fmt"
	"testing"

	"github.com/perigee-monitoring/perigee/check"
)

func TestMQTT(t *testing.T) {
	t.Parallel()
	path := program(t, "mosquitto")
	against(check.MQTT, "program", versionOf(t, path, "-h"))
	dir := t.TempDir()
	// The password is "right", as mosquitto_passwd wrote it.
	passwords := write(t, dir, "passwords", "u:$7$101$Bcf2DH758FuZKxrs$HSgoTnCTqw4QK6hSrs+ATY7hRy10bQpJ3sU5UR5u/aTof+QfLMNA56FHtQwdCDlr/RAgT1E9Cdg+9ywhUccCWw==\n")
	rights := write(t, dir, "rights", "user u\ntopic readwrite perigee/#\n")
	s := child(t, func(port int) []string {
		config := fmt.Sprintf("listener %d 127.0.0.1\npassword_file %s\nacl_file %s\nallow_anonymous false\npersistence false\nuser root\n", port, passwords, rights)
		return []string{path, "-c", write(t, dir, "mosquitto.conf", config)}
	})
	for _, version := range []string{"3.1.1", "5"} {
		signed := fmt.Sprintf(`"username":"u","password":"right","version":%q`, version)
		wrong := fmt.Sprintf(`"username":"u","password":"wrong","version":%q`, version)
		try(t, s, check.MQTT, []trial{
			{version + " connecting signs in", signed, "", "", "", nil},
			{version + " a message", signed, check.MQTTRoundTrip, `{"topic":"perigee/` + version + `"}`, "", map[string]any{"success": true}},
			{version + " silence", signed, check.MQTTMessage, `{"topic":"perigee/nothing","timeout":100}`, "", map[string]any{"hasMessage": false, "retained": false}},
			{version + " wrong password", wrong, check.MQTTRoundTrip, `{"topic":"x"}`, "the broker refused the connection: not authorized", nil},
			{version + " anonymous", fmt.Sprintf(`"version":%q`, version), "", "", "the broker refused the connection: not authorized", nil},
			{version + " TLS that it does not speak", signed + `,"tls":true,"timeout":2000`, "", "", "connection reset by the other side…", nil},
		})
	}
	t.Run("retained", func(t *testing.T) {
		t.Parallel()
		a := s.assignment(check.MQTT, `"username":"u","password":"right"`, check.MQTTMessage, `{"topic":"perigee/kept/+"}`)
		p := New(Options{})
		publisher, err := p.connectMQTT(t.Context(), newRun(a, nil), a.Config)
		if err != nil {
			t.Fatal(err)
		}
		defer publisher.close()
		m := publisher.(*mqttSession)
		if err := m.send(mqttPublish|1, append(mqttText(nil, "perigee/kept/a"), "on"...)); err != nil {
			t.Fatal(err)
		}
		if _, err := m.roundTrip("perigee/after"); err != nil { // by then it is kept
			t.Fatal(err)
		}
		wantFound(t, p.Execute(t.Context(), a, nil, nil), trial{want: map[string]any{
			"hasMessage": true, "topic": "perigee/kept/a", "payload": "on", "retained": true,
		}})
	})
}
