package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// sendPIDFD sends a descriptor of a process to whoever listens at a Unix socket, as runc's --pidfd-socket does: they
// can wait for the process and signal it without fear that its number has gone to another.
func sendPIDFD(pid int, path string) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("--pidfd-socket: pidfd_open %d: %w", pid, err)
	}
	defer unix.Close(fd)
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("--pidfd-socket: socket: %w", err)
	}
	defer unix.Close(socket)
	if err := unix.Connect(socket, &unix.SockaddrUnix{Name: path}); err != nil {
		return fmt.Errorf("--pidfd-socket: connect to %q: %w", path, err)
	}
	if err := unix.Sendmsg(socket, []byte("pidfd"), unix.UnixRights(fd), nil, 0); err != nil {
		return fmt.Errorf("--pidfd-socket: send to %q: %w", path, err)
	}
	return nil
}
