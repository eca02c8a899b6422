// Package notify tells people: channels are where they can be reached, deliveries are
// messages on their way there.
//
// A message has a key and reaches each channel once: when it is tried again after a
// failure, channels that took it are left alone. A channel that fails says so in its
// record and, at the edge, by an event. Credentials stand in channels as references to
// secrets and are put in place just before sending; they are taken out of every error.
package notify

import (
	"fmt"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// Kind is the entity kind of a channel.
const Kind = "channel"

// Channel is a way to reach people.
type Channel struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Enabled     bool   `json:"enabled" doc:"Nothing is sent by one that is not."`
	Type        Type   `json:"type" enum:"email,webhook,shoutrrr"`
	Config      Config `json:"config"`
	// DeliveredAt is when it last took a message, and FailingSince when it first refused
	// one after that.
	DeliveredAt  *time.Time `json:"deliveredAt"`
	FailingSince *time.Time `json:"failingSince"`
	LastError    string     `json:"lastError"`
	CreatedAt    time.Time  `json:"createdAt"`
	UpdatedAt    time.Time  `json:"updatedAt"`
}

// Type is how a channel carries messages.
type Type string

const (
	Email   Type = "email"
	Webhook Type = "webhook"
	// Shoutrrr is any service that the notification library knows by its URL: Slack,
	// Teams, Discord, Telegram and others.
	Shoutrrr Type = "shoutrrr"
)

// Config is what each type needs; the fields of other types are empty. Where a
// credential belongs stands a reference, ${{ secrets.NAME }}.
type Config struct {
	// Of e-mail.
	Server   string   `json:"server,omitempty" maxLength:"300" doc:"Of e-mail: the SMTP server, host:port."`
	TLS      string   `json:"tls,omitempty" enum:"starttls,tls,none" doc:"Of e-mail: starttls (the default), tls from the first byte, or none."`
	Username string   `json:"username,omitempty" maxLength:"300"`
	Password string   `json:"password,omitempty" maxLength:"300" doc:"Of e-mail: a reference to a secret."`
	From     string   `json:"from,omitempty" maxLength:"300"`
	To       []string `json:"to,omitempty" maxItems:"50"`
	// Of webhooks and of the library.
	URL     string            `json:"url,omitempty" maxLength:"2000" doc:"Of a webhook, or of a service of the notification library; that one a reference to a secret."`
	Headers map[string]string `json:"headers,omitempty" doc:"Of a webhook; values may refer to secrets."`
	Secret  string            `json:"secret,omitempty" maxLength:"300" doc:"Of a webhook: a reference to the secret by which bodies are signed (X-Perigee-Signature)."`
}

// Input is all that people say of a channel.
type Input struct {
	Name        string `json:"name" maxLength:"100"`
	Description string `json:"description,omitempty" maxLength:"1000"`
	Enabled     *bool  `json:"enabled,omitempty" doc:"True when absent."`
	Type        Type   `json:"type" enum:"email,webhook,shoutrrr"`
	Config      Config `json:"config"`
}

// MaxChannels bounds how many there are.
const MaxChannels = 200

var (
	channelName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?$`)
	headerName  = regexp.MustCompile(`^[A-Za-z0-9-]{1,100}$`)
	// reference is a text that is nothing but a reference to a secret.
	reference = regexp.MustCompile(`^\$\{\{\s*secrets\.[A-Za-z][A-Za-z0-9_-]{0,62}\s*\}\}$`)
	anyHole   = regexp.MustCompile(`\$\{\{`)
)

func (in *Input) validate() error {
	var p []fault.Field
	add := func(path, format string, args ...any) {
		p = append(p, fault.Field{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	if !channelName.MatchString(in.Name) {
		add("name", "must be lower-case letters, digits, '.', '_' and '-', at most 100, a letter or digit first and last")
	}
	if len(in.Description) > 1000 {
		add("description", "must be at most 1000 characters")
	}
	c := &in.Config
	ownReference := func(path, text string) {
		if text != "" && !reference.MatchString(text) {
			add(path, "must be a reference to a secret, ${{ secrets.NAME }}; make the secret with: perigee secret set NAME")
		}
	}
	none := func(texts map[string]bool) {
		for path, given := range texts {
			if given {
				add("config."+path, "does not belong to a channel of type %s", in.Type)
			}
		}
	}
	mailOnly := map[string]bool{"server": c.Server != "", "tls": c.TLS != "", "username": c.Username != "", "password": c.Password != "", "from": c.From != "", "to": len(c.To) > 0}
	switch in.Type {
	case Email:
		host, port, ok := strings.Cut(c.Server, ":")
		if c.Server == "" || len(c.Server) > 300 || !ok || host == "" || port == "" {
			add("config.server", "must be host:port of an SMTP server")
		}
		if !slices.Contains([]string{"", "starttls", "tls", "none"}, c.TLS) {
			add("config.tls", "must be starttls, tls or none")
		}
		if c.TLS == "none" && c.Password != "" {
			add("config.tls", "must not be none when there is a password")
		}
		if _, err := mail.ParseAddress(c.From); err != nil {
			add("config.from", "must be an address, such as perigee@example.com")
		}
		if len(c.To) == 0 || len(c.To) > 50 {
			add("config.to", "must be 1 to 50 addresses")
		}
		for i, to := range c.To {
			if _, err := mail.ParseAddress(to); err != nil {
				add(fmt.Sprintf("config.to[%d]", i), "must be an address")
			}
		}
		ownReference("config.password", c.Password)
		none(map[string]bool{"url": c.URL != "", "headers": len(c.Headers) > 0, "secret": c.Secret != ""})
	case Webhook:
		u, err := url.Parse(c.URL)
		if !reference.MatchString(c.URL) && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || len(c.URL) > 2000) {
			add("config.url", "must be an http or https URL, or a reference to a secret that is one")
		} else if err == nil && u.User != nil {
			add("config.url", "must hold no password: put it into a header as a reference to a secret")
		}
		if len(c.Headers) > 20 {
			add("config.headers", "must be at most 20")
		}
		for name, v := range c.Headers {
			if !headerName.MatchString(name) || len(v) > 2000 || strings.ContainsAny(v, "\r\n") {
				add("config.headers."+name, "must be a header and its value in one line")
			}
		}
		ownReference("config.secret", c.Secret)
		none(mailOnly)
	case Shoutrrr:
		if !anyHole.MatchString(c.URL) || len(c.URL) > 2000 {
			add("config.url", "holds credentials and so must refer to a secret, such as ${{ secrets.slack }}; make it with: perigee secret set slack")
		}
		mailOnly["headers"], mailOnly["secret"] = len(c.Headers) > 0, c.Secret != ""
		none(mailOnly)
	default:
		add("type", "must be email, webhook or shoutrrr")
	}
	if len(p) == 0 {
		return nil
	}
	slices.SortFunc(p, func(a, b fault.Field) int { return strings.Compare(a.Path, b.Path) })
	return &fault.Error{Kind: fault.Invalid, Message: "the channel is not valid", Fields: p}
}

// state is a channel as an entity: whether it works, not each delivery.
func (c *Channel) state() entity.State {
	s := entity.State{"name": c.Name, "type": string(c.Type), "enabled": c.Enabled, "failing": c.FailingSince != nil, "config": c.Config, "description": c.Description}
	return s
}

// Derivers say what changes of channels mean.
func Derivers() []entity.Deriver {
	return []entity.Deriver{{
		Kind: Kind,
		Types: func(c entity.Change) []string {
			switch {
			case c.Prev == nil:
				return []string{"channel.created"}
			case c.Next == nil:
				return []string{"channel.deleted"}
			case c.Prev["failing"] == false && c.Next["failing"] == true:
				return []string{"channel.failing"}
			case c.Prev["failing"] == true && c.Next["failing"] == false:
				return []string{"channel.recovered"}
			}
			return []string{"channel.updated"}
		},
		Payload: func(c entity.Change) any {
			state := c.Next
			if state == nil {
				state = c.Prev
			}
			return map[string]any{"channelId": c.ID, "name": state["name"], "type": state["type"]}
		},
	}}
}
