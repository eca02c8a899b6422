package check

// Qualified ids of the RCON strategy and its collectors (spec K.7).
const (
	RCON                 = "healthcheck-rcon.rcon"
	RCONCommand          = "healthcheck-rcon.command"
	RCONSourceStatus     = "healthcheck-rcon.source-status"
	RCONSourcePlayers    = "healthcheck-rcon.source-players"
	RCONMinecraftServer  = "healthcheck-rcon.minecraft-server"
	RCONMinecraftPlayers = "healthcheck-rcon.minecraft-players"
)

func init() {
	register(strategy[RCONConfig](RCON, "RCON", false),
		collector[RCONCommandConfig, RCONCommandResult](RCONCommand, "Command", true),
		collector[RCONSourceStatusConfig, RCONSourceStatusResult](RCONSourceStatus, "Status of a Source server", false),
		collector[RCONSourcePlayersConfig, RCONSourcePlayersResult](RCONSourcePlayers, "Players of a Source server", false),
		collector[RCONMinecraftServerConfig, RCONMinecraftServerResult](RCONMinecraftServer, "Minecraft server", false),
		collector[RCONMinecraftPlayersConfig, RCONMinecraftPlayersResult](RCONMinecraftPlayers, "Players of a Minecraft server", false))
}

// RCONConfig is the config of healthcheck-rcon.rcon: the console of a game server.
// Connecting signs in.
type RCONConfig struct {
	// The most that connecting and each command may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
	// Name or address to connect to.
	Host string `json:"host" jsonschema:"title=Host,required,minLength=1,format=host" check:"templatable"`
	// Port of the console.
	Port int `json:"port" jsonschema:"title=Port,minimum=1,maximum=65535"`
	// Password of the console.
	Password string `json:"password" jsonschema:"title=Password,required,minLength=1" check:"secret"`
}

func (c *RCONConfig) defaults() { c.Timeout, c.Port = 30_000, 25575 }

// RCONCommandConfig is the config of healthcheck-rcon.command: a line at the console.
type RCONCommandConfig struct {
	// What to enter. The server carries it out, whatever it is.
	Command string `json:"command" jsonschema:"title=Command,required,minLength=1" check:"templatable"`
}

func (c *RCONCommandConfig) defaults() {}

// RCONCommandResult is what the console printed.
type RCONCommandResult struct {
	Response        string  `json:"response"`
	ExecutionTimeMs float64 `json:"executionTimeMs"`
}

// RCONSourceStatusConfig is the config of healthcheck-rcon.source-status, which needs none.
type RCONSourceStatusConfig struct{}

func (c *RCONSourceStatusConfig) defaults() {}

// RCONSourceStatusResult is what the command status says of a server of the Source engine.
type RCONSourceStatusResult struct {
	Hostname     string `json:"hostname,omitempty"`
	Version      string `json:"version,omitempty"`
	Map          string `json:"map,omitempty"`
	HumanPlayers int    `json:"humanPlayers"`
	BotPlayers   int    `json:"botPlayers"`
	MaxPlayers   int    `json:"maxPlayers"`
}

// RCONSourcePlayersConfig is the config of healthcheck-rcon.source-players, which needs none.
type RCONSourcePlayersConfig struct{}

func (c *RCONSourcePlayersConfig) defaults() {}

// RCONSourcePlayersResult is who plays; bots do not count.
type RCONSourcePlayersResult struct {
	PlayerCount int      `json:"playerCount"`
	PlayerNames []string `json:"playerNames"`
}

// RCONMinecraftServerConfig is the config of healthcheck-rcon.minecraft-server.
type RCONMinecraftServerConfig struct {
	// Ask for the ticks per second too, which only some kinds of server answer.
	IncludeTPS bool `json:"includeTps" jsonschema:"title=Ticks per second"`
}

func (c *RCONMinecraftServerConfig) defaults() {}

// RCONMinecraftServerResult is what the server says of itself.
type RCONMinecraftServerResult struct {
	// Message of the day, where the server has a command for it.
	MOTD string `json:"motd,omitempty"`
	// Ticks per second over the last minute; 20 is full speed.
	TPS *float64 `json:"tps,omitempty"`
}

// RCONMinecraftPlayersConfig is the config of healthcheck-rcon.minecraft-players, which needs none.
type RCONMinecraftPlayersConfig struct{}

func (c *RCONMinecraftPlayersConfig) defaults() {}

// RCONMinecraftPlayersResult is who plays.
type RCONMinecraftPlayersResult struct {
	OnlinePlayers int      `json:"onlinePlayers"`
	MaxPlayers    int      `json:"maxPlayers"`
	PlayerNames   []string `json:"playerNames"`
}
