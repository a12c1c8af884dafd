package child

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// These block all signals for the time of a fork, and undo in the child what Go did to their handlers. They are the
// runtime's, which keeps their names for those who fork by themselves.

//go:linkname runtimeBeforeFork syscall.runtime_BeforeFork
func runtimeBeforeFork()

//go:linkname runtimeAfterFork syscall.runtime_AfterFork
func runtimeAfterFork()

//go:linkname runtimeAfterForkInChild syscall.runtime_AfterForkInChild
func runtimeAfterForkInChild()

// cloneArgs is struct clone_args, see clone3(2).
type cloneArgs struct {
	flags, pidFD, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// instruction is a call as the child reads it.
type instruction struct {
	nr       uintptr
	args     [6]uintptr
	handlers []branch
	expect   *expect
	store    *store
	number   uint32  // what the parent is told, if it fails
	target   int32   // of a jump, or of an expectation that failed
	into     int32   // register, or -1
	regs     [6]bool // that the argument is a register's number
	kind     kind
}

// branch is a handler whose label has become a place.
type branch struct {
	errno syscall.Errno
	to    int32
}

// machine is what the child runs. It is complete before the fork.
type machine struct {
	code   []instruction
	ranges []uint32 // descriptors to be closed: first, last, first, last, ...
	regs   []uintptr
	clone  cloneArgs
	slack  uintptr // the child's timer slack in nanoseconds, 0 is this thread's
	record record  // what the child writes to its parent
	ack    [1]byte
}

// record is what a child says to its parent, see process.go.
type record struct {
	kind   uint32
	number uint32
	value  uint32
	extra  uint32 // of a sync: what a register holds
}

// recordSize is a record's size in bytes.
const recordSize = uint32(unsafe.Sizeof(record{}))

const (
	recordFailed uint32 = 1 + iota // value is an errno
	recordSync                     // value is the sync's index
	recordForked                   // value is the new process's number
	recordFile                     // a descriptor comes with it
)

// exitFailed is the child's exit status when a call failed.
const exitFailed = 126

// fork makes the child. In the parent it returns the child's number; in the child it doesn't.
//
//go:norace
//go:nocheckptr
func (m *machine) fork() (pid uintptr, errno syscall.Errno) {
	runtimeBeforeFork()
	if m.slack != 0 { // this thread's may be another: see package slack
		syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, m.slack, 0)
	}
	pid, _, errno = syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&m.clone)), unsafe.Sizeof(m.clone), 0)
	if errno != 0 || pid != 0 {
		runtimeAfterFork()
		return pid, errno
	}
	runtimeAfterForkInChild()
	m.run()
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, exitFailed, 0, 0)
	}
}

// run is the child's life up to execve. It may neither allocate nor call anything that might: see doc.go.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) run() {
	pc := 0
	for pc < len(m.code) {
		in := &m.code[pc]
		pc++
		var errno syscall.Errno
		switch in.kind {
		case kindCall:
			pc, errno = m.call(in, pc)
		case kindJump:
			pc = int(in.target)
		case kindMove:
			m.regs[in.into] = in.args[0]
		case kindSync:
			errno = m.sync(in)
		case kindFork:
			errno = m.forkAgain(in)
		case kindExpect:
			if !in.expect.holds() {
				errno = syscall.Errno(in.expect.errno)
				if in.target >= 0 {
					pc, errno = int(in.target), 0
				}
			}
		case kindStore:
			*(*uintptr)(in.store.at) = in.store.value
		case kindStoreReg:
			*(*uintptr)(in.store.at) = m.regs[in.store.value]
		case kindLoad:
			m.regs[in.into] = uintptr(in.expect.word() & in.expect.mask)
		case kindCloseOthers:
			for i := 0; i+1 < len(m.ranges) && errno == 0; i += 2 {
				_, _, errno = syscall.RawSyscall(unix.SYS_CLOSE_RANGE, uintptr(m.ranges[i]), uintptr(m.ranges[i+1]), 0)
			}
		}
		if errno != 0 {
			m.say(recordFailed, in.number, uint32(errno), 0)
			return
		}
	}
}

// call does a system call, and returns where to go on.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) call(in *instruction, pc int) (int, syscall.Errno) {
	a := in.args
	for i := range a {
		if in.regs[i] {
			a[i] = m.regs[a[i]]
		}
	}
	r, _, errno := syscall.RawSyscall6(in.nr, a[0], a[1], a[2], a[3], a[4], a[5])
	if errno == 0 {
		if in.into >= 0 {
			m.regs[in.into] = r
		}
		return pc, 0
	}
	for i := range in.handlers {
		if in.handlers[i].errno == errno {
			return int(in.handlers[i].to), 0
		}
	}
	return pc, errno
}

// say tells the parent something.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) say(kind, number, value, extra uint32) syscall.Errno {
	m.record = record{kind, number, value, extra}
	_, _, errno := syscall.RawSyscall(unix.SYS_WRITE, m.regs[statusReg], uintptr(unsafe.Pointer(&m.record)),
		unsafe.Sizeof(m.record))
	return errno
}

// sync waits for one byte of the parent's. The end of the connection is the parent's end.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) sync(in *instruction) syscall.Errno {
	extra := uint32(0)
	if in.into >= 0 {
		extra = uint32(m.regs[in.into])
	}
	if errno := m.say(recordSync, in.number, uint32(in.nr), extra); errno != 0 {
		return errno
	}
	return m.await()
}

// await waits until the parent lets the child go on.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) await() syscall.Errno {
	n, _, errno := syscall.RawSyscall(unix.SYS_READ, m.regs[statusReg], uintptr(unsafe.Pointer(&m.ack)), 1)
	if errno == 0 && n != 1 {
		return syscall.ECANCELED
	}
	return errno
}

// forkAgain makes a sibling that goes on in this process's place.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (m *machine) forkAgain(in *instruction) syscall.Errno {
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, unix.CLONE_PARENT|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	if pid == 0 {
		return m.await() // the parent has to know of this process before it hears from it
	}
	m.say(recordForked, in.number, uint32(pid), 0)
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
}

//go:nosplit
//go:norace
//go:nocheckptr
func (e *expect) holds() bool { return e.word()&e.mask == e.want }

//go:nosplit
//go:norace
//go:nocheckptr
func (e *expect) word() uint64 {
	if e.size == 4 {
		return uint64(*(*uint32)(e.at))
	}
	return *(*uint64)(e.at)
}
