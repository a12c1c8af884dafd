package vsock

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// maxHello is the longest line that a program may begin with: CONNECT, blanks, ten digits and a line feed.
const maxHello = 32

// hello is the line of a program that has connected to the Unix socket, as far as it has come.
type hello struct {
	line [maxHello]byte
	n    int
}

// parseHello is the port of a line without its end: CONNECT and a number.
func parseHello(line []byte) (port uint32, ok bool) {
	word, number, found := bytes.Cut(line, []byte{' '})
	if !found || !bytes.EqualFold(word, []byte("CONNECT")) {
		return 0, false
	}
	number = bytes.Trim(number, " \r")
	if len(number) == 0 || number[0] == '+' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(number), 10, 32)
	return uint32(n), err == nil && n != portAny
}

// greet tells a program that its connection is there, and what port of the host's it comes from. A socket that nobody
// has written to has room for that.
func greet(fd int, port uint32) bool {
	b := strconv.AppendUint([]byte("OK "), uint64(port), 10)
	b = append(b, '\n')
	n, err := unix.Write(fd, b)
	return err == nil && n == len(b)
}

// listenTo reads a program's line, and not a byte of what is behind it.
func (s *switchboard) listenTo(c *conn) {
	h := &c.hello
	for {
		n, _, err := unix.Recvfrom(c.fd, h.line[h.n:], unix.MSG_PEEK)
		if isRetry(err) {
			continue
		}
		if errors.Is(err, unix.EAGAIN) {
			return
		}
		if err != nil || n == 0 {
			s.end(c, false, nil)
			return
		}
		end := bytes.IndexByte(h.line[h.n:h.n+n], '\n')
		if end >= 0 {
			n = end + 1
		}
		n, _, err = unix.Recvfrom(c.fd, h.line[h.n:h.n+n], 0)
		if err != nil {
			s.end(c, false, nil)
			return
		}
		h.n += n
		if end >= 0 {
			break
		}
		if h.n == len(h.line) {
			s.end(c, false, nil)
			return
		}
	}
	port, ok := parseHello(h.line[:h.n-1])
	if !ok || !s.live() {
		s.end(c, false, nil)
		return
	}
	s.stopTimer(c)
	s.ask(c, port)
	s.startTimer(c)
}

// acceptor is the Unix socket that programs connect to.
type acceptor struct {
	fd      int
	pending bool // somebody may wait
	resting bool // there was an error, and it is tried again in a while
}

// listenUnix makes it. Its mode is that of the socket at the time of bind: nobody else ever sees it with another.
func (s *switchboard) listenUnix() error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	s.acceptor.fd = fd
	if err := unix.Fchmod(fd, 0o600); err != nil {
		return os.NewSyscallError("fchmod", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: s.path}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if s.unixFile, err = os.Lstat(s.path); err != nil {
		return err
	}
	if err := unix.Listen(fd, 128); err != nil {
		return os.NewSyscallError("listen", err)
	}
	return s.poll.add(fd, unix.EPOLLIN, acceptToken, 0)
}

// closeUnix closes the socket, and removes its file unless it is somebody else's by now.
func (s *switchboard) closeUnix() {
	if s.acceptor.fd >= 0 {
		unix.Close(s.acceptor.fd)
		s.acceptor.fd = -1
	}
	if s.unixFile == nil {
		return
	}
	if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.unixFile) {
		if err := os.Remove(s.path); err != nil {
			s.tell(err)
		}
	}
}

// accept takes those who wait at the Unix socket.
func (s *switchboard) accept() {
	for s.acceptor.pending && !s.acceptor.resting {
		fd, _, err := unix.Accept4(s.acceptor.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case isRetry(err), errors.Is(err, unix.ECONNABORTED):
		case errors.Is(err, unix.EAGAIN):
			s.acceptor.pending = false
		case err != nil:
			// There are too many open files, or too little memory. They wait, and no edge will tell of them again.
			s.tell(os.NewSyscallError("accept", err))
			s.acceptor.resting = true
			time.AfterFunc(s.patience/8, s.acceptAgain)
		default:
			c, err := s.newConn(fd, stateHello)
			if err != nil {
				s.stats.Refused++
				continue
			}
			s.startTimer(c)
		}
	}
}

// acceptAgain ends a rest.
func (s *switchboard) acceptAgain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acceptor.resting = false
	_ = s.wake.Signal()
}

// dialUnix connects to the socket of a port. It does not wait: a program that has too many callers is not there.
func dialUnix(path string, port uint32) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	name := path + "_" + strconv.FormatUint(uint64(port), 10)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, nil
}
