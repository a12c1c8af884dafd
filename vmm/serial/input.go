package serial

import "io"

// push puts a received byte into the FIFO.
func (u *UART) push(v byte) {
	if len(u.rx) >= u.depth() {
		// Only loopback comes here: input from outside waits for room.
		u.overrun = true
		return
	}
	u.rx = append(u.rx, v)
}

func (u *UART) depth() int {
	if u.fifo {
		return fifoSize
	}
	return 1
}

// receive carries input to the FIFO, as far as the guest lets it, until in
// ends. Bytes that it has read stay with it until there is room: none is lost.
func (u *UART) receive(in io.Reader) {
	// No more is read than the guest has asked for: while RTS is low, in is
	// left alone.
	buf := make([]byte, 4096)
	for u.waitReady() {
		n, err := in.Read(buf)
		if !u.feedAll(buf[:n]) || err != nil {
			return
		}
	}
}

// waitReady waits until the guest can take a byte; false means that the port
// was closed.
func (u *UART) waitReady() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.waitReadyLocked()
}

func (u *UART) waitReadyLocked() bool {
	for !u.closed {
		rts := u.mcr&(mcrRTS|mcrLoop) == mcrRTS
		if rts && len(u.rx) < u.depth() {
			return true
		}
		u.room.Wait()
	}
	return false
}

// feedAll puts p into the FIFO, piece by piece; false means that the port was
// closed before all of it went in.
func (u *UART) feedAll(p []byte) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(p) > 0 {
		if !u.waitReadyLocked() {
			return false
		}
		n := min(len(p), u.depth()-len(u.rx))
		u.rx = append(u.rx, p[:n]...)
		p = p[n:]
		u.interrupt()
	}
	return true
}
