package seccomp

import (
	"golang.org/x/sys/unix"
)

// Data is struct seccomp_data of linux/seccomp.h: what a program sees of a system call.
type Data struct {
	NR                 int32  // the number, with bit 30 set for x32
	Arch               uint32 // AUDIT_ARCH_* of linux/audit.h
	InstructionPointer uint64
	Args               [arguments]uint64
}

// load reads the word at an offset, as the program's load instruction does.
func (d *Data) load(offset uint32) (uint32, bool) {
	word := func(v uint64) uint32 { return uint32(v >> (offset % 8 * 8)) }
	switch {
	case offset%4 != 0 || offset >= dataSize:
		return 0, false
	case offset == wordNR:
		return uint32(d.NR), true
	case offset == wordArch:
		return d.Arch, true
	case offset < lowerWord(0):
		return word(d.InstructionPointer), true
	default:
		return word(d.Args[(offset-lowerWord(0))/8]), true
	}
}

// Evaluate runs the program over a system call, as the kernel does, and returns its verdict.
func (f *Filter) Evaluate(d Data) Action {
	action, _ := Run(f.Program, &d)
	return action
}

// Run is Evaluate for any program, and tells how many instructions it took. It knows what Compile and libseccomp make
// programs of. At anything else it ends with SECCOMP_RET_KILL_PROCESS, as at a jump out of the program.
func Run(program []unix.SockFilter, d *Data) (action Action, instructions int) {
	var a uint32
	for pc := 0; pc < len(program); pc++ {
		instructions++
		i := &program[pc]
		taken, jump := false, false
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			word, ok := d.load(i.K)
			if !ok {
				return unix.SECCOMP_RET_KILL_PROCESS, instructions
			}
			a = word
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= i.K
		case unix.BPF_RET | unix.BPF_K:
			return Action(i.K), instructions
		case unix.BPF_JMP | unix.BPF_JA:
			if uint64(i.K) >= uint64(len(program)) {
				return unix.SECCOMP_RET_KILL_PROCESS, instructions
			}
			pc += int(i.K)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			taken, jump = a == i.K, true
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			taken, jump = a > i.K, true
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			taken, jump = a >= i.K, true
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			taken, jump = a&i.K != 0, true
		default:
			return unix.SECCOMP_RET_KILL_PROCESS, instructions
		}
		switch {
		case jump && taken:
			pc += int(i.Jt)
		case jump:
			pc += int(i.Jf)
		}
	}
	return unix.SECCOMP_RET_KILL_PROCESS, instructions
}
