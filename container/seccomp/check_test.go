package seccomp

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// checkProgram holds a program to the kernel's rules: bpf_check_classic of net/core/filter.c and
// seccomp_check_filter of kernel/seccomp.c. Of the instructions that these let pass it knows those of Compile.
func checkProgram(program []unix.SockFilter) error {
	if len(program) == 0 || len(program) > MaxInstructions {
		return fmt.Errorf("%d instructions", len(program))
	}
	for pc, i := range program {
		inside := func(jump uint64) bool { return jump < uint64(len(program)-pc-1) }
		ok := false
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			ok = i.K < 64 && i.K%4 == 0
		case unix.BPF_RET | unix.BPF_K, unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			ok = true
		case unix.BPF_JMP | unix.BPF_JA:
			ok = inside(uint64(i.K))
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K,
			unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			ok = inside(uint64(i.Jt)) && inside(uint64(i.Jf))
		}
		if !ok {
			return fmt.Errorf("instruction %d of %d: %+v", pc, len(program), i)
		}
	}
	if last := program[len(program)-1]; last.Code != unix.BPF_RET|unix.BPF_K {
		return fmt.Errorf("the last instruction is %+v", last)
	}
	return nil
}

// alwaysAllowed is seccomp_is_const_allow of kernel/seccomp.c: it tells whether the kernel sees from a program, without
// a call's arguments, that the call is allowed. It then puts the number into a bitmap, and runs the program no more.
func alwaysAllowed(program []unix.SockFilter, nr, arch uint32) bool {
	var a uint32
	for pc := 0; pc < len(program); pc++ {
		i := &program[pc]
		var taken bool
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			switch i.K {
			case wordNR:
				a = nr
			case wordArch:
				a = arch
			default:
				return false
			}
			continue
		case unix.BPF_RET | unix.BPF_K:
			return i.K == unix.SECCOMP_RET_ALLOW
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(i.K)
			continue
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= i.K
			continue
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			taken = a == i.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			taken = a >= i.K
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			taken = a > i.K
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			taken = a&i.K != 0
		default:
			return false
		}
		if taken {
			pc += int(i.Jt)
		} else {
			pc += int(i.Jf)
		}
	}
	return false
}
