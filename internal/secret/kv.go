package secret

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// KV fetches values from HashiCorp Vault or OpenBao: the KV secrets engine, version
// 2, read with one GET. A client library would bring seventeen modules for it.
type KV struct {
	// Address of the server, https://vault.example.org:8200.
	Address string
	// Token gives the token of each request, so that one that is renewed in a file is
	// followed.
	Token func() (string, error)
	// Mount of the engine; "secret" when empty.
	Mount string
	// Namespace of Vault Enterprise and OpenBao; may be empty.
	Namespace string
	Client    *http.Client
}

const (
	kvTimeout = 5 * time.Second
	maxKV     = 1 << 20
)

// Fetch gives the value at path#field.
func (kv *KV) Fetch(ctx context.Context, place string) (string, error) {
	path, field, ok := strings.Cut(place, "#")
	if !ok {
		return "", fault.New(fault.Invalid, "%q is not of the form path#field", place)
	}
	mount := kv.Mount
	if mount == "" {
		mount = "secret"
	}
	token, err := kv.Token()
	if err != nil {
		return "", fault.Wrap(fault.Unavailable, err, "the token for the vault cannot be read")
	}
	ctx, cancel := context.WithTimeout(ctx, kvTimeout)
	defer cancel()
	target := strings.TrimRight(kv.Address, "/") + "/v1/" + escaped(mount) + "/data/" + escaped(path)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return "", fault.Wrap(fault.Invalid, err, "the vault's address is not a URL")
	}
	req.Header.Set("X-Vault-Token", token)
	req.Header.Set("X-Vault-Request", "true")
	if kv.Namespace != "" {
		req.Header.Set("X-Vault-Namespace", kv.Namespace)
	}
	resp, err := kv.Client.Do(req)
	if err != nil {
		return "", fault.Wrap(fault.Unavailable, err, "the vault does not answer")
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxKV))
	if err != nil {
		return "", fault.Wrap(fault.Unavailable, err, "the vault's answer broke off")
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return "", fault.New(fault.NotFound, "the vault has nothing at %s", path)
	case http.StatusForbidden:
		return "", fault.New(fault.Unavailable, "the vault refuses this core's token at %s", path)
	default:
		return "", fault.New(fault.Unavailable, "the vault answers %d at %s", resp.StatusCode, path)
	}
	var answer struct {
		Data struct {
			Data map[string]any `json:"data"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", fault.New(fault.Unavailable, "the vault's answer is not the documented JSON")
	}
	switch v := answer.Data.Data[field].(type) {
	case string:
		return v, nil
	case nil:
		return "", fault.New(fault.NotFound, "the vault has no field %s at %s", field, path)
	default:
		return fmt.Sprint(v), nil
	}
}

func escaped(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}
