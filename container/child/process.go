package child

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a child that was started. Its methods are for one goroutine at a time.
type Process struct {
	// PID is the child's number in the parent's PID namespace. It changes when the program forks again.
	PID int

	program *Program
	pidFD   *os.File
	status  *os.File
	value   uint32
	file    *os.File // that the child has sent, until File takes it
}

// ReadFailure reads what a child has told to the file of MoveStatus, which is at its end: nil if the child has executed
// its command. Whoever reads it need not be the one who made the program, so the failed call has no name, only a number.
func ReadFailure(r io.Reader) (*StepError, error) {
	var buf [recordSize]byte
	n, err := io.ReadFull(r, buf[:])
	switch {
	case err == io.EOF:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("child: %d bytes of a record: %w", n, err)
	}
	return &StepError{
		Op: "execve", Number: int(binary.LittleEndian.Uint32(buf[4:])), Err: syscall.Errno(binary.LittleEndian.Uint32(buf[8:])),
	}, nil
}

// File is the file that the child has sent before its last sync, or nil. It is the caller's from then on.
func (p *Process) File() *os.File {
	f := p.file
	p.file = nil
	return f
}

// Value is what the register of the last SyncValue held.
func (p *Process) Value() int { return int(p.value) }

// StepError is the child's failure: the call that failed, and why.
type StepError struct {
	Phase  string // such as "mount proc on /proc"
	Op     string // the system call
	Object string
	Number int // from 1, as the printed program counts
	Total  int
	Err    error // an errno
}

func (e *StepError) Error() string {
	what := e.Op
	if e.Object != "" {
		what += " " + e.Object
	}
	if e.Phase != "" {
		what = e.Phase + ": " + what
	}
	return fmt.Sprintf("%s: %v (step %d of %d)", what, e.Err, e.Number, e.Total)
}

func (e *StepError) Unwrap() error { return e.Err }

// Next waits until the child stands at a sync, and returns the sync's name; or until it has executed its program's file,
// which is io.EOF. A call that failed is a *StepError. A child that died without a word is ErrDied.
func (p *Process) Next(ctx context.Context) (sync string, err error) {
	stop := context.AfterFunc(ctx, func() { p.status.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var buf [recordSize]byte
	for {
		n, err := p.receive(buf[:])
		switch {
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET):
			return "", io.EOF
		case err != nil:
			return "", err
		case n != len(buf):
			return "", fmt.Errorf("child: %d bytes from process %d, want %d", n, p.PID, len(buf))
		}
		number, value := binary.LittleEndian.Uint32(buf[4:]), binary.LittleEndian.Uint32(buf[8:])
		switch kind := binary.LittleEndian.Uint32(buf[:]); kind {
		case recordFailed:
			return "", p.program.stepError(int(number), syscall.Errno(value))
		case recordSync:
			if int(value) >= len(p.program.syncs) {
				return "", fmt.Errorf("child: process %d stands at sync %d of %d", p.PID, value, len(p.program.syncs))
			}
			p.value = binary.LittleEndian.Uint32(buf[12:])
			return p.program.syncs[value], nil
		case recordFile: // receive has it
		case recordForked:
			if err := p.follow(int(value)); err != nil {
				return "", err
			}
		default:
			return "", fmt.Errorf("child: record of kind %d from process %d", kind, p.PID)
		}
	}
}

// receive reads a record, and takes the file that comes with it. Nought bytes is the connection's end.
func (p *Process) receive(buf []byte) (n int, err error) {
	conn, err := p.status.SyscallConn()
	if err != nil {
		return 0, err
	}
	control := make([]byte, unix.CmsgSpace(4))
	var got int // bytes of control
	readErr := conn.Read(func(fd uintptr) bool {
		for {
			n, got, _, _, err = unix.Recvmsg(int(fd), buf, control, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
			if errors.Is(err, unix.ECONNRESET) {
				// It has ended without reading what it was told. Once this was said, what it has told is there.
				n, got, _, _, err = unix.Recvmsg(int(fd), buf, control, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
			}
			if !errors.Is(err, unix.EINTR) {
				return !errors.Is(err, unix.EAGAIN)
			}
		}
	})
	if err = errors.Join(readErr, err); err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, io.EOF
	}
	if got == 0 {
		return n, nil
	}
	messages, err := unix.ParseSocketControlMessage(control[:got])
	if err != nil || len(messages) != 1 {
		return 0, fmt.Errorf("child: %d control messages from process %d: %w", len(messages), p.PID, err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return 0, fmt.Errorf("child: %d descriptors from process %d: %w", len(fds), p.PID, err)
	}
	if p.file != nil {
		p.file.Close() // nobody wanted it
	}
	p.file = os.NewFile(uintptr(fds[0]), fmt.Sprintf("file of process %d", p.PID))
	return n, nil
}

// follow takes the process that the child has made for the child. The first one is gone by then, or soon.
func (p *Process) follow(pid int) error {
	old := p.pidFD
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("child: pidfd_open %d: %w", pid, err)
	}
	p.PID, p.pidFD = pid, os.NewFile(uintptr(fd), "pidfd")
	defer old.Close()
	if err := wait(old, nil); err != nil {
		return err
	}
	return p.Go()
}

// Go lets a child go on that stands at a sync, or at an await, or that will come to one.
func (p *Process) Go() error {
	_, err := p.status.Write([]byte{1})
	return err
}

// PIDFD is a descriptor of the process, see pidfd_open(2). It is the Process's.
func (p *Process) PIDFD() *os.File { return p.pidFD }

// Status is the parent's end of the connection. Closing it while the child stands at a sync ends the child.
func (p *Process) Status() *os.File { return p.status }

// Signal sends the child a signal. One that has ended, or was closed, is os.ErrProcessDone. Once the program has come to
// its end any goroutine may call it, also while another one closes the Process.
func (p *Process) Signal(s syscall.Signal) error {
	conn, err := p.pidFD.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := conn.Control(func(fd uintptr) { err = unix.PidfdSendSignal(int(fd), s, nil, 0) })
	if errors.Is(err, unix.ESRCH) || errors.Is(controlErr, os.ErrClosed) {
		return os.ErrProcessDone
	}
	return errors.Join(controlErr, os.NewSyscallError("pidfd_send_signal", err))
}

// Kill ends the child, if it has not ended yet, and reaps it. One that was reaped before is no error.
func (p *Process) Kill() error {
	if err := p.Signal(unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if _, err := p.Wait(); err != nil && !errors.Is(err, unix.ECHILD) {
		return err
	}
	return nil
}

// Wait waits for the child's end, and reaps it.
func (p *Process) Wait() (syscall.WaitStatus, error) {
	var info unix.Siginfo
	if err := wait(p.pidFD, &info); err != nil {
		return 0, err
	}
	return waitStatus(&info), nil
}

// Close forgets the process. It goes on, unless it stands at a sync.
func (p *Process) Close() error {
	if f := p.File(); f != nil {
		f.Close()
	}
	return errors.Join(p.status.Close(), p.pidFD.Close())
}

func wait(pidFD *os.File, info *unix.Siginfo) error {
	for {
		err := unix.Waitid(unix.P_PIDFD, int(pidFD.Fd()), info, unix.WEXITED, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return os.NewSyscallError("waitid", err)
	}
}

// stepError names the call of that number.
func (p *Program) stepError(number int, errno syscall.Errno) error {
	n := 0
	for i, s := range p.steps {
		if s.quiet {
			continue
		}
		if n++; n == number {
			return &StepError{p.phaseOf(i), s.op, s.object, number, p.Len(), errno}
		}
	}
	return fmt.Errorf("child: step %d of %d: %w", number, p.Len(), errno)
}
