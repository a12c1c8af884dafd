package child

import (
	"bytes"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cloneArgs is struct clone_args, see clone3(2).
type cloneArgs struct {
	flags, pidFD uint64
	_            [2]uint64 // child_tid, parent_tid
	exitSignal   uint64
	_            [5]uint64 // stack, stack_size, tls, set_tid, set_tid_size
	cgroup       uint64
}

// clone makes a child that runs program at once. The signals in block are blocked meanwhile; program's mask becomes what was
// blocked before. It returns the child's number, or an errno less than 0.
//
//go:noescape
func clone(args *cloneArgs, block, program *uint64) (pid int)

// machineCode is where the machine's code stands.
func machineCode() unsafe.Pointer

// machineText is the code. Its end is marked, as nothing else tells it.
var machineText = sync.OnceValue(func() []byte {
	const most = 4096
	text := unsafe.Slice((*byte)(machineCode()), most)
	return text[:bytes.Index(text, bytes.Repeat([]byte{0xf4}, 16))]
})

// fork makes a child that runs the first program. Beside its number there is a descriptor of it, as clone3 leaves it: in the
// program's words, as the address of what is on this stack could be another by the time of the call.
func fork(args cloneArgs, first []uint64) (pid, pidFD int, err error) {
	args.flags |= unix.CLONE_PIDFD | unix.CLONE_CLEAR_SIGHAND
	args.pidFD, args.exitSignal = addressOf(first[pidFDWord:]), uint64(unix.SIGCHLD)
	all := ^uint64(0)
	pid = clone(&args, &all, &first[0])
	runtime.KeepAlive(first)
	if pid < 0 {
		return 0, -1, unix.Errno(-pid)
	}
	return pid, int(int32(first[pidFDWord])), nil
}

// addressOf is where v is, in this process: for programs that run in its memory.
func addressOf[T any](v []T) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(v)))) }

// wordBytes are words as they lie in memory.
func wordBytes(w []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(w))), 8*len(w))
}

// bytesOf is a structure of the kernel's as it lies in memory.
func bytesOf[T any](v *T) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v)) }

// The places of fields in what calls fill.
const (
	statSize  = int(unsafe.Sizeof(unix.Stat_t{}))
	statMode  = uint64(unsafe.Offsetof(unix.Stat_t{}.Mode))
	statUID   = uint64(unsafe.Offsetof(unix.Stat_t{}.Uid))
	statGID   = uint64(unsafe.Offsetof(unix.Stat_t{}.Gid))
	statRdev  = uint64(unsafe.Offsetof(unix.Stat_t{}.Rdev))
	statInode = uint64(unsafe.Offsetof(unix.Stat_t{}.Ino))

	statfsSize = int(unsafe.Sizeof(unix.Statfs_t{}))
	statfsType = uint64(unsafe.Offsetof(unix.Statfs_t{}.Type))

	attrUserNS = uint64(unsafe.Offsetof(unix.MountAttr{}.Userns_fd))
)
