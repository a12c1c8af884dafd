package seccomp

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

// peer is libseccomp, in a process of its own.
type peer struct {
	t      testing.TB
	in     io.WriteCloser
	out    *bufio.Reader
	number map[[2]string]int
}

func startPeer(t testing.TB) *peer {
	t.Helper()
	testenv.Need(t, testenv.GCC, testenv.LibSeccomp)
	path := filepath.Join(t.TempDir(), "peer")
	gcc := exec.Command("gcc", "-Wall", "-Werror", "-O1", "-o", path, "testdata/peer.c", "-lseccomp")
	if out, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	cmd := exec.Command(path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errors strings.Builder
	cmd.Stderr = &errors
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil || errors.Len() > 0 {
			t.Errorf("peer: %v\n%s", err, errors.String())
		}
	})
	return &peer{t, in, bufio.NewReader(out), make(map[[2]string]int)}
}

func (p *peer) say(format string, args ...any) {
	if _, err := fmt.Fprintf(p.in, format+"\n", args...); err != nil {
		p.t.Fatalf("peer: %v", err)
	}
}

// resolve returns a call's number for an architecture as libseccomp names it, -1 if it has none.
func (p *peer) resolve(arch, name string) int {
	key := [2]string{arch, name}
	if nr, ok := p.number[key]; ok {
		return nr
	}
	p.say("number %s %s", arch, name)
	nr := 0
	if _, err := fmt.Fscanln(p.out, &nr); err != nil {
		p.t.Fatalf("peer: %v", err)
	}
	p.number[key] = nr
	return nr
}

// knows tells whether libseccomp has heard of a name at all. It is often older than the table here.
func (p *peer) knows(name string) bool {
	for _, arch := range peerArchs {
		if p.resolve(arch, name) >= 0 {
			return true
		}
	}
	return name == "send" || name == "recv"
}

// known returns the profile without the names that libseccomp does not know.
func (p *peer) known(spec *specs.LinuxSeccomp) *specs.LinuxSeccomp {
	result := *spec
	result.Syscalls = nil
	for _, entry := range spec.Syscalls {
		entry.Names = slices.DeleteFunc(slices.Clone(entry.Names), func(name string) bool { return !p.knows(name) })
		if len(entry.Names) > 0 {
			result.Syscalls = append(result.Syscalls, entry)
		}
	}
	return &result
}

var peerArchs = map[specs.Arch]string{specs.ArchX86_64: "x86_64", specs.ArchX86: "x86", specs.ArchX32: "x32"}

// program has libseccomp compile a profile in the way of runc and crun. The error is libseccomp's, which refuses some
// sets of rules that want different things.
func (p *peer) program(spec *specs.LinuxSeccomp, optimize int) ([]unix.SockFilter, error) {
	value := func(errnoRet *uint) uint {
		if errnoRet == nil {
			return uint(unix.EPERM)
		}
		return *errnoRet
	}
	takesErrno := func(a specs.LinuxSeccompAction) bool { return a == specs.ActErrno || a == specs.ActTrace }
	p.say("init %s %d", spec.DefaultAction, value(spec.DefaultErrnoRet))
	for _, arch := range spec.Architectures {
		p.say("arch %s", peerArchs[arch])
	}
	p.say("optimize %d", optimize)
	for _, entry := range spec.Syscalls {
		sameErrno := !takesErrno(entry.Action) || value(entry.ErrnoRet) == value(spec.DefaultErrnoRet)
		if entry.Action == spec.DefaultAction && sameErrno {
			continue
		}
		var count [6]int
		twice := false
		for _, arg := range entry.Args {
			count[arg.Index]++
			twice = twice || count[arg.Index] > 1
		}
		for _, name := range entry.Names {
			head := fmt.Sprintf("rule %s %d %s", entry.Action, value(entry.ErrnoRet), name)
			line := head
			for _, arg := range entry.Args {
				condition := fmt.Sprintf(" %d %s %d %d", arg.Index, arg.Op, arg.Value, arg.ValueTwo)
				if twice {
					p.say("%s%s", head, condition)
				}
				line += condition
			}
			if !twice {
				p.say("%s", line)
			}
		}
	}
	p.say("end")
	var head [2]int32
	if err := binary.Read(p.out, binary.NativeEndian, &head); err != nil {
		p.t.Fatalf("peer: %v", err)
	}
	program := make([]unix.SockFilter, head[1]/8)
	if err := binary.Read(p.out, binary.NativeEndian, program); err != nil {
		p.t.Fatalf("peer: %v", err)
	}
	if head[0] != 0 {
		return nil, syscall.Errno(-head[0])
	}
	return program, nil
}
