package conformance

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// pack is a script package as the wire has it.
type pack struct {
	entry     string // in the manifest
	integrity string
	data      []byte
}

// packed makes the blob of a package, with what there is in it in dir (N.2).
func packed(name, version, dir string) pack {
	var blob bytes.Buffer
	zipped := gzip.NewWriter(&blob)
	archive := tar.NewWriter(zipped)
	for file, text := range map[string]string{
		"package.json": fmt.Sprintf(`{"name":%q,"version":%q,"main":"index.js"}`, name, version),
		"index.js":     "module.exports = () => 1\n",
	} {
		_ = archive.WriteHeader(&tar.Header{Name: dir + file, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}) // into memory
		_, _ = archive.Write([]byte(text))
	}
	_ = archive.Close()
	_ = zipped.Close()
	sum := sha256.Sum256(blob.Bytes())
	p := pack{integrity: "sha512-" + base64.StdEncoding.EncodeToString(bytes.Repeat(sum[:], 2)), data: blob.Bytes()}
	p.entry = fmt.Sprintf(`{"name":%q,"version":%q,"integrity":%q,"blobSha256":%q}`, name, version, p.integrity, hex.EncodeToString(sum[:]))
	return p
}

// hashOf is a lockfile hash, as JSON.
func hashOf(name string) string { return fmt.Sprintf("%q", plainHashOf(name)) }

func plainHashOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

func (s *session) refresh(name string) error {
	return s.send(`{"type":"refresh_script_packages","lockfileHash":%s}`, hashOf(name))
}

func (s *session) manifest(hash string, p pack) error {
	return s.send(`{"type":"script_package_manifest","lockfileHash":%q,"entries":[%s]}`, hash, p.entry)
}

// blob answers with the bytes, null for nil.
func (s *session) blob(integrity string, data []byte) error {
	if data == nil {
		return s.send(`{"type":"script_package_blob","integrity":%q,"data":null}`, integrity)
	}
	return s.send(`{"type":"script_package_blob","integrity":%q,"data":%q}`, integrity, base64.StdEncoding.EncodeToString(data))
}

// sync answers for packages until the agent says how it went (G.6): syncing first, and
// then the status, with a message that has the words in it if it is an error.
func (s *session) sync(name string, p pack, data []byte, status, words string) error {
	m, err := s.next("script_package_sync_state")
	if err != nil {
		return err
	}
	if m.text("lockfileHash") != plainHashOf(name) || m.text("status") != "syncing" {
		return fmt.Errorf("first it reports %v, want syncing, and the hash", m)
	}
	if m, err = s.next("request_script_package_manifest"); err != nil {
		return err
	}
	if m.text("lockfileHash") != plainHashOf(name) {
		return fmt.Errorf("it asks for the manifest of %q, want %q", m.text("lockfileHash"), plainHashOf(name))
	}
	if err := s.manifest(plainHashOf(name), p); err != nil {
		return err
	}
	if m, err = s.next("request_script_package_blob"); err != nil {
		return err
	}
	if m.text("integrity") != p.integrity {
		return fmt.Errorf("it asks for the blob %q, want %q", m.text("integrity"), p.integrity)
	}
	if err := s.blob(p.integrity, data); err != nil {
		return err
	}
	if m, err = s.next("script_package_sync_state"); err != nil {
		return err
	}
	if m.text("lockfileHash") != plainHashOf(name) || m.text("status") != status || !strings.Contains(m.text("errorMessage"), words) {
		return fmt.Errorf("it reports %v, want %s of the hash %s", m, status, words)
	}
	if status == "error" && m.text("errorMessage") == "" {
		return errors.New("the error has no message")
	}
	return nil
}

// latest asks for three trees in a row, and expects that the last one is what is ready
// in the end.
func latest(c *core, s *session) error {
	p := packed("left-pad", "1.3.0", "left-pad@1.3.0@@@1/")
	for _, name := range []string{"first", "second", "third"} {
		if err := s.refresh(name); err != nil {
			return err
		}
	}
	deadline, last := time.After(c.Patience), message{}
	for {
		select {
		case m, ok := <-s.in:
			if !ok {
				return errors.New("the connection ended")
			}
			var err error
			switch m.kind() {
			case "request_script_package_manifest":
				err = s.manifest(m.text("lockfileHash"), p)
			case "request_script_package_blob":
				err = s.blob(m.text("integrity"), p.data)
			case "script_package_sync_state":
				if last = m; m.text("status") == "ready" && m.text("lockfileHash") == plainHashOf("third") {
					deadline = time.After(c.Quiet)
				}
			}
			if err != nil {
				return err
			}
		case <-deadline:
			if last.text("status") != "ready" || last.text("lockfileHash") != plainHashOf("third") {
				return fmt.Errorf("the last report is %v, want ready, and the hash that was asked for last", last)
			}
			return nil
		}
	}
}

func cutSync(c *core, s *session) error {
	if _, err := s.next("request_script_package_manifest"); err != nil {
		return err
	}
	s.cut()
	s, err := c.accept()
	if err != nil {
		return err
	}
	if err := s.welcome(hashOf("m22")); err != nil {
		return err
	}
	p := packed("left-pad", "1.3.0", "left-pad@1.3.0@@@1/")
	return s.sync("m22", p, p.data, "ready", "")
}
