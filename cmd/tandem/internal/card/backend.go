package card

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// backend is a process that serves a card's queues: `tandem vhost-user net`.
type backend struct {
	socket string
	place  *os.File // the socket of a back-end that has no other name: see listen
	cmd    *exec.Cmd
	said   bytes.Buffer
	life   *os.File // the process ends when this end of a pipe is closed, which it is with this process
}

// startBackend starts one. The socket is bound before, so that whoever connects waits for the process, and not for its
// socket to appear.
func startBackend(self, socket, tap string, pairs int) (*backend, error) {
	b := &backend{socket: socket}
	listener, err := b.listen()
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	listener.SetUnlinkOnClose(false) // the process has its own copy
	if err := b.start(self, listener, tap, pairs); err != nil {
		return nil, errors.Join(err, b.remove())
	}
	return b, nil
}

// listen makes the socket. Without a name it is for this process alone, and has none: then nothing is left of it, however
// this process ends. It is reached by a descriptor instead.
func (b *backend) listen() (listener *net.UnixListener, err error) {
	if b.socket != "" {
		return net.ListenUnix("unix", &net.UnixAddr{Name: b.socket, Net: "unix"})
	}
	folder, err := os.MkdirTemp("", "tandem-vhost")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	path := filepath.Join(folder, "net.sock")
	if listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"}); err != nil {
		return nil, err
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(&os.PathError{Op: "open", Path: path, Err: err}, listener.Close())
	}
	b.place = os.NewFile(uintptr(fd), path)
	b.socket = fmt.Sprintf("/proc/self/fd/%d", fd)
	return listener, nil
}

func (b *backend) start(self string, listener *net.UnixListener, tap string, pairs int) error {
	file, err := listener.File()
	if err != nil {
		return err
	}
	defer file.Close()
	theirs, mine, err := os.Pipe()
	if err != nil {
		return err
	}
	defer theirs.Close()
	b.cmd = exec.Command(self, "vhost-user", "net", "--listen-fd", "3", "--life-fd", "4", "--tap", tap, "--queues", strconv.Itoa(pairs))
	b.cmd.ExtraFiles = []*os.File{file, theirs}
	b.cmd.Stderr = &b.said
	b.cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true} // a terminal's signals are this process's
	if err := b.cmd.Start(); err != nil {
		return errors.Join(err, mine.Close())
	}
	b.life = mine
	return nil
}

// stop ends the process.
func (b *backend) stop() error {
	err := b.life.Close()
	if waitErr := b.cmd.Wait(); err == nil && waitErr != nil {
		err = fmt.Errorf("vhost-user back-end: %w: %s", waitErr, strings.TrimSpace(b.said.String()))
	}
	return errors.Join(err, b.remove())
}

// remove removes the socket, which the process does itself if it is not killed.
func (b *backend) remove() error {
	if b.place != nil {
		return b.place.Close()
	}
	if err := os.Remove(b.socket); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
