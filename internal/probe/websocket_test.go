package probe

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

func TestWebSocket(t *testing.T) {
	t.Parallel()
	against(check.WebSocket, "module", "github.com/gorilla/websocket, in net/http")
	upgrader := websocket.Upgrader{Subprotocols: []string{"chat"}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" || r.Header.Get("Authorization") == "Bearer wrong" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		for {
			_, text, err := conn.ReadMessage()
			switch {
			case err != nil:
				return
			case string(text) == "bye":
				conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4001, "enough"))
			case string(text) == "more":
				conn.WriteMessage(websocket.TextMessage, []byte(strings.Repeat("x", 1<<20)))
			case string(text) != "quiet":
				conn.WriteMessage(websocket.TextMessage, append([]byte("echo "), text...))
			}
		}
	}))
	t.Cleanup(s.Close)
	url := "ws" + strings.TrimPrefix(s.URL, "http")
	tryAt(t, check.WebSocket, fmt.Sprintf(`{"url":%q}`, url), []trial{
		{"opening", "", "", "", "", nil},
		{"echo", "", check.WebSocketMessage, `{"send":"hello"}`, "", map[string]any{"message": "echo hello", "success": true}},
		{"subprotocol", `"subprotocol":"chat"`, check.WebSocketMessage, `{"send":"hello"}`, "", map[string]any{"message": "echo hello", "subprotocol": "chat", "success": true}},
		{"ping", "", check.WebSocketMessage, `{"receive":false}`, "", map[string]any{"success": true}},
		{"a long message", "", check.WebSocketMessage, `{"send":"more"}`, "", map[string]any{"message": strings.Repeat("x", maxText) + "…", "success": true}},
		{"silence", "", check.WebSocketMessage, `{"send":"quiet","timeout":200}`, "Check failed: timed out after 200 ms while waiting for a message", map[string]any{"success": false}},
		{"closed", "", check.WebSocketMessage, `{"send":"bye"}`, "Check failed: the server closed the socket: 4001 enough", map[string]any{"success": false}},
		{"wrong token", `"token":"wrong"`, "", "", "the server opened no socket: the server answered 403 Forbidden", nil},
	})
	// Several collectors have one socket, and each its own answer.
	a := assignment(check.WebSocket, fmt.Sprintf(`{"url":%q}`, url), "", "")
	for i := range 5 {
		a.Collectors = append(a.Collectors, protocol.Collector{ID: fmt.Sprint("ping ", i), CollectorID: check.WebSocketMessage, Config: json.RawMessage(`{"receive":false}`)})
		a.Collectors = append(a.Collectors, protocol.Collector{ID: fmt.Sprint(i), CollectorID: check.WebSocketMessage, Config: json.RawMessage(fmt.Sprintf(`{"send":"%d"}`, i))})
	}
	r := New(Options{}).Execute(t.Context(), a, nil, nil)
	wantHealthy(t, r)
	for i := range 5 {
		if got := object(t, r, fmt.Sprint(i))["message"]; got != fmt.Sprintf("echo %d", i) {
			t.Errorf("%d: %v, %s", i, got, r.Message)
		}
	}
}
