package child

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Send gives the parent the file that is open in a register, see [Process.File]. Unlike what [Program.SyncValue] tells of,
// which the parent has to fetch with the right to look into the child, this needs no right over it. There has to be a sync
// after it.
func (p *Program) Send(object string, file Reg, why string) {
	// struct cmsghdr and its one descriptor, see cmsg(3): len, level and type, data.
	control := &[3]uint64{uint64(unix.CmsgLen(4)), unix.SOL_SOCKET | unix.SCM_RIGHTS<<32}
	said := &record{kind: recordFile}
	iov := &unix.Iovec{Base: (*byte)(unsafe.Pointer(said)), Len: uint64(recordSize)}
	message := &unix.Msghdr{
		Iov: iov, Iovlen: 1, Control: (*byte)(unsafe.Pointer(control)), Controllen: uint64(unsafe.Sizeof(*control)),
	}
	p.storeReg(&control[2], file)
	p.Call("sendmsg", unix.SYS_SENDMSG, object, why, From("fd", statusReg), pointer(p, "message", message, "SCM_RIGHTS "+file.String()),
		hidden(Int("flags", 0)))
}
