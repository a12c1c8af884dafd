package user

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// adoptSocket makes a connection of a descriptor, which is the caller's no more.
func adoptSocket(fd int) (*net.UnixConn, error) {
	file := os.NewFile(uintptr(fd), "vhost-user")
	if file == nil {
		return nil, unix.EBADF
	}
	defer file.Close()
	conn, err := net.FileConn(file) // duplicates it
	if err != nil {
		return nil, err
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, errors.New("not a Unix socket")
	}
	return socket, nil
}

// Pair makes two connected sockets: one for this process, one to send to a peer.
func Pair() (*Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("user: make socket pair: %w", err)
	}
	conn, err := AdoptConn(fds[0])
	if err != nil {
		unix.Close(fds[1])
		return nil, nil, err
	}
	return conn, os.NewFile(uintptr(fds[1]), "vhost-user"), nil
}
