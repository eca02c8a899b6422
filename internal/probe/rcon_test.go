package probe

import (
	"net"
	"strings"
	"sync"
	"testing"

	mcnet "github.com/Tnze/go-mc/net"

	"github.com/perigee-monitoring/perigee/check"
)

// console is a game server's: Minecraft's protocol is foreign code, and the game's
// answers, by the commands in the map, are words that such games say. Long ones are
// split as servers do, and source greets as those of the Source engine do.
func console(t *testing.T, source bool, answers map[string]string) target {
	t.Helper()
	listener, err := mcnet.ListenRCON("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { listener.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { defer conn.Close(); play(conn.(*mcnet.RCONConn), source, answers) })
		}
	})
	return target{"127.0.0.1", listener.Addr().(*net.TCPAddr).Port}
}

func play(conn *mcnet.RCONConn, source bool, answers map[string]string) {
	if source {
		if conn.WritePacket(1, rconAnswer, "") != nil {
			return
		}
	}
	if conn.AcceptLogin("right") != nil {
		return
	}
	for {
		id, kind, command, err := conn.ReadPacket()
		if err != nil {
			return
		}
		answer, ok := answers[command]
		switch {
		case kind != rconCommand:
			answer = "Unknown request 0"
		case !ok:
			answer = "Unknown or incomplete command, see below for error"
		}
		conn.ReqID = id
		for len(answer) > mcnet.MaxRCONPackageSize {
			if conn.RespCmd(answer[:mcnet.MaxRCONPackageSize]) != nil {
				return
			}
			answer = answer[mcnet.MaxRCONPackageSize:]
		}
		if conn.RespCmd(answer) != nil {
			return
		}
	}
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
	against(check.RCON, "module", "github.com/Tnze/go-mc/net, which answers with words of the Source engine's and Minecraft's servers")
	long := strings.Repeat("0123456789abcdef", 700)
	source := console(t, true, map[string]string{"status": sourceAnswer, "cvarlist": long})
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
	paper := console(t, false, map[string]string{
		"list": "There are §c2§r of a max of §c20§r players online: Ann, Bob", "tps": "§6TPS from last 1m, 5m, 15m: §a19.97, §a20.0, §a20.0", "motd": "§aWelcome\n",
	})
	try(t, paper, check.RCON, []trial{
		{"minecraft", `"password":"right"`, check.RCONMinecraftServer, `{"includeTps":true}`, "", map[string]any{"motd": "Welcome", "tps": 19.97}},
		{"minecraft players", `"password":"right"`, check.RCONMinecraftPlayers, `{}`, "", map[string]any{
			"onlinePlayers": 2.0, "maxPlayers": 20.0, "playerNames": []any{"Ann", "Bob"},
		}},
		{"yet another game", `"password":"right"`, check.RCONSourceStatus, `{}`, "Check failed: the answer to status is not that of a Source server: …", nil},
	})
	vanilla := console(t, false, map[string]string{"list": "There are 0/20 players online:\n"})
	try(t, vanilla, check.RCON, []trial{
		{"vanilla", `"password":"right"`, check.RCONMinecraftServer, `{"includeTps":true}`, "", map[string]any{}},
		{"nobody", `"password":"right"`, check.RCONMinecraftPlayers, `{}`, "", map[string]any{"onlinePlayers": 0.0, "maxPlayers": 20.0, "playerNames": []any{}}},
	})
}
