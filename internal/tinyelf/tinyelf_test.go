package tinyelf

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// exit7 is mov edi, 7; mov eax, SYS_exit_group; syscall.
var exit7 = []byte{0xbf, 7, 0, 0, 0, 0xb8, 231, 0, 0, 0, 0x0f, 0x05}

func TestImage(t *testing.T) {
	f, err := elf.NewFile(bytes.NewReader(Image(exit7, Memory{})))
	if err != nil {
		t.Fatal(err)
	}
	if f.Type != elf.ET_EXEC || f.Machine != elf.EM_X86_64 || f.Entry != Entry || len(f.Progs) != 3 {
		t.Errorf("header %+v with %d segments", f.FileHeader, len(f.Progs))
	}
	code, stack := f.Progs[0], f.Progs[2]
	if code.Type != elf.PT_LOAD || code.Flags != elf.PF_R|elf.PF_X || code.Filesz != headers+uint64(len(exit7)) {
		t.Errorf("code %+v", code.ProgHeader)
	}
	if stack.Type != elf.PT_GNU_STACK || stack.Flags != elf.PF_R|elf.PF_W {
		t.Errorf("stack %+v", stack.ProgHeader)
	}
}

func TestCreate(t *testing.T) {
	fd, err := Create("seven", exit7, Memory{})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	err = exec.Command(fmt.Sprintf("/proc/%d/fd/%d", unix.Getpid(), fd)).Run()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("it ended with %v, want status 7", err)
	}
	if _, err := unix.Pwrite(fd, []byte{0}, 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("write to it: %v, want EPERM", err)
	}
}
