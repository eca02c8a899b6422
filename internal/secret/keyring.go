package secret

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// RootSize is the length of the root key in bytes.
const RootSize = 32

// keyring opens and makes the keyset. The root key seals nothing but the keyset.
type keyring struct {
	root tink.AEAD
	old  tink.AEAD // opens what root does not; nil for none

	mu   sync.Mutex
	text string // of the keyset that is held
	held *keys
}

func newKeyring(root, old []byte) (*keyring, error) {
	r := &keyring{}
	var err error
	if r.root, err = rootCipher(root); err != nil {
		return nil, err
	}
	if old != nil {
		r.old, err = rootCipher(old)
	}
	return r, err
}

func rootCipher(root []byte) (tink.AEAD, error) {
	if len(root) != RootSize {
		return nil, fault.New(fault.Invalid, "the root key of secrets has %d bytes, and must have %d", len(root), RootSize)
	}
	key, err := hkdf.Key(sha256.New, root, nil, "perigee keyset 1", 32)
	if err != nil {
		return nil, fmt.Errorf("deriving the keyset's key: %w", err)
	}
	sealer, err := subtle.NewAESGCM(key)
	if err != nil {
		return nil, fmt.Errorf("making the keyset's cipher: %w", err)
	}
	return sealer, nil
}

// keys are a keyset in use: the primary key seals, all of them open.
type keys struct {
	handle  *keyset.Handle
	kek     tink.AEAD
	sealing tink.AEAD
}

func newKeys(handle *keyset.Handle) (*keys, error) {
	kek, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("using the keyset: %w", err)
	}
	return &keys{handle: handle, kek: kek, sealing: aead.NewKMSEnvelopeAEAD2(aead.AES256GCMKeyTemplate(), kek)}, nil
}

// id names the primary key.
func (k *keys) id() string {
	return strconv.FormatUint(uint64(k.handle.KeysetInfo().GetPrimaryKeyId()), 10)
}

// bound ties a sealed value to its place, so that one moved elsewhere does not open.
func bound(id string, version int64) []byte {
	return fmt.Appendf(nil, "secret/v1|%s|%d", id, version)
}

func (k *keys) seal(id string, version int64, value string) (sealed, keyID string, err error) {
	text, err := k.sealing.Encrypt([]byte(value), bound(id, version))
	if err != nil {
		return "", "", fmt.Errorf("sealing a secret: %w", err)
	}
	return base64.StdEncoding.EncodeToString(text), k.id(), nil
}

func (k *keys) open(id string, version int64, sealed string) (string, error) {
	text, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		return "", errors.New("a sealed secret is not base64")
	}
	value, err := k.sealing.Decrypt(text, bound(id, version))
	if err != nil {
		return "", errors.New("a sealed secret cannot be opened: its row was altered, or its key is gone")
	}
	return string(value), nil
}

// successor is a keyset with one new key.
func (k *keys) successor() (*keys, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return newKeys(handle)
}

// rewrap seals the data key of a sealed value by the primary key of next. An
// envelope begins with the length of its sealed data key, four bytes, and that.
func rewrap(old, next *keys, sealed string) (string, error) {
	if sealed == "" {
		return "", nil
	}
	text, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil || len(text) < 4 {
		return "", errors.New("it is not a sealed value")
	}
	size := binary.BigEndian.Uint32(text)
	if uint64(len(text)) < 4+uint64(size) {
		return "", errors.New("it is cut")
	}
	data, err := old.kek.Decrypt(text[4:4+size], []byte{})
	if err != nil {
		return "", errors.New("its data key cannot be opened")
	}
	again, err := next.kek.Encrypt(data, []byte{})
	if err != nil {
		return "", err
	}
	out := binary.BigEndian.AppendUint32(nil, uint32(len(again)))
	out = append(append(out, again...), text[4+size:]...)
	return base64.StdEncoding.EncodeToString(out), nil
}

// wrap seals the keyset by the root key.
func (r *keyring) wrap(k *keys) (string, error) {
	var text bytes.Buffer
	if err := k.handle.Write(keyset.NewBinaryWriter(&text), r.root); err != nil {
		return "", fmt.Errorf("sealing the keyset: %w", err)
	}
	return base64.StdEncoding.EncodeToString(text.Bytes()), nil
}

// unwrap opens a keyset, or gives the one that is held when it is that.
func (r *keyring) unwrap(wrapped string) (*keys, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held != nil && r.text == wrapped {
		return r.held, nil
	}
	text, err := base64.StdEncoding.DecodeString(wrapped)
	if err != nil {
		return nil, fault.New(fault.Internal, "the keyset of secrets is not base64")
	}
	handle, err := keyset.Read(keyset.NewBinaryReader(bytes.NewReader(text)), r.root)
	if err != nil && r.old != nil {
		handle, err = keyset.Read(keyset.NewBinaryReader(bytes.NewReader(text)), r.old)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "this core's root key does not open the secrets of its database; give it the key that they were made with (--secret-key-file)")
	}
	held, err := newKeys(handle)
	if err != nil {
		return nil, err
	}
	r.text, r.held = wrapped, held
	return held, nil
}

// forWriting gives the keys, and makes them when there are none yet. LockSecrets
// has been called.
func (r *keyring) forWriting(ctx context.Context, tx Tx) (*keys, error) {
	wrapped, err := tx.SecretKeysetForUpdate(ctx)
	if err != nil {
		return nil, err
	}
	if wrapped != "" {
		return r.unwrap(wrapped)
	}
	made, err := (*keys)(nil).successor()
	if err != nil {
		return nil, err
	}
	if wrapped, err = r.wrap(made); err != nil {
		return nil, err
	}
	return made, tx.PutSecretKeyset(ctx, wrapped)
}

// Check reports whether the root key opens the keyset, if there is one.
func (s *Service) Check(ctx context.Context) error {
	wrapped, err := s.Store.SecretKeyset(ctx)
	if err != nil || wrapped == "" {
		return err
	}
	_, err = s.keys.unwrap(wrapped)
	return err
}
