package seccomp

import (
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// abi is one of the ways into an x86-64 kernel. Each has numbers of its own for its system calls.
type abi uint8

const (
	x86_64 abi = iota // the native one: the instruction syscall
	i386              // 32-bit programs: int 0x80 and sysenter
	x32               // 64-bit registers and 32-bit pointers: as x86_64, with bit 30 of the number set
	abis   = iota
)

// x32Bit is __X32_SYSCALL_BIT of asm/unistd.h. The kernel reports x32 as AUDIT_ARCH_X86_64, and this alone tells.
const x32Bit = 1 << 30

// noSyscall is the number -1. No call has it: a tracer sets it to have a call skipped, and the kernel then asks the
// filter once more.
const noSyscall = ^uint32(0)

// Architectures as the kernel reports them in Data.Arch.
const (
	ArchX86_64 = unix.AUDIT_ARCH_X86_64 // x32 too
	ArchI386   = unix.AUDIT_ARCH_I386
)

func (a abi) String() string { return [...]string{"x86_64", "x86", "x32"}[a] }

// wide tells whether arguments are compared as 64 bits. In the two ABIs whose longs and pointers have 32 bits the
// lower half is compared with the lower half of the rule's value, as libseccomp does: so that a rule for -1 written
// with 64 bits matches there too. (A 32-bit caller cannot set the upper half; the x32 one can.)
func (a abi) wide() bool { return a == x86_64 }

// knownArchs are those of runtime-spec that Compile makes code for.
var knownArchs = [abis]specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32}

// foreignArchs are those that no x86 kernel ever reports: a profile may list them, and needs no code for them.
var foreignArchs = []specs.Arch{
	specs.ArchARM, specs.ArchAARCH64, specs.ArchMIPS, specs.ArchMIPS64, specs.ArchMIPS64N32, specs.ArchMIPSEL,
	specs.ArchMIPSEL64, specs.ArchMIPSEL64N32, specs.ArchPPC, specs.ArchPPC64, specs.ArchPPC64LE, specs.ArchS390,
	specs.ArchS390X, specs.ArchPARISC, specs.ArchPARISC64, specs.ArchRISCV64, specs.ArchLOONGARCH64, specs.ArchM68K,
	specs.ArchSH, specs.ArchSHEB,
}

// parseArchs says which ABIs a profile covers. The native one always is: the list is of additional ones.
func parseArchs(list []specs.Arch) ([abis]bool, error) {
	covered := [abis]bool{x86_64: true}
	for i, name := range list {
		if a := slices.Index(knownArchs[:], name); a >= 0 {
			covered[a] = true
		} else if !slices.Contains(foreignArchs, name) {
			return covered, fmt.Errorf("seccomp: architectures[%d]: unknown architecture %q", i, name)
		}
	}
	return covered, nil
}
