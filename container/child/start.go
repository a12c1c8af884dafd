package child

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"slices"

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
	defer p.closeLate()
	if err := p.openLate(); err != nil {
		return nil, err
	}
	// SEQPACKET: a record is one message, and comes whole.
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	process, err := p.start(o, pair[1])
	if err == nil {
		err = os.NewSyscallError("fcntl", unix.SetNonblock(pair[0], true)) // for the runtime's poller, so that a read can be given up
	}
	if err != nil {
		unix.Close(pair[0])
		return nil, err
	}
	process.status = os.NewFile(uintptr(pair[0]), "child")
	return process, nil
}

// lowest is the least number of a file of the program's own: those before it are the command's, or are to be closed.
func (p *Program) lowest() int { return 3 + p.preserve }

// start makes the child, whose end of the socket is status. It is closed here.
func (p *Program) start(o Options, status int) (*Process, error) {
	status, err := above(status, p.lowest())
	if err != nil {
		return nil, err
	}
	defer unix.Close(status)
	program, err := p.write(status)
	if err != nil {
		return nil, err
	}
	if program, err = above(program, p.lowest()); err != nil {
		return nil, err
	}
	defer unix.Close(program)
	file, err := stub(program, p.lowest())
	if err != nil {
		return nil, err
	}
	defer unix.Close(file)
	args := cloneArgs{flags: o.Namespaces}
	if o.Cgroup > 0 {
		args.flags |= unix.CLONE_INTO_CGROUP
		args.cgroup = uint64(o.Cgroup)
	}
	first := p.first(o, append([]int{status, program}, p.files...), file)
	if o.Before == nil {
		// Memory is lent until the stub is executed. A thread with another time namespace for its children has none to lend, see
		// time_namespaces(7).
		args.flags |= unix.CLONE_VM | unix.CLONE_VFORK
	}
	pid, pidFD, err := onThread(o.Before, func() (int, int, error) { return fork(args, first) })
	if err != nil {
		return nil, fmt.Errorf("child: clone3 %s: %w", CloneFlags(args.flags&^(unix.CLONE_VM|unix.CLONE_VFORK)|unix.CLONE_PIDFD), err)
	}
	return &Process{PID: pid, program: p, pidFD: os.NewFile(uintptr(pidFD), "pidfd")}, nil
}

// onThread calls fork, on a thread of its own if something has to be done to it before.
func onThread(before func() error, fork func() (int, int, error)) (pid, pidFD int, err error) {
	if before == nil {
		return fork()
	}
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err = before(); err == nil {
			pid, pidFD, err = fork()
		}
		close(done)
	}()
	<-done
	return pid, pidFD, err
}

// first is what the child does in its parent's memory, up to where it executes the stub, which is open in file.
func (p *Program) first(o Options, keep []int, file int) []uint64 {
	const (
		number    = 1 // the step that all of it is, in the printed program
		registers = headerWords
		name      = registers + 1 // "tandem-stub", and behind it the empty path
		argv      = name + 2
		envp      = argv + 1 // argv's end is all of it
		rights    = envp + 1 // struct __user_cap_header_struct and two of __user_cap_data_struct, see capset(2)
		begin     = rights + 4
	)
	const most = 8 // words of an instruction here
	e := encoder{words: make([]uint64, begin, begin+most*(len(keep)+lastRight+5))}
	at := func(word int) uint64 { return addressOf(e.words) + uint64(8*word) }
	e.words[headerRegisters], e.words[headerBegin] = at(registers), at(begin)
	e.words[registers] = uint64(keep[0])
	e.words[name] = binary.LittleEndian.Uint64([]byte("tandem-s"))
	e.words[name+1] = binary.LittleEndian.Uint64([]byte("tub\x00\x00\x00\x00\x00"))
	e.words[argv] = at(name)

	if own := slack.Own(); own != 0 {
		e.call(number, unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uint64(own), 0, 0, 0) // this thread's may be another
	}
	for _, fd := range keep {
		e.call(number, unix.SYS_FCNTL, uint64(fd), unix.F_SETFD, 0)
	}
	if o.Namespaces&unix.CLONE_NEWUSER != 0 {
		e.words[rights] = unix.LINUX_CAPABILITY_VERSION_3 // and 0: this process
		for i := rights + 1; i < begin; i++ {
			e.words[i] = ^uint64(0)
		}
		e.keepRights(number, at(rights), at(rights+1))
	}
	e.call(number, unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, at(headerMask), 0, 8)
	e.call(number, unix.SYS_EXECVEAT, uint64(file), at(name+1)+4, at(argv), at(envp), unix.AT_EMPTY_PATH)
	return e.words
}

// lastRight is the greatest capability that there can be.
const lastRight = 63

// keepRights lets a process keep all capabilities that it has in a new user namespace while it executes the stub. It is not
// root there before the namespace knows of users, and who is not root keeps only those that are ambient, see
// capabilities(7). They end with the program's own capset.
func (e *encoder) keepRights(number uint32, header, data uint64) {
	e.call(number, unix.SYS_CAPSET, header, data)
	for n := range uint64(lastRight + 1) {
		e.instruction(opCall, 5*8, 1, 0, -1, number, unix.SYS_PRCTL)
		e.words = append(e.words, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, n, 0, 0, uint64(unix.EINVAL)) // there are fewer
	}
}

// write puts the program into an anonymous file, as the stub reads it.
func (p *Program) write(status int) (fd int, err error) {
	registers := make([]uint64, p.regs)
	registers[statusReg] = uint64(status)
	header := [headerWords]uint64{headerRegisters: p.words(registers...)}
	p.align()
	header[headerBegin] = p.end()
	code := p.encode(append(slices.Clone(p.files), status))
	if size := 8*(len(header)+len(code)) + len(p.data); size > programLimit {
		return -1, fmt.Errorf("child: a program of %d bytes, at most %d: %w", size, programLimit, unix.E2BIG)
	}
	if fd, err = unix.MemfdCreate("tandem-program", unix.MFD_CLOEXEC); err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	parts := [][]byte{wordBytes(header[:]), p.data, wordBytes(code)}
	if n, err := unix.Writev(fd, parts); err != nil || n != len(parts[0])+len(parts[1])+len(parts[2]) {
		unix.Close(fd)
		return -1, fmt.Errorf("child: write a program: %d bytes: %w", n, err)
	}
	return fd, nil
}

// encode turns calls into instructions. The first close descriptors, all but those that are kept.
func (p *Program) encode(keep []int) []uint64 {
	for fd := range p.preserve {
		keep = append(keep, 3+fd)
	}
	ranges := gaps(keep)
	const closing = 2 + 3 // words to close one
	places := make([]uint64, len(p.calls)+1)
	at := p.end() + uint64(8*closing*len(ranges)/2)
	for i, c := range p.calls {
		places[i] = at
		at += uint64(8 * c.size())
	}
	places[len(p.calls)] = at
	e := encoder{words: make([]uint64, 0, (at-p.end())/8)}
	for i := 0; i < len(ranges); i += 2 {
		e.call(1, unix.SYS_CLOSE_RANGE, uint64(ranges[i]), uint64(ranges[i+1]), 0)
	}
	place := func(l Label) uint64 {
		if l == next {
			return 0
		}
		return places[p.labels[l]]
	}
	number := uint32(0)
	for _, c := range p.calls {
		if !c.quiet {
			number++
		}
		e.encode(c, number, place)
	}
	return e.words
}

// openLate opens the files that the program wants open when it starts.
func (p *Program) openLate() error {
	for _, c := range p.calls {
		for i := range c.args {
			a := &c.args[i]
			if a.late == nil {
				continue
			}
			if a.late.file == nil {
				f, err := a.late.open()
				if err == nil {
					f, err = aboveFile(f, p.lowest())
				}
				if err != nil {
					return fmt.Errorf("%s: %w", c.op, err)
				}
				a.late.file = f
				p.files = append(p.files, int(f.Fd()))
			}
			a.value = a.late.file.Fd()
		}
	}
	return nil
}

// aboveFile gives a file a descriptor of at least min.
func aboveFile(f *os.File, min int) (*os.File, error) {
	if int(f.Fd()) >= min {
		return f, nil
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, min)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
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
