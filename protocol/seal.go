package protocol

import (
	"crypto/hpke"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// Values of secrets are sealed by HPKE (RFC 9180) in its base mode, with the hybrid
// key exchange ML-KEM-768 and X25519: whoever records the traffic today, a proxy that
// ends TLS among them, cannot open it with the computers of tomorrow either. The key
// is made for the session and lives in memory only. It guards against who reads, not
// against who alters: an end of TLS that replaces the key in authenticate is an
// attacker that already holds the satellite's token.

// sealInfo binds what is sealed to its use.
const sealInfo = "perigee secrets 1"

func sealSuite() (hpke.KEM, hpke.KDF, hpke.AEAD) {
	return hpke.MLKEM768X25519(), hpke.HKDFSHA256(), hpke.ChaCha20Poly1305()
}

// SealKey is the private half of a session's key.
type SealKey struct {
	private hpke.PrivateKey
	// Public is what Hello.SealKey holds.
	Public string
}

// NewSealKey makes a key for a session.
func NewSealKey() (*SealKey, error) {
	kem, _, _ := sealSuite()
	private, err := kem.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("making a key for the session's secrets: %w", err)
	}
	return &SealKey{private: private, Public: base64.StdEncoding.EncodeToString(private.PublicKey().Bytes())}, nil
}

// Seal seals v, as JSON, to the public key, for the answer to one request.
func Seal(public, requestID string, v any) (string, error) {
	kem, kdf, aead := sealSuite()
	raw, err := base64.StdEncoding.DecodeString(public)
	if err != nil {
		return "", errors.New("the satellite's key for secrets cannot be read")
	}
	key, err := kem.NewPublicKey(raw)
	if err != nil {
		return "", errors.New("the satellite's key for secrets cannot be used")
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encoding secrets: %w", err)
	}
	sealed, err := hpke.Seal(key, kdf, aead, []byte(sealInfo+"|"+requestID), text)
	if err != nil {
		return "", fmt.Errorf("sealing secrets: %w", err)
	}
	return base64.StdEncoding.EncodeToString(sealed), nil
}

// Unseal opens what was sealed to the key in answer to the request, into v.
func (k *SealKey) Unseal(sealed, requestID string, v any) error {
	_, kdf, aead := sealSuite()
	raw, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		return errors.New("sealed secrets cannot be read")
	}
	text, err := hpke.Open(k.private, kdf, aead, []byte(sealInfo+"|"+requestID), raw)
	if err != nil {
		return errors.New("sealed secrets cannot be opened: they were sealed to another key or for another request")
	}
	if err := json.Unmarshal(text, v); err != nil {
		return errors.New("sealed secrets are not what was asked for") // the error of the decoder would quote them
	}
	return nil
}
