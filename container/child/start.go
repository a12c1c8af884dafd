package child

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"tandem/internal/slack"
	"tandem/internal/thread"
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
	if err := unix.SetNonblock(pair[0], true); err != nil { // for the runtime's poller, so that a read can be given up
		unix.Close(pair[0])
		unix.Close(pair[1])
		return nil, os.NewSyscallError("fcntl", err)
	}
	process, err := p.start(o, pair[1])
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
	thread.Throwaway(func() {
		if err = before(); err == nil {
			pid, pidFD, err = fork()
		}
	})
	return pid, pidFD, err
}

// first is what the child does in its parent's memory, up to where it executes the stub, which is open in file.
func (p *Program) first(o Options, keep []int, file int) []uint64 {
	const (
		number    = 1 // the step that all of it is, in the printed program
		registers = pidFDWord + 1
		name      = registers + 1 // "tandem-stub", and behind it the empty path
		argv      = name + 2
		envp      = argv + 1    // argv's end is all of it
		invalid   = envp + 1    // a handler: EINVAL is the same as success
		rights    = invalid + 1 // struct __user_cap_header_struct and two of __user_cap_data_struct, see capset(2)
		begin     = rights + 4
	)
	const most = 9 // words of an instruction, whose last the machine looks at in any case
	words := make([]uint64, begin, begin+most*(len(keep)+lastRight+5))
	at := func(word int) uint64 { return addressOf(words) + uint64(8*word) }
	call := func(nr uint64, args ...uint64) {
		words = append(words, uint64(kindCall)|uint64(8*len(args))<<sizeShift, number|nr<<32, 0)
		words = append(words, args...)
	}
	words[headerRegisters], words[headerBegin] = at(registers), at(begin)
	words[registers] = uint64(keep[0])
	words[name] = binary.LittleEndian.Uint64([]byte("tandem-s"))
	words[name+1] = binary.LittleEndian.Uint64([]byte("tub\x00\x00\x00\x00\x00"))
	words[argv] = at(name)

	if own := slack.Own(); own != 0 {
		call(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uint64(own), 0, 0, 0) // this thread's may be another
	}
	for _, fd := range keep {
		call(unix.SYS_FCNTL, uint64(fd), unix.F_SETFD, 0)
	}
	if o.Namespaces&unix.CLONE_NEWUSER != 0 {
		// It has all rights in the namespace, and would lose them when it executes the stub: it is not root there before the
		// namespace knows of users, and who is not root keeps only what is ambient, see capabilities(7). The program's own
		// capset ends that.
		words[rights] = unix.LINUX_CAPABILITY_VERSION_3 // and 0: this process
		for i := rights + 1; i < begin; i++ {
			words[i] = ^uint64(0)
		}
		call(unix.SYS_CAPSET, at(rights), at(rights+1))
		words[invalid] = uint64(unix.EINVAL) // of those that there are not
		for n := range uint64(lastRight + 1) {
			first := len(words)
			call(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, n, 0, 0)
			words[first] |= 1 << handlersShift
			words[first+2] = at(invalid)
		}
	}
	call(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, at(headerMask), 0, 8)
	call(unix.SYS_EXECVEAT, uint64(file), at(name+1)+4, at(argv), at(envp), unix.AT_EMPTY_PATH)
	return words
}

// lastRight is the greatest capability that there can be.
const lastRight = 63

// write puts the program into an anonymous file, as the stub reads it.
func (p *Program) write(status int) (fd int, err error) {
	registers := make([]uint64, p.regs)
	registers[statusReg] = uint64(status)
	header := [headerWords]uint64{headerRegisters: p.words(registers...)}
	p.align()
	header[headerBegin] = p.end()
	prologue := closing(append(p.kept(), status))
	if err := p.link(p.end() + uint64(8*len(prologue))); err != nil {
		return -1, err
	}
	parts := [][]byte{wordBytes(header[:]), p.data, wordBytes(prologue), wordBytes(p.code)}
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	if size > programLimit {
		return -1, fmt.Errorf("child: a program of %d bytes, at most %d: %w", size, programLimit, unix.E2BIG)
	}
	if fd, err = unix.MemfdCreate("tandem-program", unix.MFD_CLOEXEC); err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	if n, err := unix.Writev(fd, parts); err != nil || n != size {
		unix.Close(fd)
		return -1, fmt.Errorf("child: write a program: %d of %d bytes: %w", n, size, err)
	}
	return fd, nil
}

// kept are the descriptors that the program and its command use.
func (p *Program) kept() []int {
	keep := slices.Clone(p.files)
	for fd := range p.preserve {
		keep = append(keep, 3+fd)
	}
	return keep
}

// closing closes all descriptors but those that are kept.
func closing(keep []int) (code []uint64) {
	ranges := gaps(keep)
	for i := 0; i < len(ranges); i += 2 {
		code = append(code, uint64(kindCall)|3*8<<sizeShift, 1|unix.SYS_CLOSE_RANGE<<32, 0, uint64(ranges[i]), uint64(ranges[i+1]), 0)
	}
	return code
}

// link gives labels their addresses, for code that begins at base, and puts the handlers behind it.
func (p *Program) link(base uint64) error {
	address := func(l Label) uint64 {
		if l == next {
			return 0
		}
		word := len(p.code)
		if at := p.labels[l]; at < len(p.steps) {
			word = int(p.steps[at].at)
		}
		return base + uint64(8*word)
	}
	for _, j := range p.jumps {
		p.code[j.word] |= address(j.to) << 32
	}
	slices.SortStableFunc(p.handlers, func(a, b handler) int { return int(a.step - b.step) })
	table := make([]uint64, len(p.handlers))
	behind := base + uint64(8*len(p.code))
	for i, h := range p.handlers {
		first := p.steps[h.step].at
		if i == 0 || p.handlers[i-1].step != h.step {
			p.code[first+2] = behind + uint64(8*i)
		}
		if p.code[first]>>handlersShift&0xff == 0xff {
			return fmt.Errorf("child: %s may fail with more than %d errors: %w", p.steps[h.step].op, 0xff, unix.E2BIG)
		}
		p.code[first] += 1 << handlersShift
		table[i] = uint64(h.errno) | address(h.to)<<32
	}
	p.code = append(p.code, table...)
	return nil
}

// openLate opens the files that the program wants open when it starts.
func (p *Program) openLate() error {
	for _, l := range p.late {
		if l.late.file == nil {
			f, err := l.late.open()
			if err == nil {
				f, err = aboveFile(f, p.lowest())
			}
			if err != nil {
				return fmt.Errorf("%s: %w", p.steps[l.step].op, err)
			}
			l.late.file = f
			p.files = append(p.files, int(f.Fd()))
		}
		p.code[l.word] = uint64(l.late.file.Fd())
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
	for _, l := range p.late {
		if l.late.file != nil {
			l.late.file.Close() // a second time is no harm
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
