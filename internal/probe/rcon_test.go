package probe

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/perigee-monitoring/perigee/check"
)

// console is a stand-in for a game server, which neither Debian nor a Go module has:
// it signs in by the password, answers commands by what they are in the map, and
// splits long answers as servers do.
func console(t *testing.T, answers map[string]string) target {
	t.Helper()
	return serve(t, func(conn net.Conn) {
		send := func(id, kind int32, text string) {
			packet := binary.LittleEndian.AppendUint32(nil, uint32(len(text)+10))
			packet = binary.LittleEndian.AppendUint32(packet, uint32(id))
			packet = binary.LittleEndian.AppendUint32(packet, uint32(kind))
			conn.Write(append(append(packet, text...), 0, 0))
		}
		for {
			var head [4]byte
			if _, err := io.ReadFull(conn, head[:]); err != nil {
				return
			}
			packet := make([]byte, binary.LittleEndian.Uint32(head[:]))
			if _, err := io.ReadFull(conn, packet); err != nil {
				return
			}
			id, kind := int32(binary.LittleEndian.Uint32(packet)), binary.LittleEndian.Uint32(packet[4:])
			text := string(bytes.TrimRight(packet[8:], "\x00"))
			switch {
			case kind == 3 && text == "right":
				send(id, 0, "")
				send(id, 2, "")
			case kind == 3:
				send(-1, 2, "")
			case kind == 0:
				send(id, 0, "Unknown request 0")
			default:
				answer, ok := answers[text]
				if !ok {
					answer = "Unknown or incomplete command, see below for error"
				}
				for len(answer) > 4096 {
					send(id, 0, answer[:4096])
					answer = answer[4096:]
				}
				send(id, 0, answer)
			}
		}
	})
}

const sourceAnswer = `hostname: Friday night
version : 1.38.0.4/13804 1290/8853 secure  [G:1:1234]
udp/ip  : 192.0.2.1:27015
os      :  Linux
map     : de_dust2 at: 0 x, 0 y, 0 z
players : 2 humans, 1 bots (20/0 max) (not hibernating)

# userid name uniqueid connected ping loss state rate adr
#  2 1 "Ann" STEAM_1:0:1 05:11 41 0 active 196608 192.0.2.7:27005
#  3 2 "B O B" STEAM_1:0:2 01:10 33 0 active 196608 192.0.2.8:27005
# 4 "Crusher" BOT active 64
#end
`

func TestRCON(t *testing.T) {
	t.Parallel()
	against(check.RCON, "stand-in", "answers in the form of the Source engine's and Minecraft's servers")
	long := strings.Repeat("0123456789abcdef", 700)
	source := console(t, map[string]string{"status": sourceAnswer, "cvarlist": long})
	try(t, source, check.RCON, []trial{
		{"connecting signs in", `"password":"right"`, "", "", "", nil},
		{"wrong password", `"password":"wrong"`, check.RCONCommand, `{"command":"x"}`, "the server refused the password", nil},
		{"status", `"password":"right"`, check.RCONSourceStatus, `{}`, "", map[string]any{
			"hostname": "Friday night", "version": "1.38.0.4/13804 1290/8853 secure  [G:1:1234]", "map": "de_dust2",
			"humanPlayers": 2.0, "botPlayers": 1.0, "maxPlayers": 20.0,
		}},
		{"players", `"password":"right"`, check.RCONSourcePlayers, `{}`, "", map[string]any{"playerCount": 2.0, "playerNames": []any{"Ann", "B O B"}}},
		{"several packets", `"password":"right"`, check.RCONCommand, `{"command":"cvarlist"}`, "", map[string]any{"response": long}},
		{
			"another game", `"password":"right"`, check.RCONMinecraftPlayers, `{}`,
			"Check failed: the answer to list is not that of a Minecraft server: \"Unknown…", nil,
		},
	})
	paper := console(t, map[string]string{
		"list": "There are §c2§r of a max of §c20§r players online: Ann, Bob", "tps": "§6TPS from last 1m, 5m, 15m: §a19.97, §a20.0, §a20.0", "motd": "§aWelcome\n",
	})
	try(t, paper, check.RCON, []trial{
		{"minecraft", `"password":"right"`, check.RCONMinecraftServer, `{"includeTps":true}`, "", map[string]any{"motd": "Welcome", "tps": 19.97}},
		{"minecraft players", `"password":"right"`, check.RCONMinecraftPlayers, `{}`, "", map[string]any{
			"onlinePlayers": 2.0, "maxPlayers": 20.0, "playerNames": []any{"Ann", "Bob"},
		}},
		{"yet another game", `"password":"right"`, check.RCONSourceStatus, `{}`, "Check failed: the answer to status is not that of a Source server: …", nil},
	})
	vanilla := console(t, map[string]string{"list": "There are 0/20 players online:\n"})
	try(t, vanilla, check.RCON, []trial{
		{"vanilla", `"password":"right"`, check.RCONMinecraftServer, `{"includeTps":true}`, "", map[string]any{}},
		{"nobody", `"password":"right"`, check.RCONMinecraftPlayers, `{}`, "", map[string]any{"onlinePlayers": 0.0, "maxPlayers": 20.0, "playerNames": []any{}}},
	})
}
