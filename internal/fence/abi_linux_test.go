//go:build amd64

package fence_test

import (
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/fence"
)

// x32 marks a system call of that ABI (asm/unistd.h), which has numbers of its own.
const x32 = 0x40000000

// Programs that call the system by another ABI, of which the same numbers mean something
// else, end there, whatever they ask for.
func TestSystemCallsByAnotherABI(t *testing.T) {
	t.Parallel()
	exit := func(code byte) []byte { return []byte{0xb8, 60, 0, 0, 0, 0xbf, code, 0, 0, 0, 0x0f, 0x05} } // exit(code)
	number := binary.LittleEndian.AppendUint32([]byte{0xb8}, x32|39)                                     // getpid of x32
	for name, c := range map[string]struct {
		call []byte
		ends string
	}{
		"its own": {[]byte{0xb8, 39, 0, 0, 0, 0x0f, 0x05}, "ended with 7\n"},
		"i386":    {[]byte{0xb8, 20, 0, 0, 0, 0xcd, 0x80}, "ended with 159\n"}, // int 0x80; 128 and SIGSYS
		"x32":     {append(number, 0x0f, 0x05), "ended with 159\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := scratch(t)
			program := filepath.Join(dir, "program")
			if err := os.WriteFile(program, executable(append(c.call, exit(7)...)), 0o755); err != nil { //nolint:gosec // it is run
				t.Fatal(err)
			}
			if err := exec.Command(program).Run(); err == nil || err.Error() != "exit status 7" {
				t.Fatalf("without a fence it ends with %v, so that nothing is shown", err)
			}
			got, err := shell(t, strict(), fence.Place{Scratch: dir}, "./program; echo ended with $?")
			if err != nil || !strings.HasSuffix(got, c.ends) {
				t.Errorf("%q, want %q (%v)", got, c.ends, err)
			}
		})
	}
}

// executable is a program of nothing but these instructions.
func executable(code []byte) []byte {
	const at, head = 0x400000, 64 + 56
	size := uint64(head + len(code))
	var file []byte
	for _, part := range []any{
		elf.Header64{
			Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
			Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
			Entry: at + head, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
		},
		elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: at, Paddr: at, Filesz: size, Memsz: size, Align: 0x1000},
	} {
		file, _ = binary.Append(file, binary.LittleEndian, part) // of fixed size
	}
	return append(file, code...)
}
