package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// The first thread is main's alone: it is the one that /proc/self tells of,
// and it can not end before the process does.
func init() { runtime.LockOSThread() }

// onThread calls f on a thread that nothing else runs on afterwards: it ends
// with the goroutine, as that never unlocks it. To the kernel a thread has
// namespaces, and not a process; what f does to them is gone with the thread.
func onThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		result <- f()
	}()
	return <-result
}

// nodeNameIn joins a process's UTS namespace.
func nodeNameIn(pid int) (name string, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/uts", pid))
	if err != nil {
		return "", err
	}
	defer f.Close()
	err = onThread(func() error {
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWUTS); err != nil {
			return fmt.Errorf("setns: %w", err)
		}
		name, err = nodeName()
		return err
	})
	return name, err
}

const (
	clocksAhead = 1_000_000 * time.Second
	fewMinutes  = 10 * time.Minute // more than the lesson takes
)

// prepareTime makes a namespace that nobody is in: only until then can its
// offsets be set. clone(2) can't make it, CLONE_NEWTIME is a bit of the exit
// signal to it; unshare(2) makes it for the caller's children.
//
// But not for such as os/exec starts: those share our memory until execve, and
// the clocks are in a page of that (kernels before 6.2 return EINVAL, rather
// than wait for execve). The other way in is setns(2), for a process with one
// thread, so none of Go's. nsenter(1) is such a process, and executes us.
func prepareTime(cmd *exec.Cmd) (*visitor, error) {
	namespace, err := newTimeNamespace()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return nil, err
	}
	join := exec.Command("nsenter", fmt.Sprintf("--time=/proc/%d/fd/%d", os.Getpid(), namespace.Fd()), self)
	cmd.Path, cmd.Err = join.Path, join.Err
	cmd.Args = append(join.Args, append(cmd.Args[1:], strconv.FormatInt(now.Nano(), 10))...)
	return &visitor{
		look: func(pid int) error {
			for _, name := range []string{"monotonic", "boottime"} {
				offset, err := timeOffset(pid, name)
				if err != nil {
					return err
				}
				fmt.Printf("  outside: /proc/PID/timens_offsets has %s %s\n", name, offset)
			}
			return nil
		},
		leave: namespace.Close,
	}, nil
}

// newTimeNamespace is held by the file alone, once the thread has ended.
func newTimeNamespace() (namespace *os.File, err error) {
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWTIME); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		folder := fmt.Sprintf("/proc/%d/", unix.Gettid())
		offset := fmt.Sprintf("boottime %d 0\n", int(clocksAhead.Seconds()))
		if err := os.WriteFile(folder+"timens_offsets", []byte(offset), 0); err != nil {
			return err
		}
		namespace, err = os.Open(folder + "ns/time_for_children")
		return err
	})
	return namespace, err
}

func insideTime(args []string) error {
	outside, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return err
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return err
	}
	ahead := time.Duration(now.Nano() - outside)
	if ahead < clocksAhead || ahead > clocksAhead+fewMinutes {
		return fmt.Errorf("CLOCK_BOOTTIME is %v ahead, want %v", ahead, clocksAhead)
	}
	fmt.Printf("  inside: CLOCK_BOOTTIME is ahead by %d s and the time that this took\n", int(clocksAhead.Seconds()))
	return nil
}

// timeOffset reads a line such as "boottime 1000000 0": seconds and nanoseconds.
func timeOffset(pid int, name string) (string, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/timens_offsets", pid))
	if err != nil {
		return "", err
	}
	defer f.Close()
	for {
		var clock string
		var seconds, nanoseconds int64
		if _, err := fmt.Fscan(f, &clock, &seconds, &nanoseconds); err != nil {
			return "", fmt.Errorf("%s: no %s: %w", f.Name(), name, err)
		}
		if clock == name {
			return fmt.Sprintf("%d s", seconds), nil
		}
	}
}
