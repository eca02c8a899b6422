package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/wneessen/go-mail"

	"github.com/perigee-monitoring/perigee/internal/redact"
)

// send sends one message; its error holds no secret.
func (s *Service) send(ctx context.Context, c *Channel, m Message) error {
	config, redactor, err := s.filled(ctx, c.Config)
	if err != nil {
		return err
	}
	switch c.Type {
	case Email:
		err = sendMail(ctx, &config, m)
	case Webhook:
		err = s.sendWebhook(ctx, &config, m)
	case Shoutrrr:
		redactor = redact.New(append(pieces(config.URL), config.URL)...)
		err = s.sendByLibrary(config.URL, m)
	default:
		err = fmt.Errorf("this version knows no channels of type %q", c.Type)
	}
	if err != nil {
		return errors.New(redactor.String(err.Error()))
	}
	return nil
}

// filled is the configuration with the values of secrets in place.
func (s *Service) filled(ctx context.Context, c Config) (Config, *redact.Redactor, error) {
	names := slices.Sorted(maps.Keys(c.Headers))
	texts := []string{c.Password, c.URL, c.Secret}
	for _, name := range names {
		texts = append(texts, c.Headers[name])
	}
	values, redactor, err := s.secrets.Fill(ctx, texts...)
	if err != nil {
		return c, nil, err
	}
	c.Password, c.URL, c.Secret = values[0], values[1], values[2]
	c.Headers = maps.Clone(c.Headers)
	for i, name := range names {
		c.Headers[name] = values[3+i]
	}
	return c, redactor, nil
}

func sendMail(ctx context.Context, c *Config, m Message) error {
	host, port, err := net.SplitHostPort(c.Server)
	if err != nil {
		return fmt.Errorf("the server of the channel is not host:port: %w", err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("the server of the channel has no port: %w", err)
	}
	options := []mail.Option{mail.WithPort(number), mail.WithTimeout(sendTimeout)}
	switch c.TLS {
	case "tls":
		options = append(options, mail.WithSSL())
	case "none":
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	default:
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if c.Username != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(c.Username), mail.WithPassword(c.Password))
	}
	client, err := mail.NewClient(host, options...)
	if err != nil {
		return err
	}
	msg := mail.NewMsg()
	if err := errors.Join(msg.From(c.From), msg.To(c.To...)); err != nil {
		return err
	}
	msg.Subject(subject(m))
	msg.SetDate()
	// The same message has the same id, so that a reader shows a repeat once.
	sum := sha256.Sum256([]byte(m.Key))
	msg.SetMessageIDWithValue(hex.EncodeToString(sum[:12]) + "@perigee." + cmp.Or(domain(c.From), "localhost"))
	if m.Severity == "critical" {
		msg.SetImportance(mail.ImportanceHigh)
	}
	msg.SetBodyString(mail.TypeTextPlain, plain(m))
	return client.DialAndSendWithContext(ctx, msg)
}

func domain(address string) string {
	_, after, _ := strings.Cut(address, "@")
	return strings.TrimRight(after, "> ")
}

// subject is the title in one line.
func subject(m Message) string {
	return strings.Join(strings.Fields(m.Title), " ")
}

func plain(m Message) string {
	text := cmp.Or(m.Body, m.Title)
	if m.Link != "" {
		text += "\n\n" + m.Link
	}
	return text + "\n"
}

func (s *Service) sendWebhook(ctx context.Context, c *Config, m Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", m.Key)
	for name, v := range c.Headers {
		r.Header.Set(name, v)
	}
	if c.Secret != "" {
		r.Header.Set(SignatureHeader, Sign(c.Secret, body))
	}
	response, err := s.http.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // it was read as far as it matters
	text, _ := io.ReadAll(io.LimitReader(response.Body, 300))
	if response.StatusCode >= 300 {
		err := fmt.Errorf("the webhook answered %s", response.Status)
		if why := strings.TrimSpace(string(text)); why != "" {
			err = fmt.Errorf("%w: %s", err, why)
		}
		return err
	}
	return nil
}

// SignatureHeader carries the signature of a body.
const SignatureHeader = "X-Perigee-Signature"

// Sign gives the signature of a body, "sha256=…".
func Sign(key string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}
