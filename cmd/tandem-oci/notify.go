package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tandem/container"
	"tandem/internal/process"
)

// notifyVariable names the service manager's socket, for tandem-oci, and the container's own, for its process.
const notifyVariable = "NOTIFY_SOCKET"

// passOn waits until the container's process tells that it is ready, and tells the service manager so, and that mainPID is
// the service's process from now on. A process that ends without a word is no error: whoever looks at it finds that out.
//
// Nothing but READY=1 gets through. All else (another MAINPID, file descriptors to keep) would let the container speak for
// the service in words that the runtime has not understood.
func passOn(ctx context.Context, from *net.UnixConn, pidFD *os.File, mainPID int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = from.SetReadDeadline(time.Unix(1, 0)) })()
	go func() {
		_ = process.Await(ctx, pidFD)
		cancel()
	}()
	ready, err := awaitReady(from)
	if !ready {
		ready = saidReady(from) // its end may be seen before its last word
	}
	switch {
	case ready:
	case ctx.Err() != nil:
		return nil
	default:
		return fmt.Errorf("sd_notify of the container: %w", err)
	}
	if err := notifyManager(os.Getenv(notifyVariable), mainPID); err != nil {
		return fmt.Errorf("%s: %w", notifyVariable, err)
	}
	return nil
}

// awaitReady reads datagrams: lines of NAME=VALUE.
func awaitReady(from *net.UnixConn) (bool, error) {
	buf := make([]byte, 4096) // what systemd takes at most is as long
	for {
		n, err := from.Read(buf)
		if err != nil {
			return false, err
		}
		if isReady(buf[:n]) {
			return true, nil
		}
	}
}

func isReady(message []byte) bool {
	return slices.Contains(strings.Split(string(message), "\n"), "READY=1")
}

// maxQueued is more than a socket holds (net.unix.max_dgram_qlen).
const maxQueued = 4096

// saidReady is awaitReady for what has been told already.
func saidReady(from *net.UnixConn) (ready bool) {
	raw, err := from.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		buf := make([]byte, 4096)
		for range maxQueued {
			n, _, err := unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
			if err != nil && !errors.Is(err, unix.EINTR) {
				return
			}
			if err == nil && isReady(buf[:n]) {
				ready = true
				return
			}
		}
	})
	return ready
}

// barrier is how long a manager may take to read what it was told.
const barrier = 30 * time.Second

// notifyManager tells it, and waits until it has read that: it looks up who wrote by a number that is gone with this process.
func notifyManager(socket string, mainPID int) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, message := range []string{"READY=1\n", "MAINPID=" + strconv.Itoa(mainPID) + "\n"} {
		if _, err := conn.Write([]byte(message)); err != nil {
			return err
		}
	}
	return awaitBarrier(conn)
}

// awaitBarrier sends a pipe's end along with BARRIER=1 (sd_notify(3)). The manager closes it once it has read all before it.
func awaitBarrier(conn *net.UnixConn) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	if err := errors.Join(sendFile(conn, "BARRIER=1", w), w.Close()); err != nil {
		return err
	}
	if err := r.SetReadDeadline(time.Now().Add(barrier)); err != nil {
		return err
	}
	if _, err := r.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the service manager has not read BARRIER=1 in %v", barrier)
	}
	return nil
}

// sendFile sends a message and a descriptor. WriteMsgUnix does so on no datagram socket that is connected.
func sendFile(conn *net.UnixConn, message string, f *os.File) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		sent = unix.Sendmsg(int(fd), []byte(message), unix.UnixRights(int(f.Fd())), nil, unix.MSG_NOSIGNAL)
		return !errors.Is(sent, unix.EAGAIN)
	})
	return errors.Join(err, sent)
}

// startNotified starts a container that create has made, and waits until it is ready, if somebody wants to know.
func startNotified(ctx context.Context, c *container.Container) error {
	conn, err := c.Notify()
	if err != nil {
		return err
	}
	if conn == nil || os.Getenv(notifyVariable) == "" {
		return c.Start(ctx)
	}
	defer conn.Close()
	state, err := c.State()
	if err != nil {
		return err
	}
	pidFD, err := c.PIDFD()
	if err != nil {
		return err
	}
	defer pidFD.Close()
	if err := c.Start(ctx); err != nil {
		return err
	}
	return passOn(ctx, conn, pidFD, state.Pid)
}

// passOnMeanwhile is for a tandem-oci that stays with its container, and is the service's process itself.
func (g *global) passOnMeanwhile(ctx context.Context, c *container.Container) (stop func(), err error) {
	conn, err := c.Notify()
	if conn == nil || err != nil {
		return func() {}, err
	}
	pidFD, err := c.PIDFD()
	if errors.Is(err, container.ErrNotRunning) {
		return func() { conn.Close() }, nil
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := passOn(ctx, conn, pidFD, os.Getpid()); err != nil {
			g.log.warningf("%v", err)
		}
	}()
	return func() {
		cancel()
		<-done
		pidFD.Close()
		conn.Close()
	}, nil
}
