package child

import (
	"golang.org/x/sys/unix"
)

// Send gives the parent the file that is open in a register, see [Process.File]. Unlike what [Program.SyncValue] tells of,
// which the parent has to fetch with the right to look into the child, this needs no right over it. There has to be a sync
// after it.
func (p *Program) Send(object string, file Reg, why string) {
	// struct cmsghdr and its one descriptor, see cmsg(3): len, level and type, data.
	control := p.words(uint64(unix.CmsgLen(4)), unix.SOL_SOCKET|unix.SCM_RIGHTS<<32, 0)
	said := p.words(uint64(recordFile), 0)
	iov := p.words(said, recordSize)
	// struct msghdr: name, its length, iov, its length, control, its length, flags.
	message := p.words(0, 0, iov, 1, control, 24, 0)
	p.storeReg(control+16, file)
	p.Call("sendmsg", unix.SYS_SENDMSG, object, why, From("fd", statusReg), filled("message", message, "SCM_RIGHTS "+file.String()),
		hidden(Int("flags", 0)))
}
