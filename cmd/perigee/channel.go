package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/perigee-monitoring/perigee/internal/notify"
)

// ChannelCmd is what can be done with notification channels.
type ChannelCmd struct {
	Add     ChannelAddCmd     `cmd:"" help:"Make a channel."`
	List    ChannelListCmd    `cmd:"" help:"List channels and whether they work."`
	Get     ChannelGetCmd     `cmd:"" help:"Show a channel and what was sent by it."`
	Test    ChannelTestCmd    `cmd:"" help:"Send a test message and say what became of it."`
	Enable  ChannelEnableCmd  `cmd:"" help:"Let a channel send."`
	Disable ChannelDisableCmd `cmd:"" help:"Let a channel send nothing."`
	Remove  ChannelRemoveCmd  `cmd:"" help:"Delete a channel."`
}

// ChannelAddCmd makes a channel.
type ChannelAddCmd struct {
	Name        string            `arg:"" help:"Its name, unique."`
	Type        string            `arg:"" enum:"email,webhook,shoutrrr" help:"email, webhook, or shoutrrr for Slack, Teams, Discord, Telegram and others by their URL."`
	Description string            `placeholder:"TEXT" help:"Whom it reaches."`
	Server      string            `placeholder:"HOST:PORT" help:"Of e-mail: the SMTP server."`
	TLS         string            `name:"tls" placeholder:"MODE" help:"Of e-mail: starttls (when left out), tls or none."`
	Username    string            `placeholder:"NAME" help:"Of e-mail: the account."`
	Password    string            `placeholder:"SECRET" help:"Of e-mail: the name of the secret that is its password."`
	From        string            `placeholder:"ADDRESS" help:"Of e-mail: from whom."`
	To          []string          `sep:"," placeholder:"ADDRESS" help:"Of e-mail: to whom; may be repeated."`
	URL         string            `name:"target" xor:"target" placeholder:"URL" help:"Of a webhook: where it is sent; of shoutrrr: its URL."`
	URLSecret   string            `name:"target-secret" xor:"target" placeholder:"SECRET" help:"The name of the secret that is the URL."`
	Header      map[string]string `mapsep:"none" placeholder:"NAME=VALUE" help:"Of a webhook: a header; its value may refer to a secret; may be repeated."`
	Sign        string            `placeholder:"SECRET" help:"Of a webhook: the name of the secret by which bodies are signed."`
}

// Run makes it.
func (c *ChannelAddCmd) Run(ctx context.Context, a *app) error {
	in := notify.Input{Name: c.Name, Description: c.Description, Type: notify.Type(c.Type), Config: notify.Config{
		Server: c.Server, TLS: c.TLS, Username: c.Username, Password: secretNamed(c.Password), From: c.From, To: c.To,
		URL: c.URL, Headers: c.Header, Secret: secretNamed(c.Sign),
	}}
	if c.URLSecret != "" {
		in.Config.URL = secretNamed(c.URLSecret)
	}
	var made notify.Channel
	if err := a.client.Post(ctx, "/channels", in, &made); err != nil {
		return err
	}
	return a.print(made, func(w *tabwriter.Writer) {
		fmt.Fprintf(w, "Channel %s is made. Try it with: perigee channel test %s\n", made.Name, made.Name)
	})
}

// secretNamed is the reference to a secret; "" for none.
func secretNamed(name string) string {
	if name == "" || strings.Contains(name, "${{") {
		return name
	}
	return "${{ secrets." + name + " }}"
}

// ChannelListCmd lists channels.
type ChannelListCmd struct{}

// Run lists them.
func (c *ChannelListCmd) Run(ctx context.Context, a *app) error {
	all, err := fetch[notify.Channel](ctx, a, "/channels", nil, 0)
	if err != nil {
		return err
	}
	return a.print(list[notify.Channel]{all}, func(w *tabwriter.Writer) {
		row(w, "NAME", "TYPE", "STATE", "DELIVERED", "TO", "ERROR")
		for _, ch := range all {
			delivered := "never"
			if ch.DeliveredAt != nil {
				delivered = a.ago(*ch.DeliveredAt)
			}
			row(w, ch.Name, string(ch.Type), channelState(&ch), delivered, receiver(&ch), dash(ch.LastError))
		}
	})
}

func channelState(c *notify.Channel) string {
	switch {
	case !c.Enabled:
		return "disabled"
	case c.FailingSince != nil:
		return "failing"
	}
	return "ok"
}

func receiver(c *notify.Channel) string {
	if c.Type == notify.Email {
		return strings.Join(c.Config.To, ", ")
	}
	return c.Config.URL
}

// ChannelGetCmd shows a channel.
type ChannelGetCmd struct {
	Name string `arg:"" help:"Its name or id."`
}

// channelView is a channel with its newest deliveries.
type channelView struct {
	notify.Channel
	Deliveries []notify.Delivery `json:"deliveries"`
}

// recentDeliveries is how many are shown with a channel.
const recentDeliveries = 20

// Run shows it.
func (c *ChannelGetCmd) Run(ctx context.Context, a *app) error {
	var view channelView
	if err := a.client.Get(ctx, at("/channels", c.Name), nil, &view.Channel); err != nil {
		return err
	}
	var err error
	if view.Deliveries, err = fetch[notify.Delivery](ctx, a, at("/channels", view.ID, "deliveries"), nil, recentDeliveries); err != nil {
		return err
	}
	return a.print(view, func(w *tabwriter.Writer) {
		row(w, "Name", view.Name)
		row(w, "Id", view.ID)
		row(w, "Type", string(view.Type))
		row(w, "State", channelState(&view.Channel))
		row(w, "To", receiver(&view.Channel))
		if view.FailingSince != nil {
			row(w, "Failing since", instant(*view.FailingSince))
			row(w, "Error", view.LastError)
		}
		row(w, "Description", dash(view.Description))
		if len(view.Deliveries) == 0 {
			return
		}
		row(w, "")
		row(w, "AT", "STATE", "ATTEMPTS", "TITLE", "ERROR")
		for _, d := range view.Deliveries {
			row(w, instant(d.At), string(d.State), fmt.Sprint(d.Attempts), d.Title, dash(d.Error))
		}
	})
}

// ChannelTestCmd tries a channel.
type ChannelTestCmd struct {
	Name string `arg:"" help:"Its name or id."`
}

// Run sends a message.
func (c *ChannelTestCmd) Run(ctx context.Context, a *app) error {
	var d notify.Delivery
	if err := a.client.Post(ctx, at("/channels", c.Name, "test"), nil, &d); err != nil {
		return err
	}
	err := a.print(d, func(w *tabwriter.Writer) { fmt.Fprintf(w, "%s: %s\n", c.Name, d.State) })
	if err == nil && d.State != notify.Delivered {
		return fmt.Errorf("channel %s did not take the message: %s", c.Name, d.Error)
	}
	return err
}

// ChannelEnableCmd lets a channel send.
type ChannelEnableCmd struct {
	Name string `arg:"" help:"Its name or id."`
}

// Run enables it.
func (c *ChannelEnableCmd) Run(ctx context.Context, a *app) error {
	return a.enableChannel(ctx, c.Name, true)
}

// ChannelDisableCmd lets a channel send nothing.
type ChannelDisableCmd struct {
	Name string `arg:"" help:"Its name or id."`
}

// Run disables it.
func (c *ChannelDisableCmd) Run(ctx context.Context, a *app) error {
	return a.enableChannel(ctx, c.Name, false)
}

func (a *app) enableChannel(ctx context.Context, name string, enabled bool) error {
	var ch notify.Channel
	if err := a.client.Get(ctx, at("/channels", name), nil, &ch); err != nil {
		return err
	}
	in := notify.Input{Name: ch.Name, Description: ch.Description, Enabled: &enabled, Type: ch.Type, Config: ch.Config}
	if err := a.client.Put(ctx, at("/channels", ch.ID), in, &ch); err != nil {
		return err
	}
	return a.print(ch, func(w *tabwriter.Writer) { fmt.Fprintf(w, "Channel %s: %s\n", ch.Name, channelState(&ch)) })
}

// ChannelRemoveCmd deletes a channel.
type ChannelRemoveCmd struct {
	Name string `arg:"" help:"Its name or id."`
	Yes  bool   `short:"y" help:"Do not ask."`
}

// Run deletes it.
func (c *ChannelRemoveCmd) Run(ctx context.Context, a *app) error {
	if err := a.confirm(c.Yes, fmt.Sprintf("Delete channel %s?", c.Name), fmt.Sprintf("perigee channel remove %s --yes", c.Name)); err != nil {
		return err
	}
	return a.client.Delete(ctx, at("/channels", c.Name), nil)
}
