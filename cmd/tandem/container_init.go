package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"tandem/container"
	"tandem/guest/reap"
)

// containerInit is the life of pid 1 in a container that was asked to have an init: it starts the command, passes every
// signal on to it, waits for whatever nobody waits for, and ends as the command ends. The processes that are left then
// end with their PID namespace.
func containerInit(args []string) (status int) {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals) // all, before there is somebody to send one
	reaper := reap.New()
	path, err := exec.LookPath(args[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return initFailed(args[0], err)
	}
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setpgid: true}}
	if _, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
		attr.Sys.Foreground, attr.Sys.Ctty = true, 0 // so that the terminal's keys reach the command
	}
	pid, ended, err := reaper.Start(path, args, attr)
	if err != nil {
		return initFailed(args[0], err)
	}
	for {
		select {
		case exit := <-ended:
			if exit.Status.Signaled() {
				return 128 + int(exit.Status.Signal())
			}
			return exit.Status.ExitStatus()
		case s := <-signals:
			if s, ok := s.(syscall.Signal); ok && s != unix.SIGCHLD && s != unix.SIGURG { // that one is Go's own
				_ = unix.Kill(pid, s) // it may have ended
			}
		}
	}
}

// initFailed gives the statuses that shells and engines give.
func initFailed(name string, err error) int {
	fmt.Fprintf(os.Stderr, "%s: %s: %v\n", container.InitName, name, err)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return 127
	}
	return 126
}
