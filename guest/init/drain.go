package guestinit

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// drainGrace bounds the wait for a terminal's next byte to leave: perhaps nobody reads them. A port that is emulated may
// take many times that for all of them.
const drainGrace = 5 * time.Second

// drain waits until a terminal has sent what is in the kernel's buffer.
func drain(tty *os.File) {
	fd := int(tty.Fd())
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		const wait = 1 // tcdrain(3): ioctl_tty(2), TCSBRK with an argument that is not 0
		unix.IoctlSetInt(fd, unix.TCSBRK, wait)
	}()
	look := time.NewTicker(drainGrace / 50)
	defer look.Stop()
	least, since := -1, time.Now()
	for {
		select {
		case <-drained:
			return
		case <-look.C:
		}
		left, err := unix.IoctlGetInt(fd, unix.TIOCOUTQ)
		if err == nil && (left < least || least < 0) {
			least, since = left, time.Now()
		}
		if time.Since(since) > drainGrace {
			return
		}
	}
}
