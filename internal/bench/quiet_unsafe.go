package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// quiet is a blocking file whose system calls the Go runtime does not know of: a load must not weigh more than what it
// measures. Around a system call that it knows of the runtime wakes its monitor, which sleeps 20 us at a time, and its
// poller makes system calls of its own; in a guest each of these is an exit or several. The price is that nothing else
// runs meanwhile where there is one CPU, which suits a load.
type quiet struct {
	fd    int
	limit time.Duration // of a call; 0 is none
}

// quieten makes one of a connection, which stays its owner. A call that takes longer than limit fails.
func quieten(c syscall.Conn, limit time.Duration) (q quiet, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return q, err
	}
	limits := unix.NsecToTimeval(limit.Nanoseconds())
	controlErr := raw.Control(func(fd uintptr) {
		q = quiet{int(fd), limit}
		err = errors.Join(
			unix.SetNonblock(int(fd), false),
			unix.SetsockoptTimeval(int(fd), unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limits),
			unix.SetsockoptTimeval(int(fd), unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limits),
		)
	})
	return q, errors.Join(controlErr, err)
}

func (q quiet) call(number uintptr, b []byte, a, c uintptr) (int, error) {
	var interrupted time.Time // for the first time
	for {
		n, _, errno := unix.RawSyscall6(number, uintptr(q.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), a, c, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR: // the runtime would have something else run, every 10 ms; the kernel's own clock begins anew then
			switch now := time.Now(); {
			case interrupted.IsZero():
				interrupted = now
			case q.limit > 0 && now.Sub(interrupted) > q.limit:
				return 0, os.ErrDeadlineExceeded
			}
		case unix.EAGAIN:
			return 0, os.ErrDeadlineExceeded
		default:
			return 0, errno
		}
	}
}

func (q quiet) Read(b []byte) (int, error)  { return q.call(unix.SYS_READ, b, 0, 0) }
func (q quiet) Write(b []byte) (int, error) { return q.call(unix.SYS_WRITE, b, 0, 0) }
func (q quiet) ReadAt(b []byte, at int64) (int, error) {
	return q.call(unix.SYS_PREAD64, b, uintptr(at), 0)
}

func (q quiet) WriteAt(b []byte, at int64) (int, error) {
	return q.call(unix.SYS_PWRITE64, b, uintptr(at), 0)
}

// over tells of a stream whether its other end has sent or closed something.
func (q quiet) over() bool {
	_, err := q.call(unix.SYS_RECVFROM, make([]byte, 1), unix.MSG_DONTWAIT|unix.MSG_PEEK, 0)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// readByte reads one, and takes the end of a stream for an error.
func (q quiet) readByte(b []byte) error {
	n, err := q.Read(b[:1])
	if err == nil && n != 1 {
		err = fmt.Errorf("read: the other side has ended")
	}
	return err
}
