package child

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"tandem/internal/slack"
)

// Options are how the child is made.
type Options struct {
	// Namespaces are CLONE_NEW* flags: namespaces that the child is born into, new.
	Namespaces uint64
	// Cgroup is a descriptor of the cgroup (v2) that the child is born into, or 0: then it is born into its parent's.
	Cgroup int
	// Before, if not nil, is called on the thread that forks, and may change what a child inherits of a thread: the PID
	// and time namespaces of its children, its scheduling, its network namespace. The thread ends afterwards.
	Before func() error
}

// Start makes the child, which begins at once. The program's descriptors must stay open until then.
func (p *Program) Start(o Options) (*Process, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	m, err := p.compile()
	if err != nil {
		return nil, err
	}
	defer p.closeLate()
	lowest, err := p.openLate(m)
	if err != nil {
		return nil, err
	}
	// SEQPACKET: a record is one message, and comes whole.
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	theirs, err := unix.FcntlInt(uintptr(pair[1]), unix.F_DUPFD_CLOEXEC, lowest)
	unix.Close(pair[1])
	if err != nil {
		unix.Close(pair[0])
		return nil, os.NewSyscallError("fcntl", err)
	}
	defer unix.Close(theirs)
	m.regs[statusReg] = uintptr(theirs)
	keep := append(slices.Clone(p.files), theirs)
	for fd := range p.preserve {
		keep = append(keep, 3+fd)
	}
	m.ranges = gaps(keep)
	pidFD := new(int32)
	*pidFD = -1
	m.clone = cloneArgs{
		flags: o.Namespaces | unix.CLONE_PIDFD, pidFD: uint64(address(pidFD)), exitSignal: uint64(unix.SIGCHLD),
	}
	if o.Cgroup > 0 {
		m.clone.flags |= unix.CLONE_INTO_CGROUP
		m.clone.cgroup = uint64(o.Cgroup)
	}
	pid, err := m.start(o.Before)
	runtime.KeepAlive(pidFD)
	runtime.KeepAlive(p)
	if err != nil {
		unix.Close(pair[0])
		return nil, err
	}
	if err := unix.SetNonblock(pair[0], true); err != nil { // for the runtime's poller, so that a read can be given up
		return nil, os.NewSyscallError("fcntl", err)
	}
	return &Process{
		PID: pid, program: p, pidFD: os.NewFile(uintptr(*pidFD), "pidfd"), status: os.NewFile(uintptr(pair[0]), "child"),
	}, nil
}

// openLate opens the files that the program wants open when it starts. The number returned is the lowest that a file of
// the program's may have which is still needed when the stub is executed: it wants its socket below that.
func (p *Program) openLate(m *machine) (lowest int, err error) {
	lowest = 3
	for i, c := range p.calls {
		if c.stub != nil {
			lowest = max(lowest, c.stub.fd+1)
			l := &c.args[0]
			l.late = &late{open: func() (*os.File, error) { return c.stub.file(c.stub.fd + 1) }}
		}
		for j, a := range c.args {
			if a.late == nil {
				continue
			}
			if a.late.file == nil {
				if a.late.file, err = a.late.open(); err != nil {
					return 0, fmt.Errorf("%s: %w", c.op, err)
				}
				p.files = append(p.files, int(a.late.file.Fd()))
			}
			m.code[i+1].args[j] = a.late.file.Fd()
		}
	}
	return lowest, nil
}

func (p *Program) closeLate() {
	for _, c := range p.calls {
		for _, a := range c.args {
			if a.late != nil && a.late.file != nil {
				a.late.file.Close() // a second time is no harm
			}
		}
	}
}

// start forks, on a thread of its own if something has to be done to it before.
func (m *machine) start(before func() error) (int, error) {
	if before == nil {
		return m.forkLocked()
	}
	type result struct {
		pid int
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		var r result
		if r.err = before(); r.err == nil {
			r.pid, r.err = m.forkLocked()
		}
		done <- r
	}()
	r := <-done
	return r.pid, r.err
}

// forkLocked holds the lock under which others make descriptors that are not close-on-exec for a moment.
func (m *machine) forkLocked() (int, error) {
	syscall.ForkLock.Lock()
	pid, errno := m.fork()
	syscall.ForkLock.Unlock()
	if errno != 0 {
		return 0, fmt.Errorf("child: clone3 %s: %w", CloneFlags(m.clone.flags), errno)
	}
	return int(pid), nil
}

// compile turns calls into instructions. The first closes descriptors.
func (p *Program) compile() (*machine, error) {
	m := &machine{slack: slack.Own(), regs: make([]uintptr, p.regs), code: make([]instruction, 1, len(p.calls)+1)}
	m.code[0] = instruction{kind: kindCloseOthers, into: -1}
	place := func(l Label, i int) int32 {
		if l == next {
			return int32(i) + 2 // after the first instruction, and this one
		}
		return int32(p.labels[l]) + 1
	}
	number := uint32(0)
	for i, c := range p.calls {
		if !c.quiet {
			number++
		}
		in := instruction{
			kind: c.kind, number: max(number, 1), nr: c.nr, into: int32(c.into), expect: c.expect, store: c.store,
		}
		for j, a := range c.args {
			in.args[j], in.regs[j] = a.value, a.isReg
		}
		for _, h := range c.handlers {
			in.handlers = append(in.handlers, branch{syscall.Errno(h.errno), place(h.to, i)})
		}
		switch c.kind {
		case kindJump:
			in.target = place(c.target, i)
		case kindExpect:
			if in.target = -1; c.expect.to != next {
				in.target = place(c.expect.to, i)
			}
		case kindSync:
			in.nr = uintptr(c.sync)
		}
		m.code = append(m.code, in)
	}
	return m, nil
}

// gaps are the ranges of descriptors between those that are kept, from 3 up: first, last, first, last, ...
func gaps(keep []int) []uint32 {
	slices.Sort(keep)
	var ranges []uint32
	from := 3
	for _, fd := range keep {
		if fd > from {
			ranges = append(ranges, uint32(from), uint32(fd-1))
		}
		from = max(from, fd+1)
	}
	return append(ranges, uint32(from), ^uint32(0))
}
