package child

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"tandem/internal/tinyelf"
)

// The machine, in machine_amd64.s, reads instructions of eight-byte words:
//
//	call        nr, arguments, handlers      a system call; a handler is an errno and where to go on, or 0: behind the call
//	jump        to
//	move        number                       into a register
//	sync        register                     tell the parent a name's number, and what the register holds; wait for a byte
//	await                                        wait for a byte, and tell nothing
//	fork                                     a sibling goes on in this process's place
//	expect      at, mask, want, otherwise    compare memory; otherwise is where to go on, or the errno to fail with
//	storeReg    at, register
//	load        at, mask                     into a register
//
// before which stand two words: the op, the bytes of arguments (of words in memory: whether there are eight), the number of
// handlers, which arguments are registers, and the result's register; then the step's number, for errors, and the system
// call's, or where to jump to, or the sync's. All addresses are absolute.
//
// The machine and what it reads come to a process in two anonymous files. The stub is an executable of the machine's code,
// which is sealed: whoever gets to it by /proc/self/exe finds no more than that. The program is data that the stub reads
// into its memory:
//
//	Memory       64 KiB   what calls leave: struct stat, entries of folders, ...
//	programBase  header   what is said to the parent, registers, where to begin
//	             strings, structures, argv, envp
//	             instructions
const (
	opCall uint64 = iota
	opJump
	opMove
	opSync
	opFork
	opExpect
	opStoreReg
	opLoad
	opAwait
)

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

// encoder writes instructions.
type encoder struct{ words []uint64 }

// instruction begins one. narrow is the byte that tells how long what follows is, or how wide a word in memory is.
func (e *encoder) instruction(op uint64, narrow, handlers int, registers uint64, into Reg, number, nr uint32) {
	e.words = append(e.words, op|uint64(narrow)<<8|uint64(handlers)<<16|registers<<24|uint64(max(into, 0))<<32,
		uint64(number)|uint64(nr)<<32)
}

func (e *encoder) call(number uint32, nr uintptr, args ...uint64) {
	e.instruction(opCall, 8*len(args), 0, 0, -1, number, uint32(nr))
	e.words = append(e.words, args...)
}

// size is the number of words of a call's instruction.
func (c *Call) size() int {
	switch c.kind {
	case kindCall:
		return 2 + len(c.args) + len(c.handlers)
	case kindMove, kindSync:
		return 3
	case kindExpect:
		return 6
	case kindStoreReg, kindLoad:
		return 4
	case kindNote:
		return 0
	}
	return 2
}

// encode adds a call's instruction. at tells where labels are.
func (e *encoder) encode(c *Call, number uint32, at func(Label) uint64) {
	wide := 0
	if c.word != nil && c.word.size == 8 {
		wide = 1
	}
	switch c.kind {
	case kindCall:
		registers := uint64(0)
		for i, a := range c.args {
			if a.isReg {
				registers |= 1 << i
			}
		}
		e.instruction(opCall, 8*len(c.args), len(c.handlers), registers, c.into, number, uint32(c.nr))
		for _, a := range c.args {
			e.words = append(e.words, uint64(a.value))
		}
		for _, h := range c.handlers {
			e.words = append(e.words, uint64(h.errno)|at(h.to)<<32)
		}
	case kindJump:
		e.instruction(opJump, 0, 0, 0, -1, number, uint32(at(c.target)))
	case kindMove:
		e.instruction(opMove, 0, 0, 0, c.into, number, 0)
		e.words = append(e.words, uint64(c.args[0].value))
	case kindSync:
		e.instruction(opSync, 0, 0, 0, -1, number, uint32(c.sync))
		e.words = append(e.words, uint64(max(c.into, 0)))
	case kindAwait:
		e.instruction(opAwait, 0, 0, 0, -1, number, 0)
	case kindFork:
		e.instruction(opFork, 0, 0, 0, -1, number, 0)
	case kindExpect:
		e.instruction(opExpect, wide, 0, 0, -1, number, 0)
		e.words = append(e.words, c.word.at, c.word.mask, c.word.want, uint64(c.word.errno)|at(c.word.to)<<32)
	case kindStoreReg:
		e.instruction(opStoreReg, 0, 0, 0, -1, number, 0)
		e.words = append(e.words, c.word.at, c.word.want)
	case kindLoad:
		e.instruction(opLoad, wide, 0, 0, c.into, number, 0)
		e.words = append(e.words, c.word.at, c.word.mask)
	}
}
