package guestinit

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The kernel multicasts a message for each device that comes or goes (lib/kobject_uevent.c). Init looks again for what it
// waits for at each of them; what they say does not matter.

// ueventKernel is the multicast group of the kernel's own messages; udev sends to another.
const ueventKernel = 1

// listenUevents returns a socket that gets the messages from now on.
func listenUevents() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("uevent socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: ueventKernel}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind uevent socket: %w", err)
	}
	return os.NewFile(uintptr(fd), "uevent"), nil
}

// waitUevent waits for a message.
func waitUevent(events *os.File) error {
	message := make([]byte, 8<<10) // UEVENT_BUFFER_SIZE is 2 KiB
	_, err := events.Read(message)
	if errors.Is(err, unix.ENOBUFS) {
		return nil // more have come than fit: there were some
	}
	if err != nil {
		return fmt.Errorf("read uevent socket: %w", err)
	}
	return nil
}
