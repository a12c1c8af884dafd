package seccomp

import (
	"bufio"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// WriteText prints the program, one instruction a line, with the names of architectures, system calls, arguments and
// actions:
//
//	0  ld    arch
//	1  jeq   x86_64, 2, 117
//	2  ld    nr
//	3  jge   184 (tuxcall), 60, 4
//
// The two numbers of a test are where it goes on if it holds and if not.
func (f *Filter) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	known := follow(f.Program)
	for pc, i := range f.Program {
		fmt.Fprintf(b, "%4d  %s\n", pc, instructionText(pc, i, known[pc]))
	}
	return b.Flush()
}

// state is what is known before an instruction on every way that leads to it.
type state struct {
	reached bool
	word    int64 // the offset of the word that is in the accumulator, -1 if several may be
	arch    int64 // the architecture, -1 if several may be
}

// follow finds the states. Jumps go forward, so one pass will do.
func follow(program []unix.SockFilter) []state {
	known := make([]state, len(program)+1)
	known[0] = state{true, -1, -1}
	join := func(to uint64, s state) {
		if to >= uint64(len(known)) {
			return
		}
		old := &known[to]
		if !old.reached {
			*old = s
			return
		}
		if old.word != s.word {
			old.word = -1
		}
		if old.arch != s.arch {
			old.arch = -1
		}
	}
	for pc, i := range program {
		s, next := known[pc], uint64(pc)+1
		if !s.reached {
			continue
		}
		switch i.Code & 7 { // BPF_CLASS
		case unix.BPF_LD:
			s.word = -1
			if i.Code == unix.BPF_LD|unix.BPF_W|unix.BPF_ABS {
				s.word = int64(i.K)
			}
			join(next, s)
		case unix.BPF_RET:
		case unix.BPF_JMP:
			if i.Code == unix.BPF_JMP|unix.BPF_JA {
				join(next+uint64(i.K), s)
				continue
			}
			join(next+uint64(i.Jf), s)
			if s.word == wordArch && i.Code == unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K {
				s.arch = int64(i.K)
			}
			join(next+uint64(i.Jt), s)
		default:
			join(next, s)
		}
	}
	return known
}

func instructionText(pc int, i unix.SockFilter, s state) string {
	test := func(name string) string {
		return fmt.Sprintf("%-5s %s, %d, %d", name, valueText(i.K, s), pc+1+int(i.Jt), pc+1+int(i.Jf))
	}
	switch i.Code {
	case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
		return "ld    " + wordText(i.K)
	case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
		return fmt.Sprintf("and   %#x", i.K)
	case unix.BPF_RET | unix.BPF_K:
		return "ret   " + Action(i.K).String()
	case unix.BPF_JMP | unix.BPF_JA:
		return fmt.Sprintf("ja    %d", uint64(pc)+1+uint64(i.K))
	case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
		return test("jeq")
	case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
		return test("jgt")
	case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
		return test("jge")
	case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
		return fmt.Sprintf("jset  %#x, %d, %d", i.K, pc+1+int(i.Jt), pc+1+int(i.Jf))
	}
	return fmt.Sprintf("?     %#x, %#x, %d, %d", i.Code, i.K, pc+1+int(i.Jt), pc+1+int(i.Jf))
}

// wordText names a word of struct seccomp_data.
func wordText(offset uint32) string {
	half := [...]string{"lower half", "upper half"}[offset/4%2]
	switch {
	case offset == wordNR:
		return "nr"
	case offset == wordArch:
		return "arch"
	case offset < lowerWord(0):
		return "instruction_pointer, " + half
	default:
		return fmt.Sprintf("args[%d], %s", (offset-lowerWord(0))/8, half)
	}
}

// valueText names what a word is compared with.
func valueText(value uint32, s state) string {
	switch {
	case s.word == wordArch && value == ArchX86_64:
		return "x86_64"
	case s.word == wordArch && value == ArchI386:
		return "i386"
	case s.word != wordNR:
		return fmt.Sprintf("%#x", value)
	}
	a := x86_64
	switch {
	case s.arch == ArchI386:
		a = i386
	case s.arch != ArchX86_64:
		return fmt.Sprint(int32(value))
	case value == x32Bit:
		return "0x40000000 (x32)" // where it begins, rather than its first call
	case value > x32Bit && value != noSyscall:
		a = x32
	}
	number := fmt.Sprint(int32(value))
	if a == x32 {
		number = fmt.Sprintf("x32 %d", value&^x32Bit)
	}
	if name, ok := syscallName(a, value); ok {
		return fmt.Sprintf("%s (%s)", number, name)
	}
	return number
}
