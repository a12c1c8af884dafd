package box

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Keeper names the process that looks after a box: numbers are used again, but not in the same clock tick.
type Keeper struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // starttime, field 22 of /proc/PID/stat, see proc(5)
}

// thisProcess is a keeper.
func thisProcess() (Keeper, error) {
	k, _, err := readKeeper(os.Getpid())
	return k, err
}

func readKeeper(pid int) (k Keeper, ended bool, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return k, true, err
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:]) // the program's name may hold blanks
	const startField = 22 - 3                                       // what follows the name is field 3
	if len(fields) <= startField {
		return k, true, fmt.Errorf("/proc/%d/stat: %d fields after the name", pid, len(fields))
	}
	start, err := strconv.ParseUint(string(fields[startField]), 10, 64)
	state := fields[0][0]
	return Keeper{pid, start}, state == 'Z' || state == 'X', err
}

// Alive tells whether it runs.
func (k Keeper) Alive() bool {
	now, ended, err := readKeeper(k.PID)
	return err == nil && !ended && now == k
}

// Wait waits until the keeper has ended, whoever's child it is.
func (k Keeper) Wait(ctx context.Context) error {
	fd, err := unix.PidfdOpen(k.PID, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(fd)
	if !k.Alive() { // asked for while the descriptor holds whoever has the number
		return nil
	}
	// A context has no descriptor that could be polled along: it is given one.
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		_, _ = unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	})
	defer func() {
		if !stop() {
			<-woken
		}
		unix.Close(wake)
	}()
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(wake), Events: unix.POLLIN}}
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return os.NewSyscallError("poll", err)
		case fds[0].Revents != 0:
			return nil
		case fds[1].Revents != 0:
			return context.Cause(ctx)
		}
	}
}
