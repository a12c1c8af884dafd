package seccomp

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

func TestSyscallTable(t *testing.T) {
	if !slices.IsSortedFunc(syscallTable[:], func(a, b syscallEntry) int { return strings.Compare(a.name, b.name) }) {
		t.Error("the table is not sorted")
	}
	for _, test := range []struct {
		name   string
		number [abis]int16
	}{
		{"read", [abis]int16{unix.SYS_READ, 3, 0}},
		{"openat2", [abis]int16{unix.SYS_OPENAT2, 437, 437}},
		{"rt_sigaction", [abis]int16{13, 174, 512}},
		{"pwritev2", [abis]int16{328, 379, 547}},
		{"mmap2", [abis]int16{-1, 192, -1}},
		{"set_thread_area", [abis]int16{205, 243, -1}}, // not in x32
		{"_llseek", [abis]int16{-1, 140, -1}},
	} {
		if e := findSyscall(test.name); e == nil || e.number != test.number {
			t.Errorf("%s: %+v, want %v", test.name, e, test.number)
		}
	}
	for _, name := range []string{"", "a", "zzz", "READ", "read "} {
		if e := findSyscall(name); e != nil {
			t.Errorf("%q: %+v", name, e)
		}
	}
	for i := range syscallTable {
		e := &syscallTable[i]
		if findSyscall(e.name) != e {
			t.Errorf("%s is not found", e.name)
		}
		for a := range abi(abis) {
			nr, ok := e.nr(a)
			if name, found := syscallName(a, nr); ok && (!found || name != e.name) {
				t.Errorf("%s %d is %s, want %s", a, nr, name, e.name)
			}
			if ok && a != x32 && e.number[a] >= x32First {
				t.Errorf("%s: %s has a number of x32's own, %d", e.name, a, e.number[a])
			}
		}
	}
}

// TestSyscallTableIsCurrent generates it anew.
func TestSyscallTableIsCurrent(t *testing.T) {
	testenv.Need(t, testenv.GoToolchain, testenv.LinuxUAPI)
	want, err := os.ReadFile("syscalls_table.go")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "run", "generate.go", "-o", "-")
	var errors bytes.Buffer
	cmd.Stderr = &errors
	got, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, errors.String())
	}
	if !bytes.Equal(got, want) {
		t.Error("syscalls_table.go is not what golang.org/x/sys and the kernel's headers say: go generate")
	}
}
