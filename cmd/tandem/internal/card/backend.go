package card

import (
	"bytes"
	"errors"
	"fmt"
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
	folder string // that was made for the socket; empty if the user chose its place
	cmd    *exec.Cmd
	said   bytes.Buffer
	life   *os.File // the process ends when this end of a pipe is closed, which it is with this process
}

// startBackend starts one. The socket is bound before, so that whoever connects waits for the process, and not for its
// socket to appear.
func startBackend(self, socket, tap string, pairs int) (b *backend, err error) {
	b = &backend{socket: socket}
	defer func() {
		if err != nil && b.folder != "" {
			err = errors.Join(err, os.RemoveAll(b.folder))
		}
	}()
	if socket == "" {
		if b.folder, err = os.MkdirTemp("", "tandem-vhost"); err != nil {
			return nil, err
		}
		b.socket = filepath.Join(b.folder, "net.sock")
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: b.socket, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	listener.SetUnlinkOnClose(false) // the process has its own copy
	file, err := listener.File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	theirs, mine, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	b.cmd = exec.Command(self, "vhost-user", "net", "--listen-fd", "3", "--life-fd", "4", "--tap", tap, "--queues", strconv.Itoa(pairs))
	b.cmd.ExtraFiles = []*os.File{file, theirs}
	b.cmd.Stderr = &b.said
	b.cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true} // a terminal's signals are this process's
	if err := b.cmd.Start(); err != nil {
		mine.Close()
		return nil, err
	}
	b.life = mine
	return b, nil
}

// stop ends the process.
func (b *backend) stop() error {
	err := b.life.Close()
	if waitErr := b.cmd.Wait(); err == nil && waitErr != nil {
		err = fmt.Errorf("vhost-user back-end: %w: %s", waitErr, strings.TrimSpace(b.said.String()))
	}
	return errors.Join(err, os.Remove(b.socket), b.removeFolder())
}

func (b *backend) removeFolder() error {
	if b.folder == "" {
		return nil
	}
	return os.Remove(b.folder)
}
