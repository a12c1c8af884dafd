package guestinit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// errNoPort is a port whose driver has not made it yet, or that the machine does not have.
var errNoPort = errors.New("no such port")

// openLine opens a serial line for bytes as they are, with hardware flow control: the guest lowers RTS when its buffer
// fills up, and tandem's serial port then keeps back what the host sends, so that nothing is lost.
func openLine(path string) (io.ReadWriteCloser, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, errNoPort)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if err := makeRaw(fd); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("set up %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// makeRaw is cfmakeraw(3), with flow control by RTS and CTS and without regard to the carrier.
func makeRaw(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON | unix.IXOFF
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag &^= unix.CSIZE | unix.PARENB | unix.CSTOPB | unix.HUPCL | unix.CBAUD
	t.Cflag |= unix.CS8 | unix.CREAD | unix.CLOCAL | unix.CRTSCTS | unix.B115200
	t.Ispeed, t.Ospeed = unix.B115200, unix.B115200
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// findVirtioPort looks for the virtio-serial port that the host gave a name (virtio 1.2, 5.3.6.2,
// VIRTIO_CONSOLE_PORT_NAME): class is /sys/class/virtio-ports.
func findVirtioPort(class, name string) (device string, err error) {
	files, _ := filepath.Glob(filepath.Join(class, "*", "name"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil && strings.TrimSuffix(string(text), "\n") == name {
			return filepath.Base(filepath.Dir(file)), nil
		}
	}
	return "", fmt.Errorf("virtio port %q: %w", name, errNoPort)
}

// openVirtioPort opens a virtio-serial port and waits for the host to open its end: until then, a Read of it says end of
// file.
func openVirtioPort(path string) (io.ReadWriteCloser, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, errNoPort) // its uevent comes before its node
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if err := waitConnected(fd); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("wait for the host at %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// waitConnected waits until poll does not say POLLHUP any more, as a virtio-serial port does while the host's end is
// closed. Level-triggered polling would return at once each time; edge-triggered, it returns when the port's state has
// changed.
func waitConnected(fd int) error {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(epoll)
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | epollET}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return err
	}
	for {
		events := make([]unix.EpollEvent, 1)
		n, err := unix.EpollWait(epoll, events, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 1 && events[0].Events&unix.EPOLLHUP == 0:
			return nil
		}
	}
}

// epollET is unix.EPOLLET, which is a negative number there.
const epollET = 1 << 31

// connectHost connects to a port of the host's over AF_VSOCK: the guest asks, as it is the one who knows when it is ready.
func connectHost(port uint32) (io.ReadWriteCloser, error) {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, fmt.Errorf("vsock: %w", errNoPort) // its driver is not there yet
	}
	if err != nil {
		return nil, fmt.Errorf("vsock: %w", err)
	}
	if err = unix.Connect(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_HOST, Port: port}); err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		if errors.Is(err, unix.ENODEV) {
			err = errNoPort
		}
		return nil, fmt.Errorf("vsock: connect to the host's port %d: %w", port, err)
	}
	return os.NewFile(uintptr(fd), "vsock"), nil
}
