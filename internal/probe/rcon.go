package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// Types of packets of RCON. The answer to signing in and a command share one.
const (
	rconSignIn   = 3
	rconSignedIn = 2
	rconCommand  = 2
	rconAnswer   = 0
)

const (
	// maxRCON bounds one packet. Servers send at most some 4 KiB; some a little more.
	maxRCON = 64 << 10
	// rconFull is the length from which on an answer may go on in another packet.
	rconFull = 3500
	// maxPlayers bounds a list of names.
	maxPlayers = 1000
)

// rconSession is one console; its commands wait for each other.
type rconSession struct {
	plain
	run   run
	limit time.Duration

	mu   sync.Mutex
	conn net.Conn
	last int32 // id of the packet that was sent last
}

func init() { offers[check.RCON] = offer{connect: (*Prober).connectRCON} }

func (p *Prober) connectRCON(ctx context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.RCONConfig])
	if err != nil {
		return nil, err
	}
	s := &rconSession{run: r, limit: timeout(config.Timeout)}
	at := endpoint{host: config.Host, port: config.Port, limit: s.limit}
	s.conn, s.plain, err = p.reach(ctx, at, func(_ context.Context, _ *phases, conn net.Conn) error {
		s.conn = conn
		return s.signIn(config.Password)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *rconSession) signIn(password string) error {
	if err := s.send(rconSignIn, password); err != nil {
		return err
	}
	for range 3 { // servers of the Source engine send an empty answer first
		id, kind, _, err := s.receive()
		switch {
		case err != nil:
			return err
		case kind != rconSignedIn:
			continue
		case id == -1:
			return errors.New("the server refused the password")
		case id == s.last:
			return nil
		}
	}
	return errors.New("the other side does not speak RCON")
}

func (s *rconSession) collect(ctx context.Context, id string, raw json.RawMessage) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := spent(s.conn); err != nil {
		return nil, err
	}
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	defer during(ctx, s.conn)()
	result, err := s.ask(id, raw)
	return result, explain(ctx, err, "waiting for the answer")
}

func (s *rconSession) ask(id string, raw json.RawMessage) (any, error) {
	switch id {
	case check.RCONSourceStatus:
		text, err := s.enter("status")
		if err != nil {
			return nil, err
		}
		return sourceStatus(text)
	case check.RCONSourcePlayers:
		text, err := s.enter("status")
		if err != nil {
			return nil, err
		}
		return sourcePlayers(text), nil
	case check.RCONMinecraftServer:
		config, err := configure(s.run, raw, check.Decode[check.RCONMinecraftServerConfig])
		if err != nil {
			return nil, err
		}
		return s.minecraft(config.IncludeTPS)
	case check.RCONMinecraftPlayers:
		text, err := s.enter("list")
		if err != nil {
			return nil, err
		}
		return minecraftPlayers(text)
	}
	config, err := configure(s.run, raw, check.Decode[check.RCONCommandConfig])
	if err != nil {
		return nil, err
	}
	start := time.Now()
	text, err := s.enter(config.Command)
	if err != nil {
		return nil, err
	}
	return &check.RCONCommandResult{Response: s.run.keep(text), ExecutionTimeMs: precise(time.Since(start))}, nil
}

// enter sends a command and reads its answer, which may come in several packets. An
// empty packet after it is answered after it: when that comes, the answer is whole.
// Only long answers are asked about, because not every server likes the question.
func (s *rconSession) enter(command string) (string, error) {
	if err := s.send(rconCommand, command); err != nil {
		return "", err
	}
	asked := s.last
	var answer strings.Builder
	for end := int32(0); answer.Len() <= maxText; {
		id, _, text, err := s.receive()
		if err != nil {
			return "", err
		}
		if id == end {
			break
		}
		if id != asked {
			continue // of an earlier command
		}
		answer.WriteString(text)
		if end == 0 {
			if len(text) < rconFull {
				break
			}
			if err := s.send(rconAnswer, ""); err != nil {
				return "", err
			}
			end = s.last
		}
	}
	return answer.String(), nil
}

func (s *rconSession) send(kind int32, text string) error {
	s.last++
	packet := binary.LittleEndian.AppendUint32(nil, uint32(len(text)+10))
	packet = binary.LittleEndian.AppendUint32(packet, uint32(s.last))
	packet = binary.LittleEndian.AppendUint32(packet, uint32(kind))
	packet = append(append(packet, text...), 0, 0)
	_, err := s.conn.Write(packet)
	return err
}

func (s *rconSession) receive() (id, kind int32, text string, err error) {
	var head [4]byte
	if _, err := io.ReadFull(s.conn, head[:]); err != nil {
		return 0, 0, "", err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n < 10 || n > maxRCON {
		return 0, 0, "", errors.New("the other side does not speak RCON")
	}
	packet := make([]byte, n)
	if _, err := io.ReadFull(s.conn, packet); err != nil {
		return 0, 0, "", err
	}
	id = int32(binary.LittleEndian.Uint32(packet))
	kind = int32(binary.LittleEndian.Uint32(packet[4:]))
	return id, kind, string(bytes.TrimRight(packet[8:], "\x00")), nil
}

func (s *rconSession) close() { s.conn.Close() }

var (
	sourceLine    = regexp.MustCompile(`(?m)^\s*(hostname|version|map)\s*:\s*(.*?)\s*$`)
	sourceHumans  = regexp.MustCompile(`(?m)^\s*players\s*:\s*(\d+)(?: humans?, (\d+) bots?)?\s*\((\d+)`)
	sourcePlayer  = regexp.MustCompile(`(?m)^#\s*\d+(?:\s+\d+)?\s+"([^"\n]*)"\s+(\S+)`)
	minecraftList = regexp.MustCompile(`(\d+)(?: of a max(?: of)?|/| out of maximum)\s*(\d+)`)
	minecraftTPS  = regexp.MustCompile(`TPS[^:]*:\s*\*?(\d+(?:\.\d+)?)`)
	colour        = regexp.MustCompile(`§.`)
)

func sourceStatus(text string) (*check.RCONSourceStatusResult, error) {
	result := &check.RCONSourceStatusResult{}
	for _, m := range sourceLine.FindAllStringSubmatch(text, -1) {
		switch value := cut(m[2], 200); m[1] {
		case "hostname":
			result.Hostname = value
		case "version":
			result.Version = value
		case "map":
			name, _, _ := strings.Cut(value, " ")
			result.Map = name
		}
	}
	m := sourceHumans.FindStringSubmatch(text)
	if m == nil {
		return nil, fmt.Errorf("the answer to status is not that of a Source server: %q", cut(text, 200))
	}
	result.HumanPlayers, _ = strconv.Atoi(m[1])
	result.BotPlayers, _ = strconv.Atoi(m[2])
	result.MaxPlayers, _ = strconv.Atoi(m[3])
	return result, nil
}

func sourcePlayers(text string) *check.RCONSourcePlayersResult {
	result := &check.RCONSourcePlayersResult{PlayerNames: []string{}}
	for _, m := range sourcePlayer.FindAllStringSubmatch(text, maxPlayers) {
		if m[2] != "BOT" {
			result.PlayerNames = append(result.PlayerNames, cut(m[1], 200))
		}
	}
	result.PlayerCount = len(result.PlayerNames)
	return result
}

func minecraftPlayers(text string) (*check.RCONMinecraftPlayersResult, error) {
	text = colour.ReplaceAllString(text, "")
	m := minecraftList.FindStringSubmatch(text)
	if m == nil {
		return nil, fmt.Errorf("the answer to list is not that of a Minecraft server: %q", cut(text, 200))
	}
	result := &check.RCONMinecraftPlayersResult{PlayerNames: []string{}}
	result.OnlinePlayers, _ = strconv.Atoi(m[1])
	result.MaxPlayers, _ = strconv.Atoi(m[2])
	_, names, _ := strings.Cut(text, ":")
	for name := range strings.SplitSeq(names, ",") {
		if name = strings.TrimSpace(name); name != "" && len(result.PlayerNames) < maxPlayers {
			result.PlayerNames = append(result.PlayerNames, cut(name, 200))
		}
	}
	return result, nil
}

// minecraft asks for what the server says of itself. A command that it does not have
// is no failure; no answer is.
func (s *rconSession) minecraft(tps bool) (*check.RCONMinecraftServerResult, error) {
	result := &check.RCONMinecraftServerResult{}
	text, err := s.enter("motd")
	if err != nil {
		return nil, err
	}
	if text = strings.TrimSpace(colour.ReplaceAllString(text, "")); !strings.HasPrefix(text, "Unknown") {
		result.MOTD = cut(text, 1000)
	}
	if !tps {
		return result, nil
	}
	if text, err = s.enter("tps"); err != nil {
		return nil, err
	}
	if m := minecraftTPS.FindStringSubmatch(colour.ReplaceAllString(text, "")); m != nil {
		if n, err := strconv.ParseFloat(m[1], 64); err == nil {
			result.TPS = &n
		}
	}
	return result, nil
}
