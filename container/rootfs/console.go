package rootfs

import (
	"golang.org/x/sys/unix"

	"tandem/container/child"
)

// Pty opens a terminal in the container's own devpts, if it has one on /dev/pts. The registers are its two ends. It
// comes after Prepare.
//
// Neither end is opened by a name that the container could have changed meanwhile: ptmx is looked up below the
// mount's own descriptor, and the other end is asked of the first (TIOCGPTPEER). Whoever opens /dev/pts/0 by that
// name can be led to another file (CVE-2025-52565).
func (b *Build) Pty(p *child.Program) (master, slave child.Reg, ok bool) {
	if b.devpts == nil {
		return 0, 0, false
	}
	p.Phase("open a terminal")
	call, master := p.Openat2(child.From("devpts", b.devpts.reg), "ptmx", unix.OpenHow{
		Flags: unix.O_RDWR | unix.O_NOCTTY, Resolve: noLinks | unix.RESOLVE_NO_XDEV,
	}, "a new terminal of the container's own")
	call.Into(master)
	p.UnlockPty(master, "its other end may be opened")
	_, slave = p.PtyPeer(master, "its other end, by no name")
	return master, slave, true
}

// Console binds the terminal that is open in the register on /dev/console. The terminal must have been opened in the
// child's mount namespace, as one of Pty's is.
func (b *Build) Console(p *child.Program, terminal child.Reg) {
	p.Phase("bind the terminal on /dev/console")
	dev := b.dev
	if !b.makesDevices() {
		dev = b.find(p, lookup{path: "dev", resolve: noLinks})
	}
	p.Expect(p.Fstat(terminal, "terminal", "").Mode, unix.S_IFMT, unix.S_IFCHR, unix.ENOTTY, "")
	_, mount := p.OpenTree(child.From("terminal", terminal), "", unix.OPEN_TREE_CLONE|unix.AT_EMPTY_PATH,
		"the very terminal, not what a name leads to")
	b.attachFile(p, mount, dev, "console")
	p.Close(mount)
	if dev != b.dev {
		p.Close(dev)
	}
}
