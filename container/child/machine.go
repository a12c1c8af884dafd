package child

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"tandem/internal/tinyelf"
)

// The machine, in machine_amd64.s, reads instructions of eight-byte words:
//
//	call        handlers, arguments          a system call; handlers are the address of pairs: errno, and where to go on
//	jump
//	move        number                       into a register
//	sync        register                     tell the parent a name's number, and what the register holds; wait for a byte
//	await                                    wait for a byte, and tell nothing
//	fork                                     a sibling goes on in this process's place
//	expect      at, mask, want, otherwise    compare memory; otherwise is the errno to fail with, or where to go on
//	storeReg    at, register                 into memory
//	load        at, mask                     from memory into a register
//
// before which stand two words: the kind, the bytes of arguments (of words in memory: whether there are eight), the number of
// handlers, which arguments are registers, and the result's register; then the step's number, for errors, and the system
// call's, or where to jump to, or the sync's. Where to go on is 0 for the next one. All addresses are absolute, and those of
// instructions have 32 bits.
//
// The machine and what it reads come to a process in two anonymous files. The stub is an executable of the machine's code,
// which is sealed: whoever gets to it by /proc/self/exe finds no more than that. The program is data that the stub reads
// into its memory:
//
//	scratch      64 KiB   what calls leave: struct stat, entries of folders, ...
//	programBase  header   what is said to the parent, registers, where to begin
//	             strings, structures, argv, envp
//	             instructions
//	             handlers
type kind uint8

const (
	kindCall kind = iota
	kindJump
	kindMove
	kindSync
	kindFork
	kindExpect
	kindStoreReg
	kindLoad
	kindAwait
)

// The parts of an instruction's first word, behind the kind.
const (
	sizeShift      = 8
	handlersShift  = 16
	registersShift = 24
	resultShift    = 32
)

// wide says that a word in memory has eight bytes, and not four.
func wide(size int) uint64 {
	if size == 8 {
		return 1 << sizeShift
	}
	return 0
}

// The stub's memory. What is not used of it is not there.
const (
	scratchBase = 0x10000000
	scratchSize = 64 << 10
	programBase = scratchBase + scratchSize
	// programLimit is more than execve(2) takes: its arguments and environment are 6 MiB at most, see execve(2).
	programLimit = 16 << 20
)

// The header, in words.
const (
	headerRecord    = iota // 16 bytes, what is written to the parent
	_                      //
	_                      // what the parent lets the child go on with
	headerRegisters        // their address
	headerBegin            // the first instruction's
	headerMask             // signals that were blocked before the child was made
	headerWords

	// pidFDWord is where clone3 puts the child's descriptor, behind the header of what the child does first.
	pidFDWord = headerWords
)

// What a child says to its parent is a record of four numbers: its kind, the step's number, and two more.
const (
	recordFailed uint32 = 1 + iota // then an errno
	recordSync                     // the sync's index, and what a register holds
	recordForked                   // the new process's number
	recordFile                     // a descriptor comes with it

	recordSize = 16
)

// exitFailed is the child's exit status when a call failed.
const exitFailed = 126

// stub is an executable that reads the program that is open in fd, and runs it. Its descriptor is at least min.
func stub(fd, min int) (int, error) {
	order := binary.LittleEndian
	code := order.AppendUint32([]byte{0xbf}, uint32(fd))            // mov edi, fd
	code = order.AppendUint32(append(code, 0xbe), programBase)      // mov esi, programBase
	code = order.AppendUint32(append(code, 0xba), programLimit)     // mov edx, programLimit
	code = append(code, 0x45, 0x31, 0xd2, 0x41, 0x89, 0xf4)         // xor r10d, r10d; mov r12d, esi
	code = order.AppendUint32(append(code, 0xb8), unix.SYS_PREAD64) // mov eax, pread64
	code = append(code, 0x0f, 0x05, 0x48, 0x85, 0xc0, 0x7f, 12)     // syscall; test rax, rax; jg over the next three
	code = order.AppendUint32(append(code, 0xbf), exitFailed)       // mov edi, exitFailed: it was executed by somebody else
	code = order.AppendUint32(append(code, 0xb8), unix.SYS_EXIT_GROUP)
	code = append(append(code, 0x0f, 0x05), machineText()...) // syscall
	made, err := tinyelf.Create("tandem-stub", code, tinyelf.Memory{At: scratchBase, Size: scratchSize + programLimit})
	if err != nil {
		return -1, fmt.Errorf("child: %w", err)
	}
	return above(made, min)
}

// above gives a descriptor a number of at least min, closed on exec.
func above(fd, min int) (int, error) {
	if fd >= min {
		return fd, nil
	}
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, min)
	unix.Close(fd)
	if err != nil {
		return -1, fmt.Errorf("child: fcntl F_DUPFD_CLOEXEC %d: %w", min, err)
	}
	return high, nil
}
